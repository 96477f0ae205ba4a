"""The causality chapter: why padding on the left is enough.

The library's part of it is ``causalcnn.nn.conv``, checked by ``causalcnn.causality.probes`` and
``causalcnn.causality.contract``. The chapter on convolution has the response explorer that both use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
