from .memory import BACK as BACK
from .memory import NOW as NOW
from .memory import read_back as read_back
from .memory_explorer import MemoryExplorer as MemoryExplorer
from .plots import curves_over_lag as curves_over_lag
from .probe_inputs import Clips as Clips
from .probe_inputs import tell as tell
from .probe_inputs import window as window
