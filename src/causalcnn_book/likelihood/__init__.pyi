from .distribution_explorer import BARS as BARS, DistributionExplorer as DistributionExplorer
from .neighbors import contexts as contexts
from .order_explorer import BANDS as BANDS, FRAMES as FRAMES, OrderExplorer as OrderExplorer
from .plots import bits_of_models as bits_of_models
