"""Output distributions: each a proper one on the grid of 256 bins, and every method says the same of it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn.models.distributions import (
    NUM_BINS,
    Categorical,
    Gaussian,
    OutputDistribution,
    bits_per_dimension,
    get_distribution,
)
from causalcnn.models.distributions.mixtures import MIN_SCALE
from causalcnn.models.distributions.normal import log_normal_mass
from tests.fuzz import examples

torch.set_num_threads(1)

NAMES = [
    "categorical-8",
    "categorical-4",
    "categorical-1",
    "logistic-mixture-4",
    "logistic-mixture-1",
    "gaussian-mixture-4",
    "gaussian",
]
MIXTURES = ["logistic-mixture-4", "gaussian-mixture-4"]
EVERY = torch.arange(NUM_BINS)


def random_parameters(distribution: OutputDistribution, count: int, size: float = 3.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, distribution.size, generator=torch.Generator().manual_seed(seed)) * size


def grid_of_uniforms(count: int) -> torch.Tensor:
    """The centres of ``count`` equal parts of (0, 1), in float64."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


# ------------------------------------------------------------------ proper distributions
@pytest.mark.parametrize("name", NAMES)
@given(size=st.sampled_from([0.0, 0.1, 1.0, 10.0, 1e3, 1e4]), seed=st.integers(0, 2**20))
@settings(derandomize=True, max_examples=examples(25), deadline=None)
def test_the_256_probabilities_sum_to_one(name: str, size: float, seed: int) -> None:
    distribution = get_distribution(name)
    parameters = random_parameters(distribution, 20, size, seed)
    total = distribution.probabilities(parameters).sum(-1)
    assert torch.isfinite(total).all()
    assert (total - 1).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["logistic-mixture-1", "gaussian-mixture-1", "gaussian"])
