"""The models of the book, one file each, to be read from top to bottom beside the papers.

:func:`save_model` and :func:`load_model` keep a model on disk, with a card; ``MODELS`` finds its class by the name that
is in the card.
"""

from causalcnn.models.autoencoder import AutoencoderConfig, CausalAutoencoder
from causalcnn.models.autoregressive import HEAD_SCALE, AutoregressiveConfig, AutoregressiveModel, SpectrogramModel
from causalcnn.models.code_corpus import CodeBatch, CodeCorpus
from causalcnn.models.code_prior import CodePrior, CodePriorConfig
from causalcnn.models.config import ModelConfig
from causalcnn.models.distributions import (
    Categorical,
    CodeCategorical,
    Gaussian,
    GaussianMixture,
    LogisticMixture,
    OutputDistribution,
    bits_per_dimension,
    get_distribution,
)
from causalcnn.models.excitation import LPWaveNetConfig
from causalcnn.models.frame_generator import FrameGenerator, FrameGeneratorConfig
from causalcnn.models.frame_sampling import FrameSampler
from causalcnn.models.integer_code_prior import IntegerCodePrior, IntegerCodePriorConfig
from causalcnn.models.latent_model import LatentModel
from causalcnn.models.lp_wavenet import LPWaveNet
from causalcnn.models.lp_wavenet_sampler import LPWaveNetSampler
from causalcnn.models.lp_wavenet_search import LPWaveNetSearch
from causalcnn.models.melnet import MelNet, MelNetConfig
from causalcnn.models.model_io import MODELS, CheckpointError, load_model, save_model
from causalcnn.models.pixelcnn import PixelCNN, PixelCNNConfig
from causalcnn.models.posterior import LatentUse, Posterior
from causalcnn.models.sampling import IncrementalSampler, Sampler
from causalcnn.models.spectrogram_autoencoder import SpectrogramConfig
from causalcnn.models.vae import CausalVAE, VAEConfig
from causalcnn.models.vocoder import MelCondition, Vocoder, VocoderConfig
from causalcnn.models.vqvae import CausalVQVAE, VQVAEConfig
from causalcnn.models.vqvae2 import VQVAE2, Codes, VQVAE2Config
from causalcnn.models.vqvae2_causal import CausalVQVAE2
from causalcnn.models.vqvae2_codes import CodeDecoder, CodeEncoder
from causalcnn.models.wavenet import WaveNet, WaveNetConfig, WaveNetSampler
from causalcnn.models.within_frame import WithinFrame

__all__ = [
    "HEAD_SCALE",
    "MODELS",
    "VQVAE2",
    "AutoencoderConfig",
    "AutoregressiveConfig",
    "AutoregressiveModel",
    "Categorical",
    "CausalAutoencoder",
    "CausalVAE",
    "CausalVQVAE",
    "CausalVQVAE2",
    "CheckpointError",
    "CodeBatch",
    "CodeCategorical",
    "CodeCorpus",
    "CodeDecoder",
    "CodeEncoder",
    "CodePrior",
    "CodePriorConfig",
    "Codes",
    "FrameGenerator",
    "FrameGeneratorConfig",
    "FrameSampler",
    "Gaussian",
    "GaussianMixture",
    "IncrementalSampler",
    "IntegerCodePrior",
    "IntegerCodePriorConfig",
    "LPWaveNet",
    "LPWaveNetConfig",
    "LPWaveNetSampler",
    "LPWaveNetSearch",
    "LatentModel",
    "LatentUse",
    "LogisticMixture",
    "MelCondition",
    "MelNet",
    "MelNetConfig",
    "ModelConfig",
    "OutputDistribution",
    "PixelCNN",
    "PixelCNNConfig",
    "Posterior",
    "Sampler",
    "SpectrogramConfig",
    "SpectrogramModel",
    "VAEConfig",
    "VQVAE2Config",
    "VQVAEConfig",
    "Vocoder",
    "VocoderConfig",
    "WaveNet",
    "WaveNetConfig",
    "WaveNetSampler",
    "WithinFrame",
    "bits_per_dimension",
    "get_distribution",
    "load_model",
    "save_model",
]
