from .bits_per_sample import BitsPerSample as BitsPerSample
from .generation_explorer import GenerationExplorer as GenerationExplorer
from .linear_prediction import LinearPrediction as LinearPrediction
from .mu_law_explorer import MuLawExplorer as MuLawExplorer
