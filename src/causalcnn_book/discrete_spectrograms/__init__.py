"""The discrete-spectrograms chapter: values as bins.

The library's part of it is ``causalcnn.speech.uniform_bins``, ``causalcnn.speech.minmax_bins`` and
``causalcnn.speech.running_bins``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