@pytest.mark.parametrize("mean", [-1e4, -1.5, -1.0, -0.3, 0.0, 0.00390625, 0.7, 1.0, 40.0])
def test_they_sum_to_one_at_scales_from_a_twentieth_of_a_level_to_a_million(name: str, mean: float) -> None:
    distribution = get_distribution(name)
    for raw in (-1e4, -30.0, -8.0, -4.0, -2.5, -1.0, 0.0, 3.0, 100.0, 1e4):
        parameters = torch.tensor([mean]) if name == "gaussian" else torch.tensor([0.0, mean, raw])
        if name == "gaussian":
            distribution.spread.data.fill_(raw / 10)
        assert distribution.probabilities(parameters).sum().item() == pytest.approx(1, abs=2e-5), (mean, raw)


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_is_the_logarithm_of_the_probabilities(name: str) -> None:
    distribution = get_distribution(name)
    parameters = random_parameters(distribution, 6)
    log_prob = distribution.log_prob(parameters[:, None].expand(-1, NUM_BINS, -1), EVERY.expand(6, -1))
    assert torch.allclose(log_prob.exp(), distribution.probabilities(parameters), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_may_keep_its_channels_where_they_lie(name: str) -> None:
    distribution = get_distribution(name)
    channels = torch.randn(2, distribution.size, 3, 5, generator=torch.Generator().manual_seed(0))
    bins = torch.randint(0, NUM_BINS, (2, 3, 5), generator=torch.Generator().manual_seed(1))
    here = distribution.log_prob(channels.movedim(1, -1), bins)
    assert here.shape == bins.shape
    assert torch.allclose(here, distribution.log_prob(channels.movedim(1, -1).contiguous(), bins), rtol=1e-6)
    assert torch.allclose(here[1, 2, 4], distribution.log_prob(channels[1, :, 2, 4], bins[1, 2, 4]), rtol=1e-5)


# ------------------------------------------------------------------ finite at the extremes
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
def test_every_bin_has_a_finite_price_and_finite_gradients(name: str, size: float) -> None:
    distribution = get_distribution(name)
    signs = torch.randint(0, 2, (64, 1, distribution.size), generator=torch.Generator().manual_seed(2)) * 2.0 - 1
    parameters = (size * signs).expand(-1, NUM_BINS, -1).clone().requires_grad_()
    log_prob = distribution.log_prob(parameters, EVERY.expand(64, -1))
    gradient = torch.autograd.grad(log_prob.sum(), parameters)[0]
    assert torch.isfinite(log_prob).all()
    assert (log_prob <= 1e-6).all()
    assert torch.isfinite(gradient).all()


def test_a_far_bin_draws_the_mean_towards_it() -> None:
    for name in ("logistic-mixture-1", "gaussian-mixture-1"):
        parameters = torch.tensor([0.0, -40.0, -1e4], requires_grad=True)
        get_distribution(name).log_prob(parameters, torch.tensor(200)).backward()
        assert parameters.grad[1] > 100, name


@pytest.mark.parametrize("name", NAMES)
def test_parameters_in_bf16_are_read_as_the_same_numbers_in_float32(name: str) -> None:
    distribution = get_distribution(name)
    rounded = random_parameters(distribution, 50).bfloat16()
    bins = torch.randint(0, NUM_BINS, (50,), generator=torch.Generator().manual_seed(0))
    assert distribution.log_prob(rounded, bins).dtype == torch.float32
    assert torch.equal(distribution.log_prob(rounded, bins), distribution.log_prob(rounded.float(), bins))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(distribution.log_prob(rounded, bins), distribution.log_prob(rounded.float(), bins))


# ------------------------------------------------------------------ against the textbook, in float64
def test_the_normal_mass_keeps_its_digits_where_the_difference_of_cdfs_does_not() -> None:
    from scipy import special

    middle = torch.cat([-torch.logspace(-6, 2, 60), torch.zeros(1), torch.logspace(-6, 2, 60)]).double()
    width = torch.logspace(-6, 2, 80).double()
    m, w = (part.flatten() for part in torch.meshgrid(middle, width, indexing="ij"))
    m, w = m.float(), w.float()
    got = log_normal_mass(m, w, torch.tensor(False), torch.tensor(False)).double().numpy()
    # Quadrature in the log domain: 2,000 midpoints of the interval.
    fine = (np.arange(2000) + 0.5) / 2000 - 0.5
    points = m.double().numpy()[:, None] + w.double().numpy()[:, None] * fine
    log_density = -0.5 * points**2 - 0.5 * math.log(2 * math.pi)
    quadrature = special.logsumexp(log_density, axis=1) + np.log(w.double().numpy() / 2000)
    trusted = (w < 1).numpy()
    error = np.abs(got - quadrature) / np.maximum(1, np.abs(quadrature))
    assert error[trusted].max() < 5e-6
    middles, widths = m.double().abs().numpy(), w.double().numpy()
    wide = (widths >= 0.3) & (middles - widths / 2 < 30)
    middles, widths = middles[wide], widths[wide]
    direct = np.log(special.ndtr(widths / 2 - middles) - special.ndtr(-widths / 2 - middles))
    assert (np.abs(got[wide] - direct) / np.maximum(1, np.abs(direct))).max() < 5e-6


def test_gradients_of_the_normal_mass_are_those_of_finite_differences() -> None:
    from scipy import special

    def exact(m: np.ndarray, w: np.ndarray) -> np.ndarray:
        m = np.abs(m)
        return np.log(special.ndtr(-(m - w / 2)) - special.ndtr(-(m + w / 2)))

    m, w = (
        part.flatten() for part in torch.meshgrid(torch.linspace(-6, 6, 49), torch.logspace(-2, 1.3, 30), indexing="ij")
    )
    m, w = m.requires_grad_(), w.requires_grad_()
    closed = torch.tensor(False)
    by_m, by_w = torch.autograd.grad(log_normal_mass(m, w, closed, closed).sum(), (m, w))
    m64, w64, step = m.detach().double().numpy(), w.detach().double().numpy(), 1e-5
    slope_m = (exact(m64 + step, w64) - exact(m64 - step, w64)) / (2 * step)
    slope_w = (exact(m64, w64 + step) - exact(m64, w64 - step)) / (2 * step)
    # exact() mirrors, so its slope at 0 is 0, as it should be.
    assert (np.abs(by_m.numpy() - slope_m) / np.maximum(1, np.abs(slope_m))).max() < 3e-5
    assert (np.abs(by_w.numpy() - slope_w) / np.maximum(1, np.abs(slope_w))).max() < 3e-5


def test_a_single_logistic_is_the_difference_of_two_sigmoids() -> None:
    distribution = get_distribution("logistic-mixture-1")
    mean, raw = 0.1, -2.0
    scale = math.log1p(math.exp(raw)) + MIN_SCALE
    edges = np.concatenate([[-np.inf], np.arange(1, NUM_BINS) / 128 - 1, [np.inf]])
    expected = np.diff(1 / (1 + np.exp(-(edges - mean) / scale)))
    got = distribution.probabilities(torch.tensor([0.0, mean, raw]))
    assert np.allclose(got.numpy(), expected, rtol=2e-5, atol=1e-9)


def test_a_single_gaussian_orders_means_as_the_squared_error_does() -> None:
    distribution = Gaussian()
    bins = torch.tensor([120, 124, 131])
    means = torch.linspace(-0.3, 0.3, 601)
    likelihood = distribution.log_prob(means[:, None, None].expand(-1, 3, 1), bins.expand(601, -1)).sum(1)
    squared = (means[:, None] - distribution.to_input(bins)).square().sum(1)
    assert abs(int(likelihood.argmax()) - int(squared.argmin())) <= 1
    assert torch.equal(likelihood.argsort(descending=True)[-100:], squared.argsort()[-100:])


# ------------------------------------------------------------------ samples
@pytest.mark.parametrize("name", ["categorical-8", "gaussian"])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_a_grid_of_uniforms_gives_each_level_its_share(name: str, temperature: float) -> None:
    distribution, count = get_distribution(name), 20_000
    parameters = random_parameters(distribution, 1, 1.0)
    drawn = distribution.sample(parameters.expand(count, -1), grid_of_uniforms(count)[:, None], temperature)
    share = torch.bincount(drawn, minlength=NUM_BINS) / count
    assert (share - distribution.probabilities(parameters[0], temperature)).abs().max() < 1.5 / count + 1e-6


@pytest.mark.parametrize("name", ["categorical-4", "logistic-mixture-4", "gaussian-mixture-4"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_a_grid_of_two_uniforms_gives_each_level_its_share(name: str, temperature: float) -> None:
    distribution, side = get_distribution(name), 512
    parameters = random_parameters(distribution, 1, 1.0)
    uniform = torch.cartesian_prod(grid_of_uniforms(side), grid_of_uniforms(side))
    drawn = distribution.sample(parameters.expand(side**2, -1), uniform, temperature)
    share = torch.bincount(drawn, minlength=NUM_BINS) / side**2
    # Each component's share, and each bin's within it, is off by at most one line of the grid.
    assert (share - distribution.probabilities(parameters[0], temperature)).abs().max() < 8 / side
    assert (share.cumsum(0) - distribution.probabilities(parameters[0], temperature).cumsum(0)).abs().max() < 8 / side


@pytest.mark.parametrize("name", NAMES)
def test_random_samples_pass_the_chi_square_test(name: str) -> None:
    from scipy import stats

    distribution, count = get_distribution(name), 50_000
    parameters = random_parameters(distribution, 1, 1.0, seed=4)
    uniform = torch.rand(count, distribution.num_uniforms, generator=torch.Generator().manual_seed(0))
    drawn = distribution.sample(parameters.expand(count, -1), uniform)
    expected = distribution.probabilities(parameters[0]).detach().double().numpy() * count
    observed = torch.bincount(drawn, minlength=NUM_BINS).numpy()
    rare = expected < 10
    expected = np.append(expected[~rare], expected[rare].sum())
    observed = np.append(observed[~rare], observed[rare].sum())
    if expected[-1] < 10:
        expected, observed = expected[:-1], observed[:-1]
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_samples_stay_on_the_grid_whatever_is_drawn(name: str) -> None:
    distribution = get_distribution(name)
    for size in (1.0, 1e4):
        parameters = random_parameters(distribution, 30, size)
        for value in (1e-30, 1 - 2**-24):
            drawn = distribution.sample(parameters, torch.full((30, distribution.num_uniforms), value))
            assert drawn.dtype == torch.int64
            assert drawn.min() >= 0
            assert drawn.max() < NUM_BINS


@pytest.mark.parametrize("name", MIXTURES)
def test_the_sampling_formula_is_four_lines(name: str) -> None:
    """What a sampler in another language has to do, one number at a time."""
    distribution = get_distribution(name)
    parameters = random_parameters(distribution, 200, 1.0)
    uniform = torch.rand(200, 2, generator=torch.Generator().manual_seed(1))
    for temperature in (0.6, 1.0):
        log_weight, mean, scale = (part.tolist() for part in distribution.components(parameters, temperature))
        standard = distribution.icdf(uniform[:, 1]).tolist()
        obvious = []
        for i in range(200):
            k, total = 0, math.exp(log_weight[i][0])
            while k < 3 and total <= uniform[i, 0]:
                k, total = k + 1, total + math.exp(log_weight[i][k + 1])
            value = mean[i][k] + scale[i][k] * standard[i]
            obvious.append(min(max(math.floor((value + 1) * 128), 0), 255))
        assert distribution.sample(parameters, uniform, temperature).tolist() == obvious


def test_a_cold_sample_is_the_mode_or_the_mean_of_the_heaviest() -> None:
    uniform = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    distribution = get_distribution("categorical-8")
    parameters = random_parameters(distribution, 1)
    assert (distribution.sample(parameters.expand(50, -1), uniform[:, :1], 1e-3) == parameters.argmax()).all()
    for name in MIXTURES:
        drawn = get_distribution(name).sample(
            torch.tensor([0.0, 1.0, 0.5, 0.0, -0.8, 0.3, 0.0, 0.8, -3.0, -3.0, -3.0, -3.0]).expand(50, -1),
            uniform,
            1e-6,
        )
        assert (drawn == math.floor(1.3 * 128)).all(), name


@pytest.mark.parametrize("name", ["categorical-8", "categorical-4"])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_raises_probabilities_to_a_power(name: str, temperature: float) -> None:
    distribution = get_distribution(name)
    parameters = random_parameters(distribution, 5, 1.0)
    powered = distribution.probabilities(parameters) ** (1 / temperature)
    powered /= powered.sum(-1, keepdim=True)
    assert torch.allclose(distribution.probabilities(parameters, temperature), powered, rtol=1e-3, atol=1e-7)


# ------------------------------------------------------------------ means, what is seen, the start
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0.3, 3.0, 1e4])
def test_the_mean_is_the_sum_of_levels_times_probabilities(name: str, size: float) -> None:
    distribution = get_distribution(name)
    parameters = random_parameters(distribution, 40, size)
    assert torch.allclose(
        distribution.mean(parameters), distribution.probabilities(parameters) @ EVERY.float(), atol=2e-3
    )


def test_a_network_sees_the_centre_of_the_bin_and_of_the_coarse_bin() -> None:
    fine, coarse = get_distribution("logistic-mixture-4").to_input(EVERY), Categorical(4).to_input(EVERY)
    assert fine[0] == -1 + 1 / 256
    assert fine[-1] == 1 - 1 / 256
    assert torch.equal(fine, -fine.flip(0))
    assert coarse.unique().numel() == 16
    assert torch.allclose(coarse, fine.view(16, 16).mean(1).repeat_interleave(16))


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_coarse_bin_spreads_its_probability_evenly(bits: int) -> None:
    distribution, shift = Categorical(bits), 8 - bits
    parameters = random_parameters(distribution, 3)
    coarse = torch.log_softmax(parameters, -1).gather(1, torch.tensor([[0], [2**bits - 1], [2**bits // 2]]))[:, 0]
    bins = torch.tensor([0, 255, (2**bits // 2) << shift])
    assert torch.allclose(distribution.log_prob(parameters, bins), coarse - shift * math.log(2), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_training_starts_broad_and_symmetric(name: str) -> None:
    distribution = get_distribution(name)
    probabilities = distribution.probabilities(distribution.initial_bias())
    assert torch.allclose(probabilities, probabilities.flip(0), atol=1e-6)
    bits = -probabilities.log2().mean().item()
    assert bits == pytest.approx(8, abs=0 if "categorical" in name else 0.5)


def test_the_single_spread_is_learned() -> None:
    distribution = Gaussian()
    parameters = torch.zeros(4000, 1)
    bins = (128 + 12 * torch.randn(4000, generator=torch.Generator().manual_seed(0))).round().clamp(0, 255).long()
    optimiser = torch.optim.Adam(distribution.parameters(), lr=1e-3)
    for _ in range(400):
        optimiser.zero_grad()
        (-distribution.log_prob(parameters, bins).mean()).backward()
        optimiser.step()
    assert distribution.components(parameters[:1])[2].item() * 128 == pytest.approx(12, rel=0.05)


# ------------------------------------------------------------------ bits, and errors
def test_bits_count_real_frames_only() -> None:
    log_prob = torch.full((2, 3, 4), -2 * math.log(2), requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    spoiled = torch.where(mask[..., None], log_prob, torch.tensor(math.nan))
    bits = bits_per_dimension(spoiled, mask)
    assert bits.item() == pytest.approx(2)
    bits.backward()
    assert torch.equal(log_prob.grad != 0, mask[..., None].expand(2, 3, 4))


def test_a_name_finds_its_distribution() -> None:
    assert get_distribution("categorical-6").size == 64
    assert get_distribution("gaussian-mixture-10").size == 30
    assert get_distribution("gaussian").size == 1
    for name in (
        "categorical",
        "categorical-9",
        "logistic-mixture-0",
        "logistic-mixture-4x",
        "laplace-2",
        "gaussian-1",
        "",
    ):
        with pytest.raises(ValueError, match=r"no distribution is called|bits is 9"):
            get_distribution(name)


@pytest.mark.parametrize("name", NAMES)
def test_errors_say_what_was_wrong(name: str) -> None:
    distribution = get_distribution(name)
    parameters = torch.zeros(2, distribution.size)
    with pytest.raises(ValueError, match="in the last axis"):
        distribution.log_prob(torch.zeros(2, distribution.size + 1), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="from 0 to 256"):
        distribution.log_prob(parameters, torch.tensor([0, 256]))
    with pytest.raises(ValueError, match="int64"):
        distribution.log_prob(parameters, torch.zeros(2))
    with pytest.raises(ValueError, match=r"temperature is 0\.0"):
        distribution.sample(parameters, torch.full((2, distribution.num_uniforms), 0.5), 0.0)
    with pytest.raises(ValueError, match=f"takes {distribution.num_uniforms}"):
        distribution.sample(parameters, torch.full((2, 3), 0.5))
    with pytest.raises(ValueError, match="must be"):
        bits_per_dimension(torch.zeros(2, 3), torch.ones(2, dtype=torch.bool))
