from .drift_metrics import one_frame_ahead as one_frame_ahead
from .plots import drift_curves as drift_curves, frame_generator_diagram as frame_generator_diagram
from .temperature_explorer import TemperatureExplorer as TemperatureExplorer
