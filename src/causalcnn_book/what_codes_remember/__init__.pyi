from .memory import BACK as BACK, NOW as NOW, read_back as read_back
from .memory_explorer import MemoryExplorer as MemoryExplorer
from .plots import curves_over_lag as curves_over_lag
from .probe_inputs import Clips as Clips, tell as tell, window as window
