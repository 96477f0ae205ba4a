"""A model knows how many bands it has: its state can be asked for without saying so, and not with another number."""

import pytest
import torch
from torch.utils import _pytree as pytree

from causalcnn.models import (
    CausalVQVAE2,
    FrameGenerator,
    FrameGeneratorConfig,
    MelNet,
    MelNetConfig,
    PixelCNN,
    PixelCNNConfig,
    VQVAE2Config,
)

BANDS = 16
MODELS = {
    "frames 1d": lambda: FrameGenerator(FrameGeneratorConfig(mels=BANDS, encoder="1d")),
    "frames 2d": lambda: FrameGenerator(FrameGeneratorConfig(mels=BANDS, encoder="2d")),
    "PixelCNN": lambda: PixelCNN(PixelCNNConfig(mels=BANDS)),
    "MelNet": lambda: MelNet(MelNetConfig(mels=BANDS)),
    "VQ-VAE-2": lambda: CausalVQVAE2(VQVAE2Config(mels=BANDS)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_bands_need_not_be_said(name):
    model = MODELS[name]().eval()
    unsaid, said = model.initial_state(2), model.initial_state(2, BANDS)
    assert pytree.tree_map(torch.Tensor.size, unsaid) == pytree.tree_map(torch.Tensor.size, said)
    y, _ = model.step(torch.zeros(2, 1, 3, BANDS), unsaid)
    assert y.shape[2] == 3


@pytest.mark.parametrize("name", MODELS)
def test_other_bands_are_refused(name):
    with pytest.raises(ValueError, match=rf"\(17,\); this model takes \({BANDS},\)"):
        MODELS[name]().initial_state(2, 17)
