"""The receptive-fields chapter: the set that any network reads, beforehand and after training.

The library's part of it is ``causalcnn.causality.receptive_field``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
