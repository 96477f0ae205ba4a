"""The frame-generator chapter: speech written value by value.

The library's part of it is ``causalcnn.models.frame_generator``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
