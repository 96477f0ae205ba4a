from .window import WindowExplorer as WindowExplorer
from .window import envelope as envelope
