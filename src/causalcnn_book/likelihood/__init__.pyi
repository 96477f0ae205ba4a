from .bars import bits_of_models as bits_of_models
from .distributions import DistributionExplorer as DistributionExplorer
from .neighbors import contexts as contexts
from .orders import OrderExplorer as OrderExplorer
