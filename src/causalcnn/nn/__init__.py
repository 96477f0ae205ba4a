"""Layers over time that keep one contract: whole = pieces, never the future, the receptive field known beforehand."""

from causalcnn.nn.base import CausalModule, Convention, Stateless, Stream
from causalcnn.nn.blocks import Encoder, MultiStackEncoder, ResidualBlock1d, ResidualBlock2d, ResidualStack
from causalcnn.nn.compose import CausalSequential, Composite, Parallel, Pointwise, Residual
from causalcnn.nn.conv import CausalConv1d, CausalConv2d
from causalcnn.nn.pool import CausalAvgPool1d, CausalMaxPool1d, FrameNorm
from causalcnn.nn.quantize import Quantized, VectorQuantizer
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
    "Composite",
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
    "Stateless",
    "Stream",
    "VectorQuantizer",
]
