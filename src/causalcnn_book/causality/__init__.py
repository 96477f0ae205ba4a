"""The causality chapter: why padding on the left is enough.

The library's part of it is ``causalcnn.causality``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
