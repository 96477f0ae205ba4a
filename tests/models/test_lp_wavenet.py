"""LP-WaveNet: the contract, what it reads, its price, and that it speaks as it was trained to read."""

import math

import pytest
import torch

from causalcnn import check_contract
from causalcnn.causality import ContractError
from causalcnn.models import LPWaveNet, LPWaveNetConfig, load_model, save_model
from causalcnn.models.excitation import LONGEST_PERIOD, SHORTEST_PERIOD, HopFit
from causalcnn.speech import LogMel, SampleBatch, linear_prediction, mu_law_encode, synthesize
from tests.models.shared import lively

SMALL = LPWaveNetConfig(order=3, frame_channels=6, kernel_size=2, layers=2, residual_channels=8, gate_channels=6,
                        skip_channels=12, head_channels=12)  # fmt: skip
CUTS = [[960], [0, 159, 1, 160, 640], [480, 480]]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def made(config=SMALL):
    return lively(LPWaveNet(config)).double().eval()


def measurable(model):
    """Its window without the zero with which a Hann window begins, which would hide the first sample."""
    model.condition.front_end = LogMel(window="ones")
    return model.double()


def noise(samples, rows=2):
    return (torch.rand(rows, 1, samples, dtype=torch.float64) * 2 - 1) * 0.5


def speech():
    return synthesize("Hello there.").tensor().double()[:, 4_000:6_400]


def test_periods_are_those_of_the_fit():
    assert (SHORTEST_PERIOD, LONGEST_PERIOD) == (linear_prediction.SHORTEST_PERIOD, linear_prediction.LONGEST_PERIOD)


# ---------------------------------------------------------------------------------------------- what it reads
@pytest.mark.parametrize("frames", [0, 1])
def test_it_keeps_the_contract_and_its_field_is_what_is_measured(frames):
    model = measurable(made(SMALL.with_(lookahead_frames=frames)))
    report = check_contract(model, noise(960), chunkings=CUTS, lookahead=159 + 160 * frames)
    assert report.field.lookahead == 159 + 160 * frames
    assert "the declared field equals the measured one (960 outputs, as sets)" in report.checks or frames


class LatePeriod(LPWaveNet):
    """After a break it reads the excitation of a period ago from one sample later than it says."""

    def _past(self, heard, fit, state):
        later = torch.cat([state["excitation"][:, 1:], state["excitation"][:, :1]], dim=1)
        return super()._past(heard, fit, {**state, "excitation": later})


def test_a_planted_fault_is_found():
    model = measurable(lively(LatePeriod(SMALL.with_(lookahead_frames=0))))
    with pytest.raises(ContractError, match="differ"):
        check_contract(model, noise(960), chunkings=CUTS, gradients=False, lookahead=159)


def test_where_the_frames_are_given_a_sample_says_nothing_of_itself():
    """The frame of its own hop holds a sample, so the field holds it, too; what is read as the past does not."""
    model, x = made(), noise(960, rows=1)[:, 0]
    frames = LogMel()(x)[:, :, 1:]
    begin = model.initial_state(x.unsqueeze(1))
    for t in (0, 159, 160, 500):
        other = x[:, :800].clone()
        other[:, t:] *= -0.5
        before, after = (model.predict(heard, frames, begin)[0][0] for heard in (x[:, :800], other))
        same = (before == after).all(0)
        assert same[: t + 1].all()
        assert not same[t + 1]


# ------------------------------------------------------------------------------------------- what it computes
def test_a_prediction_is_the_weighted_sum_of_the_past_and_the_taps_are_early_excitations():
    model, x = made(SMALL.with_(order=16)), speech()
    frames = LogMel()(x)[:, :, 1:]
    fit, hops = HopFit.of(frames, 16), frames.shape[2]
    heard = x[:, : 160 * hops]
    past, prediction, _ = model._past(heard, fit, model.initial_state(x.unsqueeze(1)))
    of = lambda sound, t: float(sound[t]) if t >= 0 else 0.0  # noqa: E731
    error = heard[0] - prediction[0]
    for t in (0, 1, 159, 160, 700, 1_237):
        hop = t // 160
        weights, taps = fit.weights[0, hop], fit.taps[0, hop]
        assert float(prediction[0, t]) == pytest.approx(
            sum(float(weights[k]) * of(heard[0], t - 1 - k) for k in range(16))
        )
        periodic = sum(float(taps[i]) * of(error, t + 4 - (32 + i)) for i in range(289))
        level, scale = float(fit.level[0, hop]), float(fit.error[0, hop])
        wanted = [
            of(heard[0], t - 1) / level,
            float(prediction[0, t]) / level,
            of(error, t - 1) / scale,
            periodic / scale,
        ]
        assert past[0, :, t].tolist() == pytest.approx([min(max(w, -8), 8) for w in wanted])


