"""The causal-vqvae2 chapter: two levels of codes for every frame of speech.

The library's part of it is ``causalcnn.models.vqvae2``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
