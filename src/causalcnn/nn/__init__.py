"""Layers over time that keep one contract, :class:`CausalModule`.

They never read the future; a whole sequence and its pieces give the same outputs; and the receptive field of each is
known before any data is seen. :func:`causalcnn.check_contract` verifies it.

>>> import torch
>>> from causalcnn.nn import CausalConv1d, CausalSequential, ResidualBlock1d
>>> network = CausalSequential(CausalConv1d(80, 32, 3), ResidualBlock1d(32, 3, dilations=(1, 3)))
>>> network(torch.randn(4, 80, 100)).shape, network.field.past
(torch.Size([4, 32, 100]), 10)
"""

from causalcnn.nn.base import CausalModule, Convention, Stateless, Stream
from causalcnn.nn.blocks import Encoder, MultiStackEncoder, ResidualBlock1d, ResidualBlock2d, ResidualStack
from causalcnn.nn.compose import CausalSequential, Composite, Parallel, Pointwise, Residual
from causalcnn.nn.conv import CausalConv1d, CausalConv2d
from causalcnn.nn.delay import Delay
from causalcnn.nn.pool import CausalAvgPool1d, CausalMaxPool1d, FrameNorm
from causalcnn.nn.quantize import Quantized, VectorQuantizer
from causalcnn.nn.residual_quantize import ResidualQuantized, ResidualVectorQuantizer
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
    "Delay",
    "Encoder",
    "FrameNorm",
    "MultiStackEncoder",
    "Parallel",
    "Pointwise",
    "Quantized",
    "Residual",
    "ResidualBlock1d",
    "ResidualBlock2d",
    "ResidualQuantized",
    "ResidualStack",
    "ResidualVectorQuantizer",
    "Stateless",
    "Stream",
    "VectorQuantizer",
]
