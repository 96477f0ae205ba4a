from .drift_metrics import one_frame_ahead as one_frame_ahead
from .plots import drift_lines as drift_lines
from .plots import frame_wiring as frame_wiring
from .temperature import TemperatureExplorer as TemperatureExplorer
