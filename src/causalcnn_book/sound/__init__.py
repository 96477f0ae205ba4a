"""The sound chapter: what a microphone and a spectrogram give.

The library's part of it is ``causalcnn.speech.front_end``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