def test_its_price_is_the_mass_of_the_cell():
    model, x = made(), speech()
    mean, scale = model(x.unsqueeze(1)).detach()[0]
    found, bins = model.log_prob(x)[0].detach(), mu_law_encode(x)[0]
    whole = torch.arange(-(2**15) + 1, 2**15)  # the 16-bit samples, the outermost of which reach to infinity
    cell = mu_law_encode(whole.double() / 2**15)
    for t in range(0, len(found), 97):
        cdf = torch.distributions.Normal(mean[t], scale[t]).cdf((whole.double() - 0.5) / 2**15)
        cdf = torch.cat([cdf.new_zeros(1), cdf[1:], cdf.new_ones(1)])
        masses = torch.zeros(256, dtype=torch.float64).index_add(0, cell, cdf.diff())
        assert float(masses.sum()) == pytest.approx(1)
        if masses[bins[t]] > 1e-9:  # the plain form loses its digits in the tails
            assert float(found[t].exp()) == pytest.approx(float(masses[bins[t]]), rel=1e-4)


def test_the_loss_is_the_price_of_16_bit_cells():
    model = made(SMALL).float()
    samples = speech().float().repeat(2, 1)
    mask = torch.arange(samples.shape[1]) < torch.tensor([[2_400], [1_000]])
    batch = SampleBatch(samples * mask, mask, torch.zeros(2, dtype=torch.int64))
    loss, metrics = model.loss(batch)
    gaussians = model((samples * mask).unsqueeze(1)).double()
    x = (samples * mask)[:, : gaussians.shape[2]].double()
    normal = torch.distributions.Normal(gaussians[:, 0], gaussians[:, 1])
    bits = -(normal.cdf(x + 2**-16) - normal.cdf(x - 2**-16)).clamp(min=1e-30).log2()
    own = bits[mask[:, : x.shape[1]]]
    kept = own < 60  # the plain form loses its digits in the tails
    assert kept.double().mean() > 0.9
    assert float(loss.detach()) == pytest.approx(float(metrics["bits"]))
    assert loss.requires_grad
    assert float(loss.detach()) >= float(own[kept].detach().sum() / len(own)) - 0.05


def test_noise_is_read_in_training_only():
    model = made(SMALL.with_(feedback_noise=0.5)).float()
    batch = SampleBatch(speech().float(), torch.ones(1, 2_400, dtype=torch.bool), torch.zeros(1, dtype=torch.int64))
    quiet = [float(model.loss(batch)[0]) for _ in range(2)]
    noisy = [float(model.train().loss(batch)[0]) for _ in range(2)]
    assert quiet[0] == quiet[1]
    assert noisy[0] != noisy[1]
    silent = made(SMALL.with_(feedback_noise=0.0)).float().train()
    assert float(silent.loss(batch)[0]) == float(silent.loss(batch)[0])


# ------------------------------------------------------------------------------------------------- it speaks
@pytest.mark.parametrize("frames", [0, 1, 2])
def test_what_it_draws_without_noise_is_the_mean_that_the_layer_gives(frames):
    """Teacher forcing on its own sound: the layer that reads true samples and the sampler are the same network."""
    model = made(SMALL.with_(lookahead_frames=frames))
    mel = LogMel()(speech())
    drawn = model.generate(mel, temperature=0.0)
    assert drawn.shape == (1, 160 * (mel.shape[2] - frames))
    gaussians, _ = model.predict(drawn, mel[:, :, frames:], model.initial_state(drawn.unsqueeze(1)))
    torch.testing.assert_close(drawn, gaussians[:, 0].clamp(-1, 1), rtol=1e-9, atol=1e-12)


def test_its_noise_is_that_of_the_generator():
    model, mel = made(), LogMel()(speech())
    drawn = model.generate(mel, seed=3, temperature=0.7)
    gaussians, _ = model.predict(drawn, mel[:, :, 1:], model.initial_state(drawn.unsqueeze(1)))
    generator = torch.Generator().manual_seed(3)
    normal = torch.stack(
        [torch.randn(160, 1, generator=generator, dtype=torch.float64) for _ in range(mel.shape[2] - 1)]
    )
    wanted = gaussians[:, 0] + 0.7 * normal.flatten() * gaussians[:, 1]
    torch.testing.assert_close(drawn, wanted.clamp(-1, 1), rtol=1e-9, atol=1e-12)


def test_frame_by_frame_it_says_the_same():
    model, mel = made(), LogMel()(torch.cat([speech(), noise(2_400, rows=1)[:, 0]]))
    whole = model.generate(mel, seed=1)
    sampler, generator = model.sampler(2), torch.Generator().manual_seed(1)
    pieces = [sampler.draw(piece, generator) for piece in mel.split([1, 0, 4, 1, mel.shape[2] - 6], dim=2)]
    assert [piece.shape[1] for piece in pieces[:4]] == [0, 0, 640, 160]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-9, atol=1e-12)


def test_compiled_it_says_the_same():
    pytest.importorskip("numba")
    model, mel = made(), LogMel()(torch.cat([speech(), noise(2_400, rows=1)[:, 0]]))
    wanted, found = (model.generate(mel, seed=1, engine=engine) for engine in ("torch", "compiled"))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------------------------------- several draws at once
