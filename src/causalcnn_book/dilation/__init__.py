"""The dilation chapter: reach, holes, strides, and whether dilation is worth it.

The library's part of it is ``causalcnn.field`` and ``causalcnn.nn.conv``. Its explorers stand with the
chapters that came before: the cone in ``causality``, the responses in ``convolution``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
