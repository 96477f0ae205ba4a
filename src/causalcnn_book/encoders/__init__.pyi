from . import phones as phones
from .plots import labels_over_time as labels_over_time
