"""The autoencoders chapter: what a code is worth, in bits, in decibels and by ear.

The library's part of it is ``causalcnn.models.autoencoder``, ``causalcnn.models.vae``, ``causalcnn.models.vqvae``,
``causalcnn.models.vqvae2``, ``causalcnn.nn.quantize`` and ``causalcnn.speech.inversion``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
