from . import effective_field as effective_field
from .published_encoders import ReferenceEncoder as ReferenceEncoder, reference_encoders as reference_encoders
