from .bins import BinsExplorer as BinsExplorer
from .ranges import RangeExplorer as RangeExplorer
