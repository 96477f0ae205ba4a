from .generation_explorer import GenerationExplorer as GenerationExplorer
from .linear_prediction import LinearPrediction as LinearPrediction, SamplePredictor as SamplePredictor
from .mu_law_explorer import MuLawExplorer as MuLawExplorer
from .plots import wave_and_gates as wave_and_gates
