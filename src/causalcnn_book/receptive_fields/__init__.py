"""The receptive-fields chapter: the set that any network reads, beforehand and after training.

The library's part of it is ``causalcnn.field`` and ``causalcnn.causality.field_inference``. Its
explorer, the cone, stands in ``causality``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
