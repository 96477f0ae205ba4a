"""WaveNet as a vocoder: which frame stands beside a sample, its price in latency, and the faults that are found."""

import math

import pytest
import torch

from causalcnn import Field, check_contract
from causalcnn.causality import ContractError
from causalcnn.models import MelCondition, Vocoder, VocoderConfig, WaveNet, load_model, save_model
from causalcnn.models.vocoder import HOP_SAMPLES, MELS
from causalcnn.speech import LogMel, SampleBatch, front_end
from tests.models.shared import lively

SMALL = VocoderConfig(
    layers=3, residual_channels=4, gate_channels=3, skip_channels=5, head_channels=6, output="logistic-mixture-2"
)
LOOKAHEAD = [0, 1, 2, 3]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def sound(samples, rows=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(rows, 1, samples, generator=generator, dtype=torch.float64) * 2 - 1) * 0.5


def made(config=SMALL):
    return lively(Vocoder(config)).double().eval()


def measurable(condition):
    """Its window without the zero with which a Hann window begins, which would hide the first sample."""
    condition.front_end = LogMel(window="ones")
    return condition.double()


def test_sizes_are_those_of_the_front_end():
    assert (MELS, HOP_SAMPLES) == (front_end.MELS, front_end.HOP_SAMPLES)


# ------------------------------------------------------------------------------- the frame beside a sample
@pytest.mark.parametrize("frames", LOOKAHEAD)
def test_a_sample_has_the_frame_of_its_hop_or_a_later_one(frames):
    x = sound(1_234)
    mel, beside = LogMel()(x), MelCondition(frames)(x)
    assert beside.shape[2] == 160 * max(0, mel.shape[2] - frames)
    for t in range(0, beside.shape[2], 7):
        torch.testing.assert_close(beside[:, :, t], mel[:, :, t // 160 + frames] / 50 + 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("frames", LOOKAHEAD)
def test_the_latency_from_microphone_to_sample_is_declared(frames):
    field = MelCondition(frames).field
    assert field.lookahead == 160 * (frames + 1) - 1
    assert 1000 * field.latency() == pytest.approx(10 * (frames + 1) - 1 / 16)
    for sample in (0, 1, 159, 160, 1000):
        hop = sample // 160 + frames
        assert field.inputs_of(sample) == set(range((hop + 1) * 160 - 640, (hop + 1) * 160))
    assert Vocoder(SMALL.with_(lookahead_frames=frames)).field.lookahead == field.lookahead


CUTS = [[960], [0, 159, 1, 160, 640], [480, 480]]


@pytest.mark.parametrize("frames", [0, 2])
def test_the_condition_keeps_the_contract(frames):
    condition = measurable(MelCondition(frames))
    report = check_contract(condition, sound(960), chunkings=CUTS, lookahead=159 + 160 * frames)
    assert report.field.lookahead == 159 + 160 * frames
    assert ("a row can be reset at a block boundary, the others go on" in report.checks) == (frames == 0)
    if frames:
        with pytest.raises(ContractError, match=r"looks 479 frames ahead, but the block convention .* allows 159"):
            check_contract(condition, sound(960), lookahead=478)


def test_two_frames_are_never_mixed_up_by_pieces():
    x, condition = sound(2_000), MelCondition(1)
    stream = condition.stream()
    pieces = [stream(x[:, :, i : i + 37]) for i in range(0, 2_000, 37)]
    torch.testing.assert_close(torch.cat(pieces, 2), condition(x), rtol=0, atol=1e-12)
    assert {piece.shape[2] for piece in pieces} == {0, 160}


# --------------------------------------------------------------------------------------------- the vocoder
@pytest.mark.parametrize("frames", [0, 1])
def test_the_vocoder_keeps_the_contract(frames):
    x = 0.6 * torch.rand(2, 1, 960, dtype=torch.float64)  # what the check makes of it stays within −1 … 1
    vocoder = made(SMALL.with_(lookahead_frames=frames))
    # what is measured are derivatives, which bins have not: the next test changes samples
    check_contract(vocoder, x, chunkings=CUTS, measure=False, lookahead=159 + 160 * frames)


@pytest.mark.parametrize(("frames", "cycles"), [(0, 1), (1, 2)])
def test_its_field_is_what_a_change_reaches(frames, cycles):
    """Sample by sample: what is declared is read, and nothing else is."""
    wide = SMALL.with_(skip_channels=24, head_channels=24)  # so that some of its rectifiers are open
    model = made(wide.with_(lookahead_frames=frames, cycles=cycles))
    measurable(model.condition)
    outputs = (160 * 4, 160 * 4 + 1, 160 * 5 - 1)
    declared = {u: model.field.inputs_of(u) for u in outputs}
    edges = [edge + near for u in outputs for edge in (min(declared[u]), max(declared[u])) for near in range(-3, 4)]
    own = [u + near for u in outputs for near in range(-3, 3)]
    changed = torch.tensor(sorted({t for t in (*edges, *own, *range(0, 1_280, 37)) if 0 <= t < 1_280}))
    x = sound(1_280, rows=1).repeat(len(changed) + 1, 1, 1)
    x[torch.arange(len(changed)), 0, changed] *= -0.9
    y = model(x)
    moved = (y[:-1] - y[-1:]).abs().amax(1) > 0
    for u in outputs:
        assert set(changed[moved[:, u]].tolist()) == declared[u] & set(changed.tolist()), u


def test_an_earlier_condition_is_read_through_later_blocks():
    """Its field is more than its frame and its past samples: frames beside earlier samples reach further back."""
    model = made(SMALL.with_(layers=9))
    own_frame, samples = model.condition.field, model.wavenet.sample_field
    assert samples.past == 512
    assert (own_frame | samples).past == 639
    assert model.field.past > 900
    model = made(SMALL.with_(layers=2))
    assert model.field == model.condition.field.then(model.wavenet.condition_field) | model.wavenet.sample_field


@pytest.mark.parametrize("frames", LOOKAHEAD)
def test_it_speaks_as_it_was_trained_to_read(frames):
    """What is drawn has the probability that the layer gives it when the same frames stand beside it."""
    model = made(SMALL.with_(lookahead_frames=frames))
    mel = LogMel()(sound(160 * 6)).double()
    drawn = model.generate(mel, seed=2)
    assert drawn.shape == (2, 160 * (6 - frames))
    bins, beside = model.wavenet.to_bins(drawn), model.condition.upsample(mel[:, :, frames:])
    again = model.wavenet.generate(len(bins[0]), rows=2, condition=beside, seed=2)
    assert torch.equal(bins, again)
    x = sound(160 * 6)
    nats = model.log_prob(x[:, 0])
    own = model.wavenet.log_prob(
        model.wavenet.to_bins(x[:, 0, : nats.shape[1]]), model.condition.upsample(LogMel()(x)[:, :, frames:])
    )
    torch.testing.assert_close(nats, own)
    parameters = model(x)
    from_layer = model.wavenet.distribution.log_prob(
        parameters.movedim(1, -1), model.wavenet.to_bins(x[:, 0, : parameters.shape[2]])
    )
    torch.testing.assert_close(nats, from_layer)


def test_the_loss_counts_real_samples_whose_frame_is_known():
    model = made(SMALL.with_(lookahead_frames=1)).float()
    samples = sound(800)[:, 0].float()
    mask = torch.arange(800) < torch.tensor([[800], [400]])
    samples = samples * mask
    loss, metrics = model.loss(SampleBatch(samples, mask, torch.zeros(2, dtype=torch.int64)))
    bits = -model.log_prob(samples).detach() / math.log(2)
    assert bits.shape == (2, 640)
    assert float(metrics["bits"]) == pytest.approx(float((bits[0].sum() + bits[1, :400].sum()) / 1040), rel=1e-5)
    assert loss.requires_grad


# ---------------------------------------------------------------------------------------------- planted faults
class OneFrameShort(MelCondition):
    """It declares ``lookahead_frames``, and gives each sample the frame before that one."""

    def initial_state(self, x):
        waiting, left_to_drop = super().initial_state(x)
        return waiting, left_to_drop - 1


class EndsBefore(MelCondition):
    """Each sample gets the frame that ended with the hop before its own."""

    def initial_state(self, x):
        frames = x.new_zeros(len(x), MELS, 1)
        return super().initial_state(x), frames

    def step(self, x, state):
        own, before = state
        waiting, left = own
        frames, waiting = self.front_end.step(x, waiting)
        late = torch.cat([before, frames], 2)
        return self.upsample(late[:, :, :-1]), ((waiting, left), late[:, :, -1:].clone())


class HalfAHopOff(MelCondition):
    """The samples that a frame is beside begin in the middle of a hop."""

    def initial_state(self, x):
        return super().initial_state(x), x.new_zeros(len(x), MELS, HOP_SAMPLES // 2)

    def step(self, x, state):
        own, before = state
        y, own = super().step(x, own)
        late = torch.cat([before, y], 2)
        return late[:, :, : y.shape[2]], (own, late[:, :, y.shape[2] :].clone())


class OneFrameMore(MelCondition):
    """It declares less look-ahead than it has."""

    def initial_state(self, x):
        waiting, left_to_drop = super().initial_state(x)
        return waiting, left_to_drop + 1


@pytest.mark.parametrize(
    ("fault", "frames", "words"),
    [
        (OneFrameShort, 1, r"reads .*, its field says"),
        (OneFrameShort, 3, r"reads .*, its field says"),
        (EndsBefore, 0, r"reads .*, its field says"),
        (HalfAHopOff, 0, r"reads .*, its field says"),
        (OneFrameMore, 0, "a changed future from frame 320 on moves output 160 by"),
    ],
)
def test_a_condition_that_is_not_the_declared_one_is_found(fault, frames, words):
    with pytest.raises(ContractError, match=words):
        check_contract(
            measurable(fault(frames)), sound(960), chunkings=[[960]], gradients=False, lookahead=159 + 160 * frames
        )


# ------------------------------------------------------------------------------------- on disk, what cannot be
def test_it_is_kept_with_its_card(tmp_path):
    model = Vocoder(SMALL.with_(lookahead_frames=2))
    save_model(tmp_path / "vocoder", model)
    again, card = load_model(tmp_path / "vocoder")
    assert again.config == model.config
    assert card["model"] == "vocoder"
    assert again.field.lookahead == 479


def test_what_cannot_be_is_said():
    for wrong, words in (
        (lambda: MelCondition(-1), "lookahead_frames is -1"),
        (lambda: VocoderConfig(lookahead_frames=-1), "lookahead_frames is -1"),
        (lambda: VocoderConfig(condition_channels=40), "condition_channels is 40; a vocoder has 80"),
        (lambda: made().generate(torch.zeros(1, 40, 5)), r"\(1, 40, 5\); they must be \(batch, 80, frames\)"),
        (lambda: made().log_prob(torch.full((1, 320), 1.5)), "1.5"),
        (lambda: made().log_prob(torch.full((1, 320), math.nan)), "NaN"),
        (
            lambda: made(SMALL.with_(lookahead_frames=1)).loss(
                SampleBatch(torch.zeros(1, 319), torch.ones(1, 319, dtype=torch.bool), torch.zeros(1).long())
            ),
            "319 samples; this vocoder needs 320",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()
    for layer in (MelCondition(1), Vocoder(SMALL.with_(lookahead_frames=1))):
        x = torch.zeros(2, 1, 320)
        with pytest.raises(ValueError, match="rows cannot be reset with a look-ahead of 1 frames"):
            layer.reset_rows(layer.step(x, layer.initial_state(x))[1], [1], x)
    assert made(SMALL.with_(lookahead_frames=3)).generate(torch.zeros(1, 80, 2)).shape == (1, 0)
    assert isinstance(Vocoder().wavenet, WaveNet)
    assert Vocoder().condition.field.then(Field.identity()) == MelCondition(0).field
