"""Predictors of samples, each beside the plainest form of it: the cells, the weights, the price, the past alone."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, linalg

from causalcnn.models import MelCondition
from causalcnn.speech import LogMel, SampleCorpus, Utterance, fit_to_frames, mu_law_decode, mu_law_edges, mu_law_encode
from causalcnn.speech.linear_prediction import NOISE, SILENCE
from causalcnn_book.wavenet.linear_prediction import (
    ORDER,
    RECENT_SAMPLES,
    REFIT_SAMPLES,
    WINDOW_SAMPLES,
    CopySample,
    LinearPrediction,
    SampleHistogram,
    Uniform,
    log_logistic_mass,
)

MODELS = {
    "uniform": Uniform,
    "histogram": SampleHistogram,
    "copy": CopySample,
    "linear": LinearPrediction,
    "linear, mel 0": lambda: LinearPrediction(0),
    "linear, mel 2": lambda: LinearPrediction(2),
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def speech_like(samples, rows=1, seed=0):
    """Noise through a resonance, louder and quieter."""
    draw = np.random.default_rng(seed)
    x = np.zeros((rows, samples + 2))
    for t in range(2, samples + 2):
        x[:, t] = 1.7 * x[:, t - 1] - 0.9 * x[:, t - 2] + draw.normal(0, 0.02, rows)
    envelope = 0.55 + 0.45 * np.sin(np.arange(samples) / 500)
    return torch.from_numpy((x[:, 2:] * envelope).clip(-1, 1).astype(np.float32))


def corpus():
    return SampleCorpus.of([Utterance(speech_like(4_000, seed=seed)[0].numpy()) for seed in range(3)])


def fitted(name):
    model = MODELS[name]()
    model.fit(corpus(), steps=20, rows=2, samples=1_200)
    return model


# ------------------------------------------------------------------------------------------------------- cells
def test_the_mass_of_a_cell_is_the_integral_over_it():
    edges, prediction, scale = mu_law_edges(), 0.013, 0.004
    for cell in (0, 1, 100, 128, 140, 163, 254, 255):
        low, high = ((float(edge) - prediction) / scale for edge in edges[cell : cell + 2])
        mass = math.exp(log_logistic_mass(*torch.tensor([low, high], dtype=torch.float64)))
        found, _ = integrate.quad(lambda z: 0.25 / math.cosh(z / 2) ** 2, max(low, -200), min(high, 200), epsabs=1e-14)
        assert mass == pytest.approx(found, rel=1e-6, abs=1e-12), cell


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("prediction", [-3.0, 0.0, 0.2, 0.9999])
def test_the_masses_of_all_cells_sum_to_one(prediction, scale):
    low, high = ((mu_law_edges()[side : 256 + side] - prediction) / scale for side in (0, 1))
    logs = log_logistic_mass(low, high)
    assert not logs.isnan().any()
    assert float(logs.exp().sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in MODELS if "mel" not in name])
def test_the_probabilities_of_the_cells_of_a_sample_sum_to_one(name):
    model, past = fitted(name), speech_like(700)
    every = mu_law_decode(torch.arange(256))[:, None]
    with torch.no_grad():
        last = model.log_prob(torch.cat([past.expand(256, -1), every], dim=1))[:, -1]
    assert float(last.exp().sum()) == pytest.approx(1, abs=1e-5)


def test_the_probabilities_of_the_cells_given_a_mel_sum_to_one(monkeypatch):
    """The frame is of the true sound, whatever the cell is: it is given, not computed again from each of them."""
    model, sound = fitted("linear, mel 0"), speech_like(960)
    frames = LogMel()(sound.double())
    monkeypatch.setattr(model.condition.front_end, "forward", lambda x: frames.expand(len(x), -1, -1))
    every, t = sound.repeat(256, 1), 733
    every[:, t] = mu_law_decode(torch.arange(256))
    with torch.no_grad():
        assert float(model.log_prob(every)[:, t].exp().sum()) == pytest.approx(1, abs=1e-9)


# ------------------------------------------------------------------------------------------------- the past alone
@pytest.mark.parametrize("name", MODELS)
def test_no_sample_is_predicted_from_itself_or_from_later_ones(name):
    model, x = fitted(name), speech_like(1_600)
    lookahead = model.condition.lookahead_frames if getattr(model, "condition", None) else None
    with torch.no_grad():
        whole = model.log_prob(x)
        for t in (0, 1, 39, 40, 479, 800, 959, 1_000):
            other = x.clone()
            other[:, t:] = speech_like(1_600, seed=9)[:, t:]
            if lookahead is None:
                assert torch.equal(model.log_prob(other)[:, :t], whole[:, :t])
            else:  # the frames that end before t do not change, and belong to hops so much earlier
                settled = max(0, t // 160 - lookahead) * 160
                assert torch.equal(model.log_prob(other)[:, :settled], whole[:, :settled])


def test_a_prediction_knows_cells_only():
    """Samples that fall into the same cells are the same past."""
    x = speech_like(800)
    rounded = mu_law_decode(mu_law_encode(x))
    assert not torch.equal(x, rounded)
    model = LinearPrediction()
    assert torch.equal(model.predict(x)[0], model.predict(rounded)[0])


# --------------------------------------------------------------------------------------------- linear prediction
def test_backward_prediction_is_what_a_plain_loop_computes():
    x = speech_like(700)
    prediction, expected = LinearPrediction().predict(x)
    heard = mu_law_decode(mu_law_encode(x))[0].double().numpy()
    window = np.sin(np.pi * np.arange(WINDOW_SAMPLES) / (2 * WINDOW_SAMPLES - 1)) ** 2
    missed = np.zeros(700)
    for t in range(700):
        block = t // REFIT_SAMPLES * REFIT_SAMPLES
        past = np.array([heard[i] if i >= 0 else 0.0 for i in range(block - WINDOW_SAMPLES, block)]) * window
        r = np.array([np.dot(past[lag:], past[: WINDOW_SAMPLES - lag]) for lag in range(ORDER + 1)])
        r[0] = r[0] * (1 + NOISE) + SILENCE**2
        weights = linalg.solve_toeplitz(r[:-1], r[1:])
        before = np.array([heard[t - lag] if t >= lag else 0.0 for lag in range(1, ORDER + 1)])
        assert float(prediction[0, t]) == pytest.approx(weights @ before, abs=1e-9), t
        missed[t] = heard[t] - weights @ before
        error = max((r[0] - weights @ r[1:]) / (window @ window), SILENCE**2)
        recent = np.mean([missed[i] ** 2 if i >= 0 else 0.0 for i in range(t - RECENT_SAMPLES, t)])
        assert float(expected[0, t, 0]) == pytest.approx(math.log(error) / 2, abs=1e-6), t
        assert float(expected[0, t, 1]) == pytest.approx(math.log(max(recent, SILENCE**2)) / 2, abs=1e-6), t


def test_the_price_is_that_of_a_plain_mixture():
    model, x = fitted("linear"), speech_like(600)
    prediction, expected = model.predict(x)
    edges, bins = mu_law_edges().tolist(), mu_law_encode(x)[0].tolist()
    found = model.log_prob(x).detach()
    weights = model.weights.detach().softmax(0).tolist()
    for t in range(0, 600, 23):
        level = sum(p * float(e) for p, e in zip(model.powers.tolist(), expected[0, t], strict=True))
        mass = 0.0
        for weight, multiple in zip(weights, model.multiples.tolist(), strict=True):
            scale = math.exp(level + multiple)
            low, high = (
                0.5 + 0.5 * math.tanh((edges[bins[t] + s] - float(prediction[0, t])) / scale / 2) for s in (0, 1)
            )
            mass += weight * (high - low)
        if mass > 1e-9:  # the plain form loses its digits in the tails
            assert float(found[0, t]) == pytest.approx(math.log(mass), rel=1e-5), t


@pytest.mark.parametrize("frames", [0, 2])
def test_the_frame_beside_a_sample_is_that_of_the_vocoder(frames):
    model, x = LinearPrediction(frames), speech_like(1_600)
    mel = MelCondition(frames)(x[:, None].double())
    assert model.predict(x)[0].shape[1] == mel.shape[2]
    weights = fit_to_frames((mel[:, :, ::160] - 1) * 50).weights
    heard = mu_law_decode(mu_law_encode(x)).double()[0]
    for t in (0, 159, 160, 1_000):
        before = torch.tensor([heard[t - lag] if t >= lag else 0.0 for lag in range(1, 17)]).double()
        assert float(model.predict(x)[0][0, t]) == pytest.approx(float(weights[0, t // 160] @ before), abs=1e-6)


def test_silence_costs_nothing_and_breaks_nothing():
    for name in ("linear", "linear, mel 0"):
        model = fitted(name)
        with torch.no_grad():
            bits = -model.log_prob(torch.zeros(1, 3_200))[0, 640:] / math.log(2)
        assert bits.isfinite().all()
        assert float(bits.mean()) < 2


# ------------------------------------------------------------------------------------------------------- the others
def test_a_histogram_is_the_share_of_each_cell():
    model = fitted("histogram")
    bins = torch.cat([mu_law_encode(sound) for sound in corpus()])
    counts = [1 + int((bins == cell).sum()) for cell in range(256)]
    x = speech_like(50, seed=7)
    wanted = [math.log(counts[cell] / sum(counts)) for cell in mu_law_encode(x)[0].tolist()]
    torch.testing.assert_close(model.log_prob(x)[0], torch.tensor(wanted, dtype=torch.float64))


def test_a_copy_is_centered_on_the_last_sample():
    model, x = CopySample(), torch.tensor([[0.3, 0.3, 0.02]])
    every = torch.cat([x.expand(256, -1), mu_law_decode(torch.arange(256))[:, None]], 1)
    with torch.no_grad():
        cells = model.log_prob(every)[1:-1, -1]  # the outer ones reach to infinity
    assert 1 + int(cells.argmax()) == int(mu_law_encode(x)[0, -1])


def test_the_stronger_predictors_are_cheaper():
    x = speech_like(3_200, seed=5)
    models = {name: fitted(name) for name in ("uniform", "histogram", "copy", "linear")}
    bits = {name: -float(model.log_prob(x).detach().mean()) for name, model in models.items()}
    assert bits["uniform"] > bits["histogram"] > bits["linear"]
    assert bits["copy"] > bits["linear"]
