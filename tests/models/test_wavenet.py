"""WaveNet: what it reads, three ways to run it, drawing against a plain reference, and the faults that are found."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from causalcnn import Field, audit, check_contract, receptive_field
from causalcnn.causality import Verdict, measure_field, trace
from causalcnn.engine import ReferenceRunner
from causalcnn.models import WaveNet, WaveNetConfig
from causalcnn.models.sample_loop import lower_generation, noise_for
from causalcnn.speech import SampleBatch
from tests.fuzz import examples
from tests.models.shared import lively

OUTPUTS = ("categorical-8", "categorical-4", "logistic-mixture-4", "gaussian-mixture-3", "gaussian")
SMALL = WaveNetConfig(
    layers=3, cycles=2, residual_channels=4, gate_channels=3, skip_channels=5, head_channels=6, bias=True, one_hot=False
)
CONFIGS = st.builds(
    SMALL.with_,
    kernel_size=st.integers(1, 3),
    layers=st.integers(1, 3),
    cycles=st.integers(1, 3),
    one_hot=st.booleans(),
    output=st.sampled_from(["logistic-mixture-1", "categorical-2"]),
    condition_channels=st.integers(0, 2),
    bias=st.booleans(),
)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(params=["torch", "compiled"])
def engine(request):
    if request.param == "compiled":
        pytest.importorskip("numba")
    return request.param


def made(config, kind=WaveNet):
    return lively(kind(config)).double().eval()


def read(model, time, rows=2):
    return torch.randn(rows, model.in_channels, time, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def noise(rows, time, seed=0):
    return torch.randint(0, 256, (rows, time), generator=torch.Generator().manual_seed(seed))


def reach(config):
    """How many samples the paper's network reads, its own included: 1 + B (k−1) (2^L − 1)."""
    return 1 + config.cycles * (config.kernel_size - 1) * (2**config.layers - 1)


# -------------------------------------------------------------------------------------------- what it reads
@settings(max_examples=examples(12), derandomize=True, deadline=None)
@given(CONFIGS)
def test_its_field_is_the_formula_and_what_is_traced_and_what_is_measured(config):
    model = made(config)
    assert sorted(model.sample_field.inputs_of(0)) == list(range(-reach(config), 0))  # shifted by one
    assert model.sample_field.lookahead == -1
    assert model.field.lookahead == (0 if config.condition_channels else -1)
    assert model.field == receptive_field(model)
    time = reach(config) + 2
    x = read(model, time, rows=1)
    traced, measured = trace(model, x), measure_field(model, x)
    for t in range(time):
        declared = model.field.inputs_of(t, within=range(time))
        assert traced.inputs_of(t) == declared, t  # for any weights, through the operations
        assert measured[(t,)] == declared, t  # by the derivative


@pytest.mark.parametrize("condition_channels", [0, 2])
@pytest.mark.parametrize("cycles", [1, 2])
def test_samples_and_condition_are_read_where_they_are_said_to_be(condition_channels, cycles):
    model = made(SMALL.with_(condition_channels=condition_channels, cycles=cycles))
    time, samples = 24, model.sample_channels
    x = read(model, time, rows=1)
    for field, channels in (
        (model.sample_field, slice(0, samples)),
        (model.condition_field, slice(samples, None)),
    ):
        found = set()
        for t in range(time if x[:, channels].shape[1] else 0):
            other = x.clone()
            other[:, channels, t] += 1
            if (model(other) - model(x))[0, :, -1].abs().max() > 0:
                found.add(t)
        assert found == field.inputs_of(time - 1, within=range(time))


def test_the_presets_say_how_far_they_read():
    assert WaveNet(WaveNetConfig.tiny()).field == Field.window(range(-256, 0))
    assert WaveNet().field.past == 1024
    assert WaveNet(WaveNetConfig.base()).field.past == 4093
    assert WaveNetConfig.base().with_(cycles=3).cycles == 3


