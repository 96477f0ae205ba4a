"""The book's own code: one folder a chapter, named like it, and beside them what the chapters share.

A chapter's folder holds its explorer (Python traits beside the JavaScript that draws), its plots and its experiments;
the models and layers that it teaches are the library's, ``causalcnn``. The names here are imported when they are first
used: the palette needs nothing, pictures and explorers need the extra ``figures``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
