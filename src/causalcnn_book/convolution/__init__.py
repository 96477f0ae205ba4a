"""The convolution chapter: kernel, stride, dilation and padding.

The library's part of it is ``causalcnn.field``, and ``causalcnn.nn.conv`` for the causal kind.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
