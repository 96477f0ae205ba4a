"""The encoders chapter: stacks side by side, measured on phones.

The library's part of it is ``causalcnn.nn.blocks``. Its explorer, the stacks, stands in ``residual_blocks``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
