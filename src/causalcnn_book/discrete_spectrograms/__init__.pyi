from .bins_explorer import BinsExplorer as BinsExplorer
from .discretization_sounds import kept_sounds as kept_sounds
from .range_explorer import RangeExplorer as RangeExplorer
