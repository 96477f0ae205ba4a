"""What goes on from call to call may be used in inference mode and outside of it, in any order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from causalcnn import CausalConv1d, VectorQuantizer
from causalcnn.models import (
    CausalVQVAE2,
    LPWaveNet,
    LPWaveNetConfig,
    MelNet,
    MelNetConfig,
    PixelCNN,
    PixelCNNConfig,
    VQVAE2Config,
    WaveNet,
    WaveNetConfig,
)
from causalcnn.nn import CausalConvTranspose1d, CausalMaxPool1d, CausalSequential, Delay, FrameNorm, Residual
from causalcnn.speech import LogMel

LAYERS = {
    "conv": lambda: CausalConv1d(4, 4, 3),
    "groups": lambda: CausalConv1d(4, 4, 3, groups=2),
    "transposed": lambda: CausalConvTranspose1d(4, 4, 4, 2),
    "pool": lambda: CausalMaxPool1d(2, 1),
    "delay": lambda: Delay(2),
    "quantizer": lambda: VectorQuantizer(5, 4),
    "network": lambda: CausalSequential(
        nn.ReLU(), CausalConv1d(4, 4, 3), Residual(FrameNorm(4), CausalConv1d(4, 4, 2))
    ),
}

ORDERS = [(True, False, True, False), (False, True, False)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_stream_and_its_state(name, engine, order):
    layer, x, stream, outputs = LAYERS[name]().eval(), torch.randn(1, 4, 300), None, []
    for mode in order:
        with torch.inference_mode(mode):
            stream = stream or layer.stream(engine=engine)
            outputs.append(torch.cat([stream(x[:, :, :1]), stream(x[:, :, 1:4]), stream(x[:, :, 4:])], 2))
            state = stream.state
            layer.stream(state, engine=engine)(x[:, :, :1])
            stream.reset_rows([0])
    assert all(torch.equal(outputs[0], y) for y in outputs)
    layer.step(x.clone().requires_grad_(), state)[0].sum()  # a state may be differentiated through


def drawn(sampler):
    sampler.read(torch.full((1, 2, 4), 100))
    return torch.stack([sampler.draw(sampler.uniform(torch.Generator().manual_seed(s))) for s in (0, 1)])


SAMPLERS = {
    "pixelcnn": (lambda: PixelCNN(PixelCNNConfig(mels=4, channels=4)).eval().sampler(), drawn),
    "pixelcnn, plain": (
        lambda: PixelCNN(PixelCNNConfig(mels=4, channels=4)).eval().sampler(reference=True),
        drawn,
    ),
    "melnet": (lambda: MelNet(MelNetConfig(mels=4, channels=4)).eval().sampler(), drawn),
    "wavenet": (
        lambda: WaveNet(WaveNetConfig(layers=2)).eval().sampler(),
        lambda s: [s.read(torch.full((1, 2), 100)), s.draw(s.uniform(torch.Generator()))],
    ),
    "lp wavenet": (
        lambda: LPWaveNet(LPWaveNetConfig.tiny()).eval().sampler(),
        lambda s: s.draw(torch.full((1, 80, 2), -60.0), torch.Generator()),
    ),
    "search": (
        lambda: LPWaveNet(LPWaveNetConfig.tiny()).eval().search(),
        lambda s: s.draw(torch.full((1, 80, 2), -60.0), torch.Generator()),
    ),
    "codes": (
        lambda: CausalVQVAE2(VQVAE2Config(channels=8, residual_blocks=1, code_dim=4, num_codes=16)).eval().stream(),
        lambda s: s.decode(s.encode(torch.full((1, 1, 2, 80), -30.0))),
    ),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler(name, order):
    make, use = SAMPLERS[name]
    running = None
    for mode in order:
        with torch.inference_mode(mode):
            running = running or make()
            use(running)


def test_what_is_kept_of_a_first_call_can_be_differentiated_through():
    """A front end makes its filters once for all: if that is in inference mode, gradients must pass all the same."""
    for layer in (LogMel("causal"), LogMel("centered")):
        for mode in (True, False):
            with torch.inference_mode(mode):
                x = torch.zeros(1, 2000, dtype=torch.float64)  # of a dtype that no other test has asked for before
                y = layer(x if mode else x.requires_grad_())
        y.sum().backward()
        assert x.grad.isfinite().all()
