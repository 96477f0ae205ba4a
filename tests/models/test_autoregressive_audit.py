"""What a value depends on, in time and in frequency: proved for all three models, and the faults that it finds."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from causalcnn import audit
from causalcnn.causality import Verdict, measure_field, trace
from causalcnn.models.frame_generator import FrameGenerator, FrameGeneratorConfig
from causalcnn.models.melnet import FrequencyLayer, MelNet, MelNetConfig
from causalcnn.models.pixelcnn import PixelCNN, PixelCNNConfig
from causalcnn.models.within_frame import WithinFrame

MELS, FRAMES = 6, 6
PIXEL = PixelCNNConfig(
    channels=3,
    hidden=2,
    mels=MELS,
    first_time_kernel=(2, 3),
    first_frequency_kernel=2,
    time_dilations=((2, 1),),
    frequency_dilations=(1,),
)
MEL = MelNetConfig(channels=2, layers=1, central=2, mels=MELS)
FRAME = FrameGeneratorConfig(channels=2, hidden=2, embedding_size=1, kernel_size=2, blocks=1, mels=MELS)
MODELS = [(PixelCNN, PIXEL), (MelNet, MEL), (FrameGenerator, FRAME), (FrameGenerator, FRAME.with_(encoder="2d"))]
NAMES = ["pixelcnn", "melnet", "frame-generator 1d", "frame-generator 2d"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def small(kind, config):
    if getattr(config, "encoder", "") == "2d":
        config = config.with_(mels=16)  # it halves the frequencies three times
    return kind(config).double().eval()


def allowed(t, f, mels):
    """All that comes before in the order of prediction."""
    return frozenset((u, g) for u in range(t + 1) for g in range(mels if u < t else f))


@pytest.mark.parametrize(("kind", "config"), MODELS, ids=NAMES)
def test_a_value_reads_what_is_declared_and_nothing_that_comes_later(kind, config):
    model = small(kind, config)
    mels = model.config.mels
    x = torch.zeros(1, 1, FRAMES, mels, dtype=torch.float64)
    followed, measured = trace(model, x), measure_field(model, x)
    for t in range(FRAMES):
        for f in range(mels):
            declared = model.field.inputs_of((t, f), within=(range(FRAMES), range(mels)))
            assert declared <= allowed(t, f, mels)
            assert followed.inputs_of((t, f)) == declared, (t, f)  # for any weights, through the operations
            assert measured[t, f] == declared, (t, f)  # by the derivative, without gates that hide what they keep


def test_melnet_reads_all_that_comes_before():
    model = small(MelNet, MEL)
    for t, f in ((0, 0), (0, 3), (4, 0), (5, 5)):
        assert model.field.inputs_of((t, f), within=(range(FRAMES), range(MELS))) == allowed(t, f, MELS)


@pytest.mark.parametrize(("kind", "config"), MODELS, ids=NAMES)
def test_the_audit_certifies_both_axes(kind, config):
    model = small(kind, config)
    for network, example in (
        (model, (1, 1, FRAMES, model.config.mels)),
        (WithinFrame(model), (1, 1, model.config.mels)),
    ):
        report = audit(network, example, max_frames=48)
        assert report.verdict is Verdict.CAUSAL, report
        assert report.passed, report


# --------------------------------------------------------------------------------------------- planted faults
class ReadsItself(PixelCNN):
    """A mask that is off by one: the first layer of the frequency stack is not moved on, so a value reads itself."""

    def frequency_stack(self, x, condition):
        return super().frequency_stack(F.pad(x, (-1, 1)), condition)


class NotLate(PixelCNN):
    """The time stack reads the present frame, all frequencies: a leak that no frame tells."""

    def step(self, x, state):
        last, time_state = state
        condition, time_state = self.time_stack(x, time_state)
        return self.frequency_stack(x, condition), (last, time_state)


class BothWays(FrequencyLayer):
    """Up the present frame, and down it."""

    def __init__(self, channels):
        super().__init__(channels)
        self.rnn = nn.GRU(channels, channels, batch_first=True, bidirectional=True)
        self.mix = nn.Linear(2 * channels, channels)


class DownTheFrame(MelNet):
    """A bidirectional GRU over the present frame."""

    def __init__(self, config):
        super().__init__(config)
        self.frequency_layers = nn.ModuleList(BothWays(config.channels) for _ in range(config.layers))


class EarlyCentre(MelNet):
    """Its central GRU is one frame too early; the rest is in time."""

    def time_stack(self, earlier, state):
        ahead = torch.cat([earlier[:, :, 2:], torch.zeros_like(earlier[:, :, :2])], 2)[:, :, : earlier.shape[2]]
        y, _ = self.central(ahead[:, 0])
        conditions, state = super().time_stack(earlier, state)
        return [condition + self.mix_central(y)[:, :, None] for condition in conditions], state


class ContextOfNow(FrameGenerator):
    """Its context is of the frame that is being written, not of the last."""

    def frequency_stack(self, x, condition):
        rnn_state, _ = condition
        return super().frequency_stack(x, (rnn_state, x))


FAULTS = [
    (ReadsItself, PIXEL, True, 1),
    (NotLate, PIXEL, True, 3),
    (DownTheFrame, MEL, True, MELS - 2),
    (ContextOfNow, FRAME, True, 2),
    (EarlyCentre, MEL, False, None),
]


@pytest.mark.parametrize(
    ("kind", "config", "frames_in_order", "ahead"), FAULTS, ids=lambda v: getattr(v, "__name__", "")
)
def test_the_audit_finds_a_planted_fault(kind, config, frames_in_order, ahead):
    model = kind(config).double().eval()
    over_time = audit(model, (1, 1, FRAMES, MELS), max_frames=24)
    if not frames_in_order:
        assert over_time.verdict is Verdict.LOOKS_AHEAD
        assert over_time.lookahead == 1
        return
    assert over_time.verdict is Verdict.CAUSAL  # frames alone do not tell: hence the second audit
    within = audit(WithinFrame(model), (1, 1, MELS))
    assert within.verdict is Verdict.LOOKS_AHEAD
    assert max(within.frames.values()) == ahead


def test_within_frame_says_what_it_takes():
    within = WithinFrame(small(PixelCNN, PIXEL))
    with pytest.raises(ValueError, match=r"at most 6 values"):
        within(torch.zeros(1, 1, 7, dtype=torch.float64))
    assert within(torch.zeros(2, 1, 4, dtype=torch.float64)).shape == (2, 12, 4)
