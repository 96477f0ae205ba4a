from .bins_explorer import BinsExplorer as BinsExplorer
from .range_explorer import RangeExplorer as RangeExplorer
