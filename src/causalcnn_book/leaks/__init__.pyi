from .leak_explorer import LeakExplorer as LeakExplorer
