from .window_explorer import WindowExplorer as WindowExplorer, envelope as envelope