def searched(model, mel, candidates, patience, engine="torch", pieces=None):
    search, generator = model.search(candidates, patience, engine=engine), torch.Generator().manual_seed(1)
    given = [search.draw(piece, generator) for piece in mel.split(pieces or mel.shape[2], dim=2)]
    return torch.cat(given, dim=1), [piece.shape[1] for piece in given]


def miss(sound, mel):
    """How far the frames of a sound are from those wanted, as the search measures it."""
    loudness = [10 ** (each / 40) for each in (LogMel()(sound), mel[:, :, : sound.shape[1] // 160])]
    return ((loudness[0] - loudness[1]).square().sum(1) / loudness[1].square().sum(1)).sum()


@pytest.mark.parametrize("patience", [0, 1, 2])
def test_of_several_draws_that_which_fits_is_given(patience):
    model, mel = made(), LogMel()(speech())
    one, _ = searched(model, mel, 1, patience)
    alone = model.generate(mel, seed=1)
    assert one.shape == (1, 160 * (mel.shape[2] - 1 - patience))
    torch.testing.assert_close(one, alone[:, : one.shape[1]], rtol=1e-9, atol=1e-12)
    many, _ = searched(model, mel, 8, patience)
    assert miss(many, mel) < miss(one, mel)


def test_what_is_given_is_one_sound_that_the_model_could_draw():
    """No hop of one draw follows a hop of another: with the noise taken away, every sample is a mean."""
    model, mel = made(), LogMel()(speech())
    generator = torch.Generator().manual_seed(0)
    search = model.search(6, 2)
    found = search.draw(mel, generator)
    gaussians, _ = model.predict(
        found, mel[:, :, 1 : 1 + found.shape[1] // 160], model.initial_state(found.unsqueeze(1))
    )
    z = (found - gaussians[:, 0]) / gaussians[:, 1]
    generator = torch.Generator().manual_seed(0)
    for hop in z.unflatten(1, (-1, 160))[0]:
        drawn = torch.randn(160, 6, generator=generator, dtype=torch.float64).T
        assert (drawn - hop).abs().amax(1).min() < 1e-6, "the noise of one of the six"


def test_pieces_and_engines_make_no_difference():
    model, mel = made(), LogMel()(speech())
    whole, _ = searched(model, mel, 4, 1)
    live, lengths = searched(model, mel, 4, 1, pieces=1)
    assert lengths[:4] == [0, 0, 160, 160]
    torch.testing.assert_close(live, whole, rtol=1e-9, atol=1e-12)
    pytest.importorskip("numba")
    torch.testing.assert_close(searched(model, mel, 4, 1, "compiled")[0], whole, rtol=1e-6, atol=1e-8)


# ------------------------------------------------------------------------------------- on disk, what cannot be
def test_it_is_kept_with_its_card(tmp_path):
    model = LPWaveNet(SMALL)
    save_model(tmp_path / "vocoder", model)
    again, card = load_model(tmp_path / "vocoder")
    assert again.config == model.config
    assert card["model"] == "lp-wavenet"


def test_what_cannot_be_is_said():
    short = SampleBatch(torch.zeros(1, 319), torch.ones(1, 319, dtype=torch.bool), torch.zeros(1).long())
    for wrong, words in (
        (lambda: SMALL.with_(order=321), "order is 321; it is at most 320"),
        (lambda: SMALL.with_(order=1), "order is 1"),
        (lambda: SMALL.with_(lookahead_frames=-1), "lookahead_frames is -1"),
        (lambda: SMALL.with_(feedback_noise=-0.1), "feedback_noise is -0.1"),
        (lambda: SMALL.with_(feedback_noise=math.nan), "feedback_noise is nan"),
        (lambda: made().generate(torch.zeros(1, 40, 5)), r"\(1, 40, 5\); they must be \(1, 80, frames\)"),
        (lambda: made().generate(torch.zeros(1, 80, 5), temperature=-1.0), "temperature is -1.0"),
        (lambda: made().log_prob(torch.full((1, 320), 1.5).double()), "1.5"),
        (lambda: made().search(0), "candidates is 0"),
        (lambda: made().search(2, -1), "patience is -1"),
        (lambda: made().search(2).draw(torch.zeros(2, 80, 5), torch.Generator()), r"\(2, 80, 5\); they must be"),
        (lambda: made().float().loss(short), "319 samples; this vocoder needs 320"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()
    with pytest.raises(RuntimeError, match="training mode"):
        made().train().sampler()
    model, x = made(), torch.zeros(2, 1, 320).double()
    with pytest.raises(ValueError, match="rows cannot be reset with a look-ahead of 1 frames"):
        model.reset_rows(model.step(x, model.initial_state(x))[1], [1], x)
    assert made().generate(torch.zeros(1, 80, 1).double()).shape == (1, 0)
