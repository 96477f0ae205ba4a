"""The two sides of the VQ-VAE-2 as layers: the codes of the model, in any pieces, behind a front end and before."""

import pytest
import torch

from causalcnn.models import CausalVQVAE2, CodeDecoder, CodeEncoder, VQVAE2Config
from causalcnn.nn import CausalSequential
from causalcnn.speech import Batch, LogMel

SIZES = [1, 7, 0, 3, 10]


@pytest.fixture(scope="module")
def model():
    """A model whose codebooks have met data."""
    torch.manual_seed(0)
    config = VQVAE2Config(channels=6, residual_channels=4, residual_blocks=1, code_dim=4, num_codes=16, mels=16)
    model = CausalVQVAE2(config)
    x = torch.randn(3, 16, 20) * 15 - 35
    model.loss(Batch(x, torch.ones(3, 20, dtype=torch.bool), torch.zeros(3, dtype=torch.int64)))
    return model.double().eval()


def frames():
    return torch.randn(2, 16, sum(SIZES), dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 15 - 35


@pytest.fixture
def sides(model):
    """Each side with an input and the output that the model gives."""
    x = frames()
    codes = model.encode(x.transpose(1, 2)[:, None])
    joined = torch.cat([codes.top, codes.bottom], dim=2).transpose(1, 2)
    decoded = model.decode(codes)[:, 0].transpose(1, 2).detach()
    return [(CodeEncoder(model), x, joined), (CodeDecoder(model), joined, decoded)]


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_side_gives_what_the_model_gives_whole_in_steps_and_as_a_stream(sides, engine):
    for side, x, wanted in sides:
        state, stream, steps, streamed = side.initial_state(x), side.stream(engine=engine), [], []
        for piece in x.split(SIZES, dim=2):
            y, state = side.step(piece, state)
            steps.append(y.detach())
            streamed.append(stream(piece))
        for y in (side(x).detach(), torch.cat(steps, dim=2), torch.cat(streamed, dim=2)):
            assert y.dtype == wanted.dtype
            torch.testing.assert_close(y, wanted)


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_stream_of_a_side_can_be_saved_resumed_and_reset(sides, engine):
    for side, x, wanted in sides:
        stream = side.stream(engine=engine)
        stream(x[:, :, :5])
        resumed = side.stream(stream.state, engine=engine)
        torch.testing.assert_close(resumed(x[:, :, 5:]), wanted[:, :, 5:])
        stream.reset_rows([1])
        torch.testing.assert_close(stream(x)[1], side(x)[1].detach())


def test_a_side_keeps_only_what_it_needs(sides, model):
    (encoder, x, _), (decoder, codes, _) = sides
    sender, receiver = encoder.initial_state(x).keys(), decoder.initial_state(codes).keys()
    assert sender - receiver == {"encoder_bottom", "encoder_top", "hint", "project_bottom"}
    assert receiver - sender == {"upsample_top", "decoder"}
    assert encoder.field.then(decoder.field) == model.field.axis("time")


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_sides_stand_in_a_chain(sides, model, engine):
    chain = CausalSequential(CodeEncoder(model), CodeDecoder(model))
    (_, x, _), (_, _, decoded) = sides
    torch.testing.assert_close(chain(x).detach(), decoded)
    stream = chain.stream(engine=engine)
    pieces = [stream(piece) for piece in x.split(SIZES, dim=2)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), decoded)


def test_codes_of_another_shape_are_refused(model):
    with pytest.raises(ValueError, match=r"this model takes codes \(batch, 6, time\)"):
        CodeDecoder(model)(torch.zeros(1, 5, 3, dtype=torch.int64))


def test_from_sound_to_codes_in_one_compiled_stream(model):
    whole = CausalSequential(LogMel(), CodeEncoder(CausalVQVAE2(VQVAE2Config.tiny()))).double().eval()
    x = torch.randn(2, 1, 4000, dtype=torch.float64) / 10
    stream = whole.stream(engine="compiled")
    pieces = [stream(piece) for piece in x.split([100, 0, 1700, 160, 2040], dim=2)]
    assert torch.equal(torch.cat(pieces, dim=2), whole(x))


def test_a_compiled_side_refuses_what_does_not_fit(model):
    encoder, x = CodeEncoder(model), torch.zeros(1, 15, 3, dtype=torch.float64)
    for state in (None, encoder.initial_state(frames()[:1])):
        with pytest.raises(ValueError, match="this model takes log-mel"):
            encoder.stream(state, engine="compiled")(x)
    decoder = CodeDecoder(model).stream(engine="compiled")
    with pytest.raises(ValueError, match="this model takes codes"):
        decoder(torch.zeros(1, 5, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="lie between 0 and 16; this codebook has 0 to 15"):
        decoder(torch.arange(6).view(1, 6, 1) // 5 * 16)
