"""A model makes its state from a piece, and takes no piece with another number of bands than its own."""

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
def test_the_state_follows_the_piece(name):
    model = MODELS[name]().eval().double()
    whole, empty = (torch.zeros(2, 1, frames, BANDS, dtype=torch.float64) for frames in (3, 0))
    state = model.initial_state(empty)
    leaves = pytree.tree_leaves(state)
    assert {leaf.dtype for leaf in leaves} == {torch.float64}
    assert pytree.tree_map(torch.Tensor.size, model.initial_state(whole)) == pytree.tree_map(torch.Tensor.size, state)
    y, _ = model.step(whole, state)
    assert y.shape[2] == 3


@pytest.mark.parametrize("name", MODELS)
def test_other_bands_are_refused(name):
    with pytest.raises(ValueError, match=rf"\(2, 1, 0, 17\).*\(batch, 1, time, {BANDS}\)"):
        MODELS[name]().initial_state(torch.zeros(2, 1, 0, 17))
