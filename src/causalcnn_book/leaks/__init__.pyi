from .leaks import CASES as CASES
from .leaks import FRAMES as FRAMES
from .leaks import LAYERS as LAYERS
from .leaks import LeakExplorer as LeakExplorer
