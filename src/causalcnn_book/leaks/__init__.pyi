from .leak_explorer import CASES as CASES, FRAMES as FRAMES, LAYERS as LAYERS, LeakExplorer as LeakExplorer
