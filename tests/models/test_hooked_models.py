"""Models draw with the weights of now, and with their hooks, whatever makes the weights and whatever draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import prune, weight_norm

from causalcnn.models import (
    CodePrior,
    CodePriorConfig,
    FrameGenerator,
    FrameGeneratorConfig,
    MelNet,
    MelNetConfig,
    PixelCNN,
    PixelCNNConfig,
    Sampler,
    WaveNet,
    WaveNetConfig,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")

MODELS = {
    "pixelcnn": lambda: PixelCNN(PixelCNNConfig(mels=4, channels=4)),
    "melnet": lambda: MelNet(MelNetConfig(mels=4, channels=4)),
    "frame generator": lambda: FrameGenerator(FrameGeneratorConfig(mels=4, channels=4, hidden=4)),
    "code prior": lambda: CodePrior(
        CodePriorConfig(
            top_cells=2,
            bottom_cells=4,
            num_codes=8,
            channels=4,
            hidden=4,
            time_dilations=((2, 1),),
            frequency_dilations=(1,),
        )
    ),
}

KINDS = {
    "weight norm": weight_norm,
    "pruning": lambda layer: prune.random_unstructured(layer, "weight", 0.3),
    "hooks": lambda layer: layer.register_forward_hook(lambda _, given, y: 1.3 * y),
}


def changed(make: Callable[[], nn.Module], kind: str) -> nn.Module:
    """The model with hooks on its layers; no forward has gone before them since its weights have moved."""
    torch.manual_seed(0)
    model = make()
    for part in model.eval().modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear):
            KINDS[kind](part)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3).add_(0.05)
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_the_fast_sampler_draws_as_the_reference(name, kind):
    model = changed(MODELS[name], kind)
    fast = model.sampler()
    uniform = fast.uniform(torch.Generator().manual_seed(0))
    drawn = [fast.draw(uniform) for _ in range(2)]
    assert (type(fast) is Sampler) == (kind == "hooks")
    reference = changed(MODELS[name], kind).sampler(reference=True)
    with torch.no_grad():
        assert all(torch.equal(reference.draw(uniform), frame) for frame in drawn)


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("kind", ["weight norm", "pruning"])
def test_a_wavenet_draws_what_its_forward_expects(kind, engine):
    model = changed(lambda: WaveNet(WaveNetConfig(layers=2)), kind)
    sampler = model.sampler(engine=engine)
    uniform = sampler.uniform(torch.Generator().manual_seed(1))
    drawn = torch.stack([sampler.draw(uniform) for _ in range(4)], dim=1)
    with torch.no_grad():
        parameters = model(model.to_input(drawn))
    expected = [model.distribution.sample(parameters[:, :, t], uniform, 1.0) for t in range(4)]
    assert torch.equal(torch.stack(expected, 1), drawn)


def test_what_a_sampler_would_not_call_is_refused():
    model = WaveNet(WaveNetConfig(layers=2)).eval()
    model.register_forward_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="a WaveNet has a forward hook"):
        model.sampler()


@pytest.mark.parametrize("temperature", [float("inf"), float("nan"), 0.0, -1.0])
@pytest.mark.parametrize("name", MODELS)
def test_a_temperature_that_is_none_is_refused(name, temperature):
    model = MODELS[name]().eval()
    for sampler in (model.sampler(), model.sampler(reference=True)):
        with pytest.raises(ValueError, match="temperature"):
            sampler.draw(sampler.uniform(torch.Generator()), temperature)
