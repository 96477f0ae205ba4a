from . import (
    autoencoders as autoencoders,
    causal_vqvae2 as causal_vqvae2,
    causality as causality,
    convolution as convolution,
    dilation as dilation,
    discrete_spectrograms as discrete_spectrograms,
    encoders as encoders,
    frame_generator as frame_generator,
    leaks as leaks,
    likelihood as likelihood,
    palette as palette,
    priors as priors,
    receptive_fields as receptive_fields,
    residual_blocks as residual_blocks,
    sound as sound,
    vector_quantisation as vector_quantisation,
    vocoder as vocoder,
    wavenet as wavenet,
    what_codes_remember as what_codes_remember,
)
from .explorer import Explorer as Explorer
from .picture import Picture as Picture, new_figure as new_figure, show as show, style as style
from .plots import (
    codes as codes,
    confidence_intervals as confidence_intervals,
    curves as curves,
    heatmap as heatmap,
    heatmaps as heatmaps,
    voice_activity as voice_activity,
    wave as wave,
    wave_and_mel as wave_and_mel,
)
