"""From codes to sound, live: one stream, one declared latency from microphone to sample, and it is the measured one."""

from pathlib import Path

import pytest
import torch

from causalcnn import check_contract
from causalcnn.models import CodeDecoder, CodeEncoder, load_model
from causalcnn.nn import CausalSequential
from causalcnn.speech import LogMel, OnlineGriffinLim, synthesize

SHIPPED = Path(__file__).resolve().parents[2] / "book" / "checkpoints" / "vqvae2-tiny"
ITERATIONS = 2


@pytest.fixture(scope="module")
def model():
    """The model that ships, in double precision, where roundings stay small for longer."""
    return load_model(SHIPPED)[0].double().eval()


@pytest.fixture(scope="module")
def said():
    return torch.from_numpy(synthesize("Live.", speaker=9002).samples).double()[None, None, 4000:8000]


def speaking(model, lookahead):
    """What a receiver runs."""
    return CausalSequential(CodeDecoder(model), OnlineGriffinLim(lookahead, ITERATIONS)).eval()


def whole_chain(model, lookahead):
    """From microphone to sound, through the codes."""
    return CausalSequential(
        LogMel(), CodeEncoder(model), CodeDecoder(model), OnlineGriffinLim(lookahead, ITERATIONS)
    ).eval()


@pytest.fixture(scope="module")
def codes(model, said):
    return CausalSequential(LogMel(), CodeEncoder(model)).eval()(said)


@pytest.mark.parametrize("lookahead", [0, 1])
def test_from_microphone_through_codes_to_sound_keeps_the_contract(model, said, lookahead):
    x = torch.cat([said, said.flip(2)])[:, :, :1300]
    cuts = [[1300], [160] * 8 + [20], [100] * 13, [0, 700, 1, 0, 599]]
    chain = whole_chain(model, lookahead)
    report = check_contract(
        chain, x, chunkings=cuts, gradients=False, measure=False, lookahead=160 * lookahead + 159
    )  # codes have no gradient
    assert report.field.latency() == pytest.approx((160 * lookahead + 159) / 16_000)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_the_declared_latency_is_the_one_that_is_measured(model, said, lookahead):
    """A click so loud that it changes codes even where the window has nearly faded changes sounds so far back."""
    chain = whole_chain(model, lookahead)
    before, moved = chain(said), {}
    for t in (1600, 1700, 1758, 1759):
        other = said.clone()
        other[:, :, t] += 1e6
        changed = (chain(other) != before)[0, 0].nonzero()
        moved[t] = t - int(changed.min())
    assert moved == {t: 160 * lookahead + t % 160 for t in moved}
    assert max(moved.values()) == chain.field.lookahead


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_a_sample_leaves_a_stream_of_10_ms_pieces_as_late_as_declared(model, said, lookahead):
    """A sample that enters first in a piece waits longest: for the others, and for the look-ahead."""
    chain, given, waited = whole_chain(model, lookahead), 0, []
    stream = chain.stream()
    for heard, piece in enumerate(said.split(160, dim=2), 1):
        samples = stream(piece).shape[2]
        waited += [160 * heard - 1 - n for n in range(given, given + samples)]  # samples since this one was recorded
        given += samples
    assert max(waited) == chain.field.lookahead == 160 * lookahead + 159
    assert min(waited) == 160 * lookahead


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_a_stream_of_codes_gives_the_sound_of_the_whole_in_any_pieces(model, codes, lookahead):
    speak = speaking(model, lookahead)
    assert speak.field.lookahead == lookahead
    for sizes in ([1] * 25, [7, 0, 1, 3, 0, 14]):
        stream, state, streamed, steps = speak.stream(), speak.initial_state(codes), [], []
        for piece in codes.split(sizes, dim=2):
            streamed.append(stream(piece))
            y, state = speak.step(piece, state)
            steps.append(y)
        whole = speak(codes)
        assert whole.shape == (1, 1, 160 * (25 - lookahead))
        for y in (torch.cat(streamed, dim=2), torch.cat(steps, dim=2)):
            torch.testing.assert_close(y, whole, rtol=0, atol=1e-6 * whole.abs().max().item())


def test_longer_sounds_are_those_of_the_frames_that_the_stream_gives(model, codes):
    """Roundings of the frames grow into other phases, so that only equal frames give equal samples."""
    longer, decode = codes.repeat(1, 1, 4), CodeDecoder(model).stream()
    stream = speaking(model, 1).stream()
    live = torch.cat([stream(frame) for frame in longer.split(1, dim=2)], dim=2)
    frames = torch.cat([decode(frame) for frame in longer.split(1, dim=2)], dim=2)
    assert torch.equal(live, OnlineGriffinLim(1, ITERATIONS)(frames))


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_a_row_that_is_reset_speaks_as_one_that_begins_once_it_has_seen_ahead(model, codes, lookahead):
    speak, both = speaking(model, lookahead), torch.cat([codes, codes.flip(2)])
    stream, kept, fresh = speak.stream(), speak.stream(), speak.stream()
    for each in (stream, kept):
        each(both[:, :, :8])
    stream.reset_rows([1])
    y, others, new = stream(both[:, :, 8:]), kept(both[:, :, 8:]), fresh(both[:, :, 8:])
    assert torch.equal(y[0], others[0])
    assert not y[1, :, : 160 * lookahead].any()
    assert torch.equal(y[1, :, 160 * lookahead :], new[1])


def test_a_compiled_decoder_can_stand_before_the_sound(model, codes):
    decode, speak = CodeDecoder(model).stream(engine="compiled"), OnlineGriffinLim(1, ITERATIONS).stream()
    live = torch.cat([speak(decode(frame)) for frame in codes.split(1, dim=2)], dim=2)
    torch.testing.assert_close(live, speaking(model, 1)(codes), rtol=0, atol=1e-6)
