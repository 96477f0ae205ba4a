"""The vocoder chapter: from mel frames back to sound, sample by sample, and how late it comes.

The library's part of it is ``causalcnn.models.vocoder`` and ``causalcnn.speech.front_end``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
