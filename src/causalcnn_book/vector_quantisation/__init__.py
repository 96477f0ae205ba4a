"""The vector-quantisation chapter: codebooks, collapse and what repairs it.

The library's part of it is ``causalcnn.nn.quantize``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
