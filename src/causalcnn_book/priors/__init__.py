"""The priors chapter: what a code costs, given all codes before it, codes that are drawn, and files.

The library's part of it is ``causalcnn.models.code_prior``, ``causalcnn.models.code_corpus``,
``causalcnn.models.integer_code_prior`` and ``causalcnn.codec``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
