"""The leaks chapter: when an honest causal network stops being one.

The library's part of it is ``causalcnn.causality.auditor`` and ``causalcnn.causality.leak_cases``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
