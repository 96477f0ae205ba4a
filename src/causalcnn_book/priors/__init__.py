"""The priors chapter: what a code costs, given all codes before it, and codes that are drawn.

The library's part of it is ``causalcnn.models.code_prior`` and ``causalcnn.models.code_corpus``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
