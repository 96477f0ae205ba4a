from .all_ones import AllOnes as AllOnes
from .plots import response_grid as response_grid
from .response_explorer import ResponseExplorer as ResponseExplorer
