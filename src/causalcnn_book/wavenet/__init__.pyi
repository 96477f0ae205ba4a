from .bits_per_sample import BitsPerSample as BitsPerSample
from .linear_prediction import LinearPrediction as LinearPrediction
