"""The residual-blocks chapter: what a skip changes.

The library's part of it is ``causalcnn.nn.blocks``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
