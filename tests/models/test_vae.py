"""The VAE: its divergence, its bounds, its gradients, and which of its numbers say something."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from causalcnn.models import CausalVAE, LatentUse, Posterior, VAEConfig
from causalcnn.speech import Batch

SMALL = VAEConfig(channels=6, residual_channels=4, residual_blocks=1, code_dim=2, mels=8, noise_db=10.0)
NUMBERS = st.floats(-20, 20)


def speech_like(frames=6, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 1, frames, 8, generator=generator, dtype=torch.float64) * 15 - 35


@pytest.fixture(scope="module")
def model():
    """A model whose posterior differs from its prior."""
    torch.manual_seed(0)
    model = CausalVAE(SMALL).double().eval()
    with torch.no_grad():
        model.project.weight.mul_(3)
    return model


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------------------------------------- divergence
@given(NUMBERS, NUMBERS)
def test_the_divergence_is_never_negative(mean, log_std):
    for dtype in (torch.float32, torch.float64):
        assert float(Posterior(torch.tensor(mean, dtype=dtype), torch.tensor(log_std, dtype=dtype)).kl()) >= 0


def test_the_divergence_of_the_prior_is_zero():
    assert Posterior(torch.zeros(3), torch.zeros(3)).kl().tolist() == [0, 0, 0]


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (1.5, -1.0), (-0.3, 0.7), (3.0, -3.0), (1e-3, 1e-3)])
def test_the_divergence_is_torchs_and_that_of_monte_carlo(mean, log_std):
    posterior = Posterior(torch.tensor(mean, dtype=torch.float64), torch.tensor(log_std, dtype=torch.float64))
    q = torch.distributions.Normal(posterior.mean, posterior.log_std.exp())
    p = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1)
    torch.testing.assert_close(posterior.kl(), torch.distributions.kl_divergence(q, p), rtol=1e-9, atol=1e-15)
    z = posterior.sample(torch.randn(100_000, generator=generator(), dtype=torch.float64))
    ratio = q.log_prob(z) - p.log_prob(z)
    assert abs(float(ratio.mean() - posterior.kl())) <= 4 * float(ratio.std()) / math.sqrt(len(z)) + 1e-12


# ----------------------------------------------------------------------------------------------------------- loss
def batch_of(frames=6, rows=2, seed=0):
    features = speech_like(frames, rows, seed)[:, 0].transpose(1, 2)
    return Batch(features, torch.ones(rows, frames, dtype=torch.bool), torch.zeros(rows, dtype=torch.int64))


def test_the_loss_is_the_negative_bound_up_to_scale_and_constant(model):
    batch, c = batch_of(), model.config
    x = batch.features.transpose(1, 2).unsqueeze(1)
    noise = torch.randn(2, 2, 6, 2, generator=generator(3), dtype=torch.float64)
    loss, metrics = model.loss(batch, noise)
    constant = c.mels * (math.log(c.noise_db) + 0.5 * math.log(2 * math.pi))
    bound = model.elbo(x, generator=generator(3)).sum() / 12  # nats a frame, with the same draws
    scale = 2 * c.noise_db**2 / (c.mels * c.spread_db**2)
    torch.testing.assert_close(loss, -scale * (bound + constant), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(metrics["bits_per_second"], metrics["kl"] * 100 / math.log(2))
    torch.testing.assert_close(metrics["kl"], model.encode(x).kl().sum() / 12)


def test_only_the_training_draws(model):
    batch = batch_of()
    assert model.loss(batch)[0] == model.loss(batch)[0]
    try:
        model.train()
        torch.manual_seed(0)
        first, second = (model.loss(batch)[0] for _ in range(2))
        assert first != second
        torch.manual_seed(0)
        assert model.loss(batch)[0] == first
        assert torch.equal(model(speech_like()), model(speech_like()))  # the mean, in training too
    finally:
        model.eval()


def test_beta_weighs_the_divergence_and_free_bits_are_free(model):
    batch = batch_of()
    use = LatentUse.of(model, [batch])
    nats = use.kl.flatten()

    def divergence(**changes):
        """What the loss adds to the error, as nats a frame."""
        other = CausalVAE(SMALL.with_(**changes)).double().eval()
        other.load_state_dict(model.state_dict())
        loss, metrics = other.loss(batch)
        return float(loss.detach() - metrics["error"]) * 8 * 20.0**2 / (2 * 10.0**2)

    assert divergence() == pytest.approx(float(nats.sum()))
    assert divergence(beta=4.0) == pytest.approx(4 * float(nats.sum()))
    assert divergence(beta=0.0) == pytest.approx(0)
    free = float(nats.median()) / math.log(2)
    assert divergence(free_bits=free) == pytest.approx(sum(max(float(one), float(nats.median())) for one in nats))


# --------------------------------------------------------------------------------------------------------- bounds
def test_the_importance_weighted_bound_is_at_least_the_elbo_draw_by_draw(model):
    x = speech_like()
    for seed in range(5):
        weights = model.log_weights(x, samples=8, generator=generator(seed))
        bound = model.importance_weighted_bound(x, samples=8, generator=generator(seed))
        assert (weights.mean(0) <= bound).all()  # Jensen's inequality holds for every draw, not only for the mean


def test_more_samples_tighten_the_bound_from_the_elbo_on(model):
    x = speech_like(3)
    elbo = model.elbo(x, samples=2000, generator=generator())
    weights = model.log_weights(x, samples=4096, generator=generator(1))
    error = weights.std(0) / math.sqrt(len(weights))
    assert ((weights.mean(0) - elbo).abs() <= 5 * error).all()  # the divergence in closed form or by draws
    bounds = [(weights.unflatten(0, (-1, k)).logsumexp(1) - math.log(k)).mean(0) for k in (1, 4, 64, 4096)]
    assert all((less < more).all() for less, more in pairwise(bounds))


def test_the_bounds_are_exact_where_the_decoder_does_not_listen():
    """Then the density is a plain Gaussian, and the best posterior is the prior."""
    torch.manual_seed(0)
    model = CausalVAE(SMALL).double().eval()
    x = speech_like()
    with torch.no_grad():
        for parameter in (*model.decoder[len(model.decoder) - 1].parameters(), *model.project.parameters()):
            parameter.zero_()
    density = torch.distributions.Normal(SMALL.mean_db, SMALL.noise_db)
    exact = density.log_prob(x.clamp(min=SMALL.floor_db)).sum((1, 2, 3))
    torch.testing.assert_close(model.elbo(x), exact)
    torch.testing.assert_close(model.importance_weighted_bound(x, samples=3), exact)


def test_padded_frames_count_in_no_bound(model):
    x = speech_like()
    padded = torch.cat([x, torch.full((2, 1, 3, 8), 30.0, dtype=torch.float64)], 2)
    mask = torch.arange(9).expand(2, 9) < 6
    noise = iter([torch.zeros(2, 2, 6, 2), torch.zeros(2, 2, 9, 2)])

    class Silent(CausalVAE):
        def _draws(self, posterior, samples, generator):
            zero = next(noise).double()
            return [(zero, posterior.sample(zero))]

    silent = Silent(SMALL).double().eval()
    silent.load_state_dict(model.state_dict())
    torch.testing.assert_close(silent.elbo(x), silent.elbo(padded, mask))


# ------------------------------------------------------------------------------------------------------ gradients
def test_the_gradient_through_a_draw_is_that_of_the_score_function(model):
    """Of the expected error with respect to mean and deviation; both are estimates, of which one needs more draws."""
    draws, x = 20_000, speech_like(1, 1)
    with torch.no_grad():
        posterior = model.encode(x)
    leaves = [p.expand(draws, -1, -1, -1).clone().requires_grad_() for p in posterior]
    many = Posterior(*leaves)
    z = many.sample(torch.randn(many.mean.shape, generator=generator(), dtype=torch.float64))

    def error(z):
        return (model.decode(z) - x).square().mean((1, 2, 3)) / 100

    through_the_draw = torch.autograd.grad(error(z).sum(), leaves)
    with torch.no_grad():
        value = error(z)
        value -= error(posterior.mean)  # a baseline changes no expectation
    log_q = torch.distributions.Normal(many.mean, many.log_std.exp()).log_prob(z.detach())
    by_score = torch.autograd.grad((log_q.sum((1, 2, 3)) * value).sum(), leaves)
    for path, score in zip(through_the_draw, by_score, strict=True):
        standard_error = ((path - score).var(0) / draws).sqrt()
        assert ((path.mean(0) - score.mean(0)).abs() <= 4.5 * standard_error).all()
        assert (path.mean(0).abs() > 20 * path.std(0) / math.sqrt(draws)).any()  # there is a gradient to agree on
        assert (path.var(0) < score.var(0)).all()  # why one trains with it


# --------------------------------------------------------------------------------------------------- what is used
def test_a_number_that_says_nothing_is_found(model):
    silent = CausalVAE(SMALL).double().eval()
    silent.load_state_dict(model.state_dict())
    with torch.no_grad():  # the second number of every cell: mean 0, deviation 1, whatever the input
        silent.project.weight[0] *= 10
        for row in (1, 3):
            silent.project.weight[row] = 0
            silent.project.bias[row] = 0
    use = LatentUse.of(silent, [batch_of(seed=seed) for seed in range(4)])
    assert use.frames == 48
    assert use.kl.shape == use.variance.shape == (2, 2)
    assert use.kl[1].tolist() == use.variance[1].tolist() == [0, 0]
    assert use.active.tolist() == [[True, True], [False, False]]
    assert use.bits_per_second == pytest.approx(float(use.kl.sum()) * 100 / math.log(2))


def test_what_is_used_is_a_mean_over_the_real_frames_in_whatever_batches(model):
    one, other = batch_of(5, seed=1), batch_of(9, seed=2)
    features = torch.full((4, 8, 9), 77.0, dtype=torch.float64)
    features[:2, :, :5], features[2:] = one.features, other.features
    mask = torch.zeros(4, 9, dtype=torch.bool)
    mask[:2, :5], mask[2:] = True, True
    together = LatentUse.of(model, [Batch(features, mask, torch.zeros(4))])
    apart = LatentUse.of(model, [one, other])
    torch.testing.assert_close((together.kl, together.variance), (apart.kl, apart.variance))
    with pytest.raises(ValueError, match="no real frame"):
        LatentUse.of(model, [])


def test_what_it_refuses(model):
    for wrong in ({"noise_db": 0.0}, {"beta": -1.0}, {"free_bits": math.nan}, {"beta": math.inf}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            VAEConfig(**wrong)
    with pytest.raises(ValueError, match="samples is 0"):
        model.importance_weighted_bound(speech_like(), samples=0)
