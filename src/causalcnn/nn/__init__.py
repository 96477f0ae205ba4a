"""Layers over time that obey one law: whole = pieces, never the future, the receptive field said beforehand."""

from causalcnn.nn.conv import CausalConv1d, CausalConv2d
from causalcnn.nn.law import CausalModule, Convention, Stream

__all__ = ["CausalConv1d", "CausalConv2d", "CausalModule", "Convention", "Stream"]
