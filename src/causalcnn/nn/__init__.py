"""Layers over time that obey one law: whole = pieces, never the future, the receptive field said beforehand."""

from causalcnn.nn.blocks import Encoder, MultiStackEncoder, ResidualBlock1d, ResidualBlock2d, ResidualStack
from causalcnn.nn.compose import CausalSequential, Parallel, Pointwise, Residual
from causalcnn.nn.conv import CausalConv1d, CausalConv2d
from causalcnn.nn.law import CausalModule, Convention, Stream
from causalcnn.nn.pool import CausalAvgPool1d, CausalMaxPool1d, FrameNorm
from causalcnn.nn.quantise import Quantized, VectorQuantizer
from causalcnn.nn.transpose import CausalConvTranspose1d, CausalConvTranspose2d

__all__ = [
    "CausalAvgPool1d",
    "CausalConv1d",
    "CausalConv2d",
    "CausalConvTranspose1d",
    "CausalConvTranspose2d",
    "CausalMaxPool1d",
    "CausalModule",
    "CausalSequential",
    "Convention",
    "Encoder",
    "FrameNorm",
    "MultiStackEncoder",
    "Parallel",
    "Pointwise",
    "Quantized",
    "Residual",
    "ResidualBlock1d",
    "ResidualBlock2d",
    "ResidualStack",
    "Stream",
    "VectorQuantizer",
]