# --------------------------------------------------------------------------------------- three ways to run it
@settings(max_examples=examples(8), derandomize=True, deadline=None)
@given(CONFIGS)
def test_it_keeps_the_contract(config):
    model = made(config)
    report = check_contract(model, read(model, 9), measure=False)
    assert report.largest_difference < 1e-12


@pytest.mark.parametrize("condition_channels", [0, 2])
def test_the_audit_certifies_it(condition_channels):
    model = made(SMALL.with_(condition_channels=condition_channels))
    report = audit(model, (1, model.in_channels, 24))
    assert report.passed, report
    if not condition_channels:  # else the condition beside the sample is read, as it should be
        assert audit(NextSample(model), (1, 1, 24)).passed


# ---------------------------------------------------------------------------------------------------- drawing
@torch.no_grad()
def plain_generate(model, samples, *, prompt, condition=None, seed=0, temperature=1.0):
    """Draw as the definition says: for each sample, run the network over all that came before, and one that is not."""
    rows, start = prompt.shape
    generator = torch.Generator().manual_seed(seed)
    bins = prompt
    for t in range(start, start + samples):
        unknown = torch.full((rows, 1), 77)
        beside = None if condition is None else condition[:, :, : t + 1]
        parameters = model(model.to_input(torch.cat([bins, unknown], 1), beside))[:, :, -1]
        shape = (rows, model.distribution.num_uniforms)
        uniform = torch.rand(*shape, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        bins = torch.cat([bins, model.distribution.sample(parameters, uniform, temperature)[:, None]], 1)
    return bins[:, start:]


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("output", OUTPUTS)
def test_it_draws_what_a_plain_loop_draws(output, one_hot, engine):
    model = made(SMALL.with_(output=output, one_hot=one_hot))
    prompt = noise(2, 20)
    drawn = model.generate(60, rows=2, prompt=prompt, seed=3, temperature=0.9, engine=engine)
    assert torch.equal(drawn, plain_generate(model, 60, prompt=prompt, seed=3, temperature=0.9))
    assert drawn.float().std() > 1


def test_it_draws_what_a_plain_loop_draws_beyond_its_field_and_without_a_prompt(engine):
    model = made(SMALL.with_(kernel_size=3, layers=2))
    drawn = model.generate(200, seed=1, engine=engine)
    assert torch.equal(drawn, plain_generate(model, 200, prompt=noise(1, 0), seed=1))


def test_it_draws_with_a_condition(engine):
    model = made(SMALL.with_(condition_channels=3))
    prompt, condition = noise(2, 5), torch.randn(2, 3, 45, dtype=torch.float64)
    drawn = model.generate(40, rows=2, prompt=prompt, condition=condition, engine=engine)
    assert torch.equal(drawn, plain_generate(model, 40, prompt=prompt, condition=condition))
    other = model.generate(40, rows=2, prompt=prompt, condition=-condition, engine=engine)
    assert not torch.equal(drawn, other)


def test_a_speakers_vector_stands_beside_every_sample(engine):
    """Global conditioning: one vector for each row, the same at all times."""
    model = made(SMALL.with_(condition_channels=3))
    bins, vector = noise(2, 30), torch.randn(2, 3, 1, dtype=torch.float64)
    everywhere = vector.expand(-1, -1, 30)
    assert torch.equal(model.log_prob(bins, vector), model.log_prob(bins, everywhere))
    assert not torch.equal(model.log_prob(bins, vector), model.log_prob(bins, vector.flip(0)))
    drawn = [model.generate(30, rows=2, condition=beside, engine=engine) for beside in (vector, everywhere)]
    assert torch.equal(*drawn)


def test_reading_and_drawing_take_turns(engine):
    """What was drawn is read like what was given: a sampler may read, draw, read again, and draw on."""
    model = made(SMALL)
    sampler, generator = model.sampler(2, engine=engine), torch.Generator().manual_seed(0)
    given_first, given_later = noise(2, 7), noise(2, 4, seed=1)
    sampler.read(given_first)
    sampler.read(given_first[:, :0])
    drawn = [sampler.draw(sampler.uniform(generator)) for _ in range(5)]
    sampler.read(given_later)
    sampler.read(given_later[:, :0])
    found = sampler.draw(sampler.uniform(generator))
    known = torch.cat([given_first, torch.stack(drawn, 1), given_later], 1)
    other = model.sampler(2)
    other.read(known)
    again = torch.Generator().manual_seed(0)
    for _ in range(5):
        other.uniform(again)
    assert torch.equal(found, other.draw(other.uniform(again)))


def test_a_seed_is_a_sample(engine):
    model = made(SMALL)
    assert torch.equal(model.generate(40, seed=3, engine=engine), model.generate(40, seed=3))
    assert not torch.equal(model.generate(40, seed=3), model.generate(40, seed=4))
    assert model.generate(0, engine=engine).shape == (1, 0)


def test_temperature_narrows(engine):
    model = made(SMALL)
    spread = [model.generate(1, rows=60, temperature=t, engine=engine).float().std() for t in (1e-3, 0.3, 1.0)]
    assert spread[0] < spread[1] < spread[2]


@pytest.mark.parametrize("output", ["categorical-8", "logistic-mixture-4"])
def test_the_lowest_temperature_draws_the_likeliest_and_lower_ones_are_refused(output, engine):
    model = lively(WaveNet(SMALL.with_(output=output, one_hot=True))).eval()
    drawn = [model.generate(40, temperature=t, engine=engine) for t in (1e-30, 1e-9)]
    assert torch.equal(*drawn)
    for wrong in (1e-40, 1e-320, 0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="temperature is"):
            model.generate(3, temperature=wrong, engine=engine)


@pytest.mark.parametrize("output", OUTPUTS)
def test_as_a_layer_it_streams_compiled(output):
    pytest.importorskip("numba")
    model = made(SMALL.with_(output=output, condition_channels=2))
    x, stream = read(model, 40), model.stream(engine="compiled")
    y = torch.cat([stream(piece) for piece in x.split([1, 0, 19, 20], dim=2)], dim=2)
    torch.testing.assert_close(y, model(x).detach(), rtol=1e-10, atol=1e-10)
    resumed = model.stream(stream.state)
    torch.testing.assert_close(resumed(x), stream(x), rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["categorical-8", "logistic-mixture-4"])
def test_one_second_is_drawn_alike_by_both_engines(output):
    pytest.importorskip("numba")
    model = made(SMALL.with_(output=output))
    assert torch.equal(model.generate(16_000, seed=5), model.generate(16_000, seed=5, engine="compiled"))


@pytest.mark.parametrize("seed", range(3))
def test_in_single_precision_the_first_sample_that_differs_is_a_tie(seed):
    """Free running, both engines draw the same until a uniform number falls on the edge of a bin, up to rounding."""
    pytest.importorskip("numba")
    model = lively(WaveNet(SMALL.with_(output="categorical-8", one_hot=True, gate_channels=16))).eval()
    ours, theirs = model.generate(1500, seed=seed, engine="compiled"), model.generate(1500, seed=seed)
    differ = (ours != theirs)[0].nonzero()
    if not len(differ):
        return
    first = int(differ[0])
    parameters = model(model.to_input(theirs[:, : first + 1]))[0, :, first].detach().double()
    uniform = torch.rand(1500, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)[first]
    assert float((parameters.softmax(0).cumsum(0) - uniform).abs().min()) < 1e-5


def test_the_plan_of_generation_is_what_numpy_makes_of_it():
    for output in OUTPUTS:
        model = made(SMALL.with_(output=output, condition_channels=2))
        condition, uniform = torch.randn(2, 2, 25, dtype=torch.float64), torch.rand(2, 25, 2, dtype=torch.float64)
        uniform = uniform[..., : model.distribution.num_uniforms]
        drawn = model.sampler(2).draw_all(uniform, condition, 0.8)
        runner = ReferenceRunner(lower_generation(model), 2)
        noise = noise_for(model.distribution, uniform, 0.8).numpy()
        frames = [runner.feed(noise[:, t, None], condition[:, None, :, t].numpy())[0][0] for t in range(25)]
        assert np.array_equal(np.stack(frames, -1)[:, 0, 0], drawn.numpy())


def test_a_sampler_has_one_of_two_engines():
    with pytest.raises(ValueError, match="'torch' or 'compiled'"):
        made(SMALL).sampler(engine="numpy")
    pytest.importorskip("numba")
    with pytest.raises(ValueError, match="temperature is 0"):
        made(SMALL).generate(3, temperature=0, engine="compiled")
    with pytest.raises(ValueError, match="takes 1 for each value"):
        made(SMALL).sampler(engine="compiled").draw_all(torch.rand(1, 5, 3))


# ------------------------------------------------------------------------------------------------- likelihood
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_probabilities_of_the_bins_of_a_sample_sum_to_one(output):
    model = made(SMALL.with_(output=output))
    past = noise(1, 12)
    every = torch.cat([past.expand(256, -1), torch.arange(256)[:, None]], 1)
    assert float(model.log_prob(every)[:, -1].exp().sum().detach()) == pytest.approx(1, abs=1e-5)


def test_log_prob_is_what_generate_draws_from():
    model = made(SMALL.with_(output="categorical-8"))
    bins = model.generate(20, seed=1)
    nats = model.log_prob(bins)
    state = model.initial_state(model.to_input(bins[:, :0]))
    for t in range(20):
        parameters, state = model.step(model.to_input(bins[:, t : t + 1]), state)
        own = model.distribution.log_prob(parameters[:, :, 0], bins[:, t])
        torch.testing.assert_close(own, nats[:, t])


def test_the_loss_is_bits_per_real_sample():
    model = made(SMALL)
    samples = torch.rand(2, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.arange(50) < torch.tensor([[50], [30]])
    batch = SampleBatch(samples * mask, mask, torch.zeros(2, dtype=torch.int64))
    loss, metrics = model.loss(batch)
    assert loss.requires_grad
    loss = loss.detach()
    bits = -model.log_prob(model.to_bins(batch.samples)).detach() / math.log(2)
    assert float(loss) == pytest.approx(float((bits[0].sum() + bits[1, :30].sum()) / 80), rel=1e-6)
    assert metrics["bits"] == loss
    other = SampleBatch(torch.where(mask, samples, 0.9), mask, batch.speaker)
    assert model.loss(other)[0] == loss


def test_an_untrained_model_knows_nothing():
    """It begins near the initial distribution, which is nearly flat: about 8 bits."""
    for config in (WaveNetConfig.tiny(), WaveNetConfig(layers=2)):
        bits = -WaveNet(config).log_prob(noise(1, 200)).detach().mean() / math.log(2)
        assert float(bits) == pytest.approx(8, abs=0.3)


def test_one_hot_samples_are_as_loud_as_numbers_at_the_first_block():
    """Weights drawn for 256 channels that are all on would whisper: half a bit is lost in the first 150 steps."""
    bins = noise(1, 500)
    loud = []
    for one_hot in (True, False):
        model = WaveNet(WaveNetConfig(layers=1, one_hot=one_hot))
        loud.append(float(model.input(model.to_input(bins)).detach().std()))
    assert 0.5 < loud[0] / loud[1] < 3


def test_it_learns_a_square_wave():
    model = WaveNet(SMALL.with_(output="categorical-8", one_hot=True))
    bins = torch.tensor([40, 40, 200, 200]).repeat(1, 16)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        loss = -model.log_prob(bins).mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.3
    assert model.eval().generate(8, prompt=bins, temperature=0.2).tolist() == [[40, 40, 200, 200] * 2]


# ---------------------------------------------------------------------------------------------- planted faults
class WithoutDelay(WaveNet):
    """The classic off-by-one: it is trained on, and reads, the very sample that it predicts."""

    def compose(self, x, run):
        return self.predict(x[:, : self.sample_channels], x[:, self.sample_channels :], run)


class NextSample(nn.Module):
    """Output ``t`` holds the distribution of sample ``t + 1``: causal exactly if no sample reads itself."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        channels = x.expand(-1, self.model.in_channels, -1)
        return self.model(F.pad(channels, (0, 1)))[:, :, 1:]


def test_a_network_that_reads_what_it_predicts_is_found():
    model = made(SMALL, WithoutDelay)
    with pytest.raises(AssertionError, match="a changed future from frame 1 on moves"):
        check_contract(model, read(model, 12))
    x = read(model, 24, rows=1)
    assert max(trace(model, x).inputs_of(20)) == 20  # itself
    assert max(trace(made(SMALL), x).inputs_of(20)) == 19
    report = audit(NextSample(model), (1, 1, 24))
    assert (report.verdict, report.lookahead) == (Verdict.LOOKS_AHEAD, 1)
    # as a layer it is causal: it reads the present frame, and so it must be asked what it predicts
    assert audit(model, (1, 1, 24)).verdict is Verdict.CAUSAL


def test_a_network_whose_condition_comes_too_early_is_found():
    class Ahead(WaveNet):
        def predict(self, earlier, condition, run):
            return super().predict(earlier, F.pad(condition[:, :, 1:], (0, 1)), run)

    model = made(SMALL.with_(condition_channels=2), Ahead)
    with pytest.raises(AssertionError, match="a leak"):
        check_contract(model, read(model, 12))
    assert audit(model, (1, model.in_channels, 24)).verdict is Verdict.LOOKS_AHEAD


# -------------------------------------------------------------------------------------------- what cannot be
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": 0}, "layers is 0"),
        ({"cycles": 1.5}, "cycles is 1.5"),
        ({"kernel_size": 0}, "kernel_size is 0"),
        ({"condition_channels": -1}, "condition_channels is -1"),
        ({"output": "poisson"}, "poisson"),
    ],
)
def test_settings_that_cannot_be(change, words):
    with pytest.raises(ValueError, match=words):
        WaveNetConfig(**change)


def test_inputs_that_cannot_be():
    model, conditioned = made(SMALL), made(SMALL.with_(condition_channels=3))
    bins = noise(2, 6)
    for wrong, words in (
        (lambda: model(torch.zeros(1, 3, 4)), r"\(1, 3, 4\); this WaveNet takes \(batch, 1, time\)"),
        (lambda: model.to_bins(torch.tensor([[0.0, math.nan]])), "NaN"),
        (lambda: model.to_bins(torch.tensor([[0.0, 1.5]])), "1.5"),
        (lambda: model.to_input(bins.float()), "must be int64"),
        (lambda: model.to_input(bins[0]), r"\(6,\)"),
        (lambda: model.to_input(bins + 200), "they are 0 to 255"),
        (lambda: model.to_input(bins, torch.zeros(2, 3, 6)), "this model has none"),
        (lambda: conditioned.to_input(bins), "there is no condition"),
        (lambda: conditioned.to_input(bins, torch.zeros(2, 3, 5)), r"\(2, 3, 5\).*must be \(2, 3, 6\)"),
        (lambda: conditioned.loss(SampleBatch(torch.zeros(2, 6), bins > 0, bins[:, 0])), "there is no condition"),
        (lambda: conditioned.generate(4, condition=torch.zeros(1, 3, 3)), r"must be \(1, 3, 4\)"),
        (lambda: conditioned.sampler().draw(torch.zeros(1, 2)), "there is no condition"),
        (lambda: model.generate(-1), "at least 0 samples"),
        (lambda: model.generate(1, rows=2, prompt=bins[:1]), r"\(1, 6\); it must be \(2, time\)"),
        (lambda: model.generate(1, prompt=torch.tensor([[256]])), "they are 0 to 255"),
        (lambda: model.generate(1, temperature=0), "temperature"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()
    with pytest.raises(RuntimeError, match="eval"):
        model.train().sampler()


def test_a_model_that_diverged_draws_nothing():
    model = made(SMALL)
    with torch.no_grad():
        model.input.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"input\.weight is not finite"):
        model.generate(1)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_draws(kind):
    assert made(SMALL).to(kind).generate(3).shape == (1, 3)
