from . import (
    causal_vqvae2 as causal_vqvae2,
)
from . import (
    causality as causality,
)
from . import (
    convolution as convolution,
)
from . import (
    dilation as dilation,
)
from . import (
    discrete_spectrograms as discrete_spectrograms,
)
from . import (
    encoders as encoders,
)
from . import (
    frame_generator as frame_generator,
)
from . import (
    leaks as leaks,
)
from . import (
    likelihood as likelihood,
)
from . import (
    palette as palette,
)
from . import (
    receptive_fields as receptive_fields,
)
from . import (
    residual_blocks as residual_blocks,
)
from . import (
    sound as sound,
)
from . import (
    vector_quantisation as vector_quantisation,
)
from . import (
    what_codes_remember as what_codes_remember,
)
from .explorer import Explorer as Explorer
from .labels import confidence_intervals as confidence_intervals
from .labels import labels_over_time as labels_over_time
from .picture import Picture as Picture
from .picture import new_figure as new_figure
from .picture import show as show
from .picture import style as style
from .plots import (
    codes as codes,
)
from .plots import (
    curves as curves,
)
from .plots import (
    heatmap as heatmap,
)
from .plots import (
    heatmaps as heatmaps,
)
from .plots import (
    voice_activity as voice_activity,
)
from .plots import (
    wave as wave,
)
from .plots import (
    wave_and_mel as wave_and_mel,
)
