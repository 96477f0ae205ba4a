from .all_ones import AllOnes as AllOnes
from .impulse_plots import response_grid as response_grid
from .response import ResponseExplorer as ResponseExplorer
