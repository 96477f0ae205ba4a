from .distortions import KINDS as KINDS, distorted as distorted, error_db as error_db, strength as strength
from .equal_error import versions as versions
from .error_explorer import ErrorExplorer as ErrorExplorer
from .flipped_codes import flip_bit as flip_bit, principal_order as principal_order, replace_codes as replace_codes
from .frame_bins import as_bins as as_bins, from_bins as from_bins
from .frame_vae import FrameVAE as FrameVAE
from .latent_explorer import LatentExplorer as LatentExplorer
from .latent_map import CLASSES as CLASSES, LatentMap as LatentMap
from .masking import masked_error_db as masked_error_db, masking_threshold as masking_threshold
from .plots import rate_distortion_curves as rate_distortion_curves, rate_distortion_points as rate_distortion_points
from .pricing import (
    PrincipalComponents as PrincipalComponents,
    SymbolPrices as SymbolPrices,
    UniformQuantizer as UniformQuantizer,
    lower_hull as lower_hull,
    reverse_water_filling as reverse_water_filling,
)
from .rate_explorer import RateExplorer as RateExplorer
