from .hierarchy import HierarchyExplorer as HierarchyExplorer
from .levels import influence as influence
from .wiring import level_wiring as level_wiring
from .wiring import speech_codes as speech_codes
