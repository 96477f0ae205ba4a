"""The wavenet chapter: the next sample from those before it, and what it is worth in bits.

The library's part of it is ``causalcnn.models.wavenet``, ``causalcnn.models.vocoder``, ``causalcnn.models.lp_wavenet``,
``causalcnn.speech.mu_law`` and ``causalcnn.speech.linear_prediction``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
