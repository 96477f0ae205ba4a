"""The frame generator: the contract, its field as a set, and three ways to draw a frame that draw the same one."""

import dataclasses

import pytest
import torch

from causalcnn import audit, check_contract
from causalcnn.models import FrameGenerator, FrameGeneratorConfig
from causalcnn.models.frame_sampling import CompiledFrameSampler, FrameSampler
from causalcnn.speech import Batch

SMALL = FrameGeneratorConfig(mels=8, channels=6, hidden=10, blocks=1, embedding_size=3)
SHAPES = {
    "1d": SMALL,
    "2d": SMALL.with_(encoder="2d", mels=16),
    "stacks": SMALL.with_(dilations=(1, 3)),
    "the note's": SMALL.with_(context_bands=0, kernel_size=2),
}
OUTPUTS = ("categorical-8", "categorical-4", "logistic-mixture-4", "gaussian-mixture-3", "gaussian")


def made(config, seed=0):
    torch.manual_seed(seed)
    model = FrameGenerator(config)
    with torch.no_grad():  # far from where training begins, so that every weight matters
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def values(config, frames=9, rows=2, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, 1, frames, config.mels, generator=generator, dtype=dtype) * 2 - 1


@pytest.mark.parametrize("shape", SHAPES)
def test_the_contract(shape):
    config = SHAPES[shape]
    report = check_contract(made(config).double(), values(config))
    assert report.field.lookahead == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_field_is_what_a_change_reaches(shape):
    """Both ways, cell by cell: what is declared is read, and nothing else is."""
    config = SHAPES[shape]
    model = made(config).double()
    past = model.field.axis("time").past
    frames = past + 2
    x = values(config, frames=frames, rows=1)
    whole = model(x)
    reached = {}
    for t in range(frames):
        for f in range(config.mels):
            other = x.clone()
            other[0, 0, t, f] += 0.7
            reached[t, f] = (model(other) - whole).abs().amax(1)[0, -1] > 0
    for f in range(config.mels):
        found = {cell for cell, hit in reached.items() if hit[f]}
        declared = {cell for cell in model.field.inputs_of((frames - 1, f)) if cell[0] >= 0}
        assert found == declared, f"value {f}"


def test_audit_in_time():
    report = audit(made(SMALL), (1, 1, 12, 8))
    assert report.passed


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("shape", ["1d", "2d", "the note's"])
def test_three_ways_draw_the_same(output, shape):
    model = made(SHAPES[shape].with_(output=output)).double()
    prompt = torch.randint(0, 256, (2, 5, model.config.mels), generator=torch.Generator().manual_seed(1))
    drawn = []
    for make in (lambda: model.sampler(2, reference=True), lambda: FrameSampler(model, 2),
                 lambda: CompiledFrameSampler(model, 2)):  # fmt: skip
        sampler, generator = make(), torch.Generator().manual_seed(0)
        sampler.read(prompt[:, :2])
        sampler.read(prompt[:, 2:])
        sampler.read(prompt[:, :0])
        drawn.append(torch.stack([sampler.draw(sampler.uniform(generator), 0.8) for _ in range(7)], 1))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    assert drawn[0].float().std() > 1


def test_without_numba_it_draws_in_torch(monkeypatch):
    monkeypatch.setattr("causalcnn.models.frame_sampling._compiled", lambda: None)
    model = made(SMALL)
    assert type(model.sampler()) is FrameSampler
    assert model.generate(2).shape == (1, 2, 8)


def test_a_seed_is_a_sample():
    model = made(SMALL)
    first, again, other = model.generate(6, seed=3), model.generate(6, seed=3), model.generate(6, seed=4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert model.generate(0).shape == (1, 0, 8)


def test_temperature_narrows():
    model = made(SMALL.with_(output="logistic-mixture-2"))
    first = [model.generate(1, rows=60, temperature=t)[:, 0, 0].float() for t in (1e-3, 0.3, 1.0)]
    spread = [bins.std() for bins in first]
    assert spread[0] < spread[1] < spread[2]


def test_training_frames_are_what_counts():
    """Padding costs nothing; the model's own samples are read in training only."""
    model = made(SMALL.with_(scheduled_sampling=0.5))
    features = torch.rand(2, 8, 9) * 60 - 60
    mask = torch.arange(9) < torch.tensor([[9], [6]])
    batch = Batch(features, mask, torch.zeros(2, dtype=torch.int64))
    other = Batch(torch.where(mask[:, None], features, -100.0), mask, batch.speaker)
    assert torch.equal(model.loss(batch)[0], model.loss(other)[0])
    torch.manual_seed(0)
    assert model.train().loss(batch)[0] != model.eval().loss(batch)[0]


def test_log_prob_is_what_generate_draws_from():
    """The probability of a drawn frame, value by value, is that of its distribution at what the reference saw."""
    model = made(SMALL).double()
    bins = model.generate(5, seed=1)
    nats = model.log_prob(bins)
    state = model.initial_state(torch.zeros(1, 1, 0, 8, dtype=torch.float64))
    for t in range(5):
        parameters, state = model.step(model.to_input(bins[:, t : t + 1]), state)
        torch.testing.assert_close(
            model.distribution.log_prob(parameters[:, :, 0].movedim(1, -1), bins[:, t]), nats[:, t]
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoder": "3d"}, "'1d' or '2d'"),
        ({"dilations": ()}, "at least one"),
        ({"encoder": "2d", "dilations": (1, 3)}, "one stack"),
        ({"context_bands": 2}, "odd"),
        ({"hidden": 0}, "at least 1"),
        ({"scheduled_sampling": 1.0}, "below 1"),
        ({"low_db": 20.0}, "smaller"),
        ({"output": "poisson"}, "poisson"),
    ],
)
def test_what_cannot_be_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        FrameGenerator(SMALL.with_(**change))


def test_inputs_that_cannot_be():
    model = made(SMALL)
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 9\).*\(batch, 1, time, 8\)"):
        model(torch.zeros(1, 1, 4, 9))
    with pytest.raises(ValueError, match="prompt"):
        model.generate(1, prompt=torch.zeros(1, 3, 8))
    with pytest.raises(ValueError, match="bins from 0 to 9999; they are 0 to 255"):
        model.generate(1, prompt=torch.tensor([0, 9999] * 8).view(1, 2, 8))
    with pytest.raises(ValueError, match="temperature"):
        model.generate(1, temperature=0)
    with pytest.raises(RuntimeError, match="eval"):
        model.train().sampler()


def test_a_model_that_diverged_draws_nothing():
    model = made(SMALL)
    with torch.no_grad():
        model.band_embedding[0, 0] = torch.nan
    with pytest.raises(ValueError, match="band_embedding is not finite"):
        model.generate(1)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_draws_in_torch(kind):
    model = made(SMALL).to(kind)
    assert not CompiledFrameSampler.fits(model)
    assert model.generate(3).shape == (1, 3, 8)


def test_a_card_gives_the_config_back():
    as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(SHAPES["stacks"]).items()}
    assert FrameGeneratorConfig(**as_json) == SHAPES["stacks"]
