from .memory import BACK as BACK, NOW as NOW, probe_frames as probe_frames
from .memory_explorer import MemoryExplorer as MemoryExplorer
from .plots import curves_over_lag as curves_over_lag
from .probe_inputs import Clips as Clips, build_inputs as build_inputs, window as window
