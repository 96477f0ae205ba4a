"""The models of the book, one file each. ``MODELS`` finds them by the name that is in a checkpoint's card."""

from causalcnn.models.frame_generator import FrameGenerator, FrameGeneratorConfig
from causalcnn.models.laws import (
    Categorical,
    Gaussian,
    Gaussians,
    Law,
    Logistics,
    bits_per_dimension,
    law_of,
)
from causalcnn.models.melnet import MelNet, MelNetConfig
from causalcnn.models.pixelcnn import PixelCNN, PixelCNNConfig
from causalcnn.models.values import Sampler, ValueConfig, ValueModel
from causalcnn.models.vqvae2 import VQVAE2, CausalVQVAE2, Codes, VQVAE2Config
from causalcnn.models.within_frame import WithinFrame

MODELS: dict[str, type] = {model.name: model for model in (CausalVQVAE2, VQVAE2, FrameGenerator, PixelCNN, MelNet)}
"""Name to class. Each has ``config``, a frozen dataclass of the class ``Config``, and is made by ``cls(config)``."""

__all__ = [
    "MODELS",
    "VQVAE2",
    "Categorical",
    "CausalVQVAE2",
    "Codes",
    "FrameGenerator",
    "FrameGeneratorConfig",
    "Gaussian",
    "Gaussians",
    "Law",
    "Logistics",
    "MelNet",
    "MelNetConfig",
    "PixelCNN",
    "PixelCNNConfig",
    "Sampler",
    "VQVAE2Config",
    "ValueConfig",
    "ValueModel",
    "WithinFrame",
    "bits_per_dimension",
    "law_of",
]
