"""The likelihood chapter: every model of values in bits on one grid.

The library's part of it is ``causalcnn.models.distributions``, and the models that are priced there:
``causalcnn.models.frame_generator``, ``causalcnn.models.pixelcnn``, ``causalcnn.models.melnet``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
