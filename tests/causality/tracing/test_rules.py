"""The rule of each operation against perturbation: change one input frame, and see which outputs move."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn import audit
from causalcnn.causality import CannotTrace, Verdict, trace
from causalcnn.causality.leak_case_layers import Apply
from causalcnn.causality.tracing.rules import RULES

FRAMES = 9


def back(frames: int = FRAMES) -> Tensor:
    """The last frames, last first: places to write to."""
    return torch.arange(FRAMES).flip(0)[:frames]


def late(x: Tensor) -> Tensor:
    """Three frames later."""
    return F.pad(x, (3, 0))[:, :, :-3]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def still(x: Tensor) -> tuple[Tensor, Tensor]:
    """A stored mean and a stored variance."""
    return torch.zeros(x.shape[1], dtype=x.dtype), torch.ones(x.shape[1], dtype=x.dtype)


def closed(x: Tensor, mask: float) -> Tensor:
    """The last frame is masked: −∞ is a constant; a finite mask reads the other scores, which do not read it."""
    return x.masked_fill(torch.arange(x.shape[2]) == x.shape[2] - 1, mask).log_softmax(2)


def attention(x: Tensor, shares: Callable[[Tensor], Tensor], mask: float = -math.inf) -> Tensor:
    """Of a frame to itself and to what came before, written out."""
    frames = x.shape[2]
    future = torch.ones(frames, frames, dtype=torch.bool).triu(1)
    return x @ shares((x.mT @ x).masked_fill(future, mask)).mT


def in_place(x: Tensor) -> Tensor:
    """A factor for one channel, and one for all, on a tensor whose strides are not in order."""
    y = late(x).transpose(1, 2).contiguous().transpose(1, 2).clone()
    y *= 2
    y[:, 0] *= 3
    y[:, :, 1:].mul_(torch.tensor([[2.0], [3.0]], dtype=x.dtype)).add_(1)
    return y.relu_()


def statistics(x: Tensor) -> Tensor:
    """Of the batch, as training leaves them behind."""
    mean, spread = still(x)
    F.batch_norm(x, mean, spread, training=True)
    return x - mean[:, None] / spread[:, None]


def multi_head(x: Tensor, mask: float | bool) -> Tensor:
    """torch's own function with its own default: the shares are returned, so the mask is added within baddbmm."""
    frames, eye = x.shape[2], torch.ones(4, 4, dtype=x.dtype) + torch.eye(4, dtype=x.dtype)
    future = torch.ones(frames, frames, dtype=torch.bool).triu(1)
    if not isinstance(mask, bool):
        future = torch.zeros(frames, frames, dtype=x.dtype).masked_fill(future, mask)
    z = x.permute(2, 0, 1)
    weights = (eye.repeat(3, 1), None, None, None, False, 0.0, eye, None)
    return F.multi_head_attention_forward(z, z, z, 4, 2, *weights, attn_mask=future)[0].permute(1, 2, 0)


def triangle(x: Tensor) -> Tensor:
    """A constant matrix over time: what lies ahead is 0."""
    return torch.ones(FRAMES, FRAMES, dtype=x.dtype).tril() + torch.eye(FRAMES, dtype=x.dtype)


def solved(x: Tensor, upper: bool) -> Tensor:
    """A system of equations over time."""
    return torch.linalg.solve_triangular(triangle(x).mT if upper else triangle(x), x.mT, upper=upper).mT


def packed(x: Tensor) -> Tensor:
    """Through a packed sequence and back."""
    frames = nn.utils.rnn.pack_padded_sequence(late(x).mT, [FRAMES - 2], batch_first=True)
    return nn.utils.rnn.pad_packed_sequence(frames, batch_first=True)[0].mT


def places(x: Tensor) -> Tensor:
    """Between the frames, from the last to the first."""
    across = (back() + 0.5).clamp(max=FRAMES - 1) / (FRAMES - 1) * 2 - 1
    return torch.stack([across, torch.zeros(FRAMES)], -1).view(1, 1, FRAMES, 2).to(x.dtype)


def perturbed(module: nn.Module, channels: int, draws: int = 4) -> list[set[int]]:
    """For each output frame the input frames that move it, for any of a few inputs."""
    generator = torch.Generator().manual_seed(0)
    found: list[set[int]] = []
    for _ in range(draws):
        x = torch.randn(1, channels, FRAMES, generator=generator, dtype=torch.float64)
        y = module(x)
        found = found or [set() for _ in range(y.shape[2])]
        for t in range(FRAMES):
            other = x.clone()
            other[:, :, t] = torch.randn(1, channels, generator=generator, dtype=torch.float64)
            moved = (module(other) != y).transpose(0, 2).flatten(1).any(1)
            for u in moved.nonzero().flatten().tolist():
                found[u].add(t)
    return found


def traced(module: nn.Module, channels: int) -> list[set[int]]:
    seen = trace(module, torch.ones(1, channels, FRAMES, dtype=torch.float64))
    return [set(seen.inputs_of(u)) for u in range(seen.frames[1])]


EXACT: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "factors in place": (2, in_place),
    "renorm of rows": (2, lambda x: torch.renorm(x, 2.0, 0, 0.1)),
    "renorm of channels": (2, lambda x: torch.renorm(x, 2.0, 1, 0.1)),
    "renorm of frames": (2, lambda x: torch.renorm(x, 2.0, -1, 0.1)),
    "index_add, taken away": (2, lambda x: (x + late(x)).index_add(1, torch.arange(2), late(x).exp(), alpha=-1)),
    "index_add, written in place": (2, lambda x: torch.zeros_like(x).index_add_(2, back(), x, alpha=-2.0)),
    "scatter, added": (2, lambda x: x.scatter(2, back().expand(x.shape), x.exp(), reduce="add")),
    "scatter, multiplied": (2, lambda x: late(x).exp().scatter(2, back().expand(x.shape), x.exp(), reduce="multiply")),
    "scatter, times a number": (2, lambda x: x.scatter(2, back().expand(x.shape), 2.0, reduce="multiply")),
    "softmax of masked scores": (3, lambda x: attention(x, lambda s: s.softmax(-1))),
    "log_softmax of masked scores": (3, lambda x: attention(x, lambda s: s.log_softmax(-1).exp())),
    "softmax of scores far below": (3, lambda x: attention(x, lambda s: s.softmax(-1), -1e9)),
    "log_softmax over channels": (3, lambda x: x.log_softmax(1)),
    "log_softmax over frames": (3, lambda x: x.log_softmax(2)),
    "log_softmax, one mask for good": (3, lambda x: closed(x, -math.inf)),
    "log_softmax, one far below": (3, lambda x: closed(x, -1e5)),
    "glu over channels": (4, lambda x: F.glu(late(x) + 1, 1)),
    "glu over frames": (2, lambda x: F.glu(x[:, :, :8], -1)),
    "vdot": (1, lambda x: x * torch.vdot(x[0, 0, :2], x[0, 0, 2:4])),
    "dot": (1, lambda x: x * torch.dot(x[0, 0, :2], x[0, 0, 2:4])),
    "mv": (2, lambda x: torch.mv(x[0].T, x[0, :, 0]).view(1, 1, -1)),
    "determinants": (4, lambda x: torch.linalg.det(x.mT.unflatten(2, (2, 2)))[:, None]),
    "one determinant": (2, lambda x: x + torch.det(x[0, :, 2:4])),
    "layer norm with a computed scale": (2, lambda x: F.layer_norm(x.mT, (2,), weight=x[0, :, -1]).mT),
    "statistics that batch norm leaves behind": (2, statistics),
    "batch norm with a computed scale": (2, lambda x: F.batch_norm(x, *still(x), weight=x[0, :, -1])),
    "batch norm with a computed shift": (2, lambda x: F.batch_norm(x, *still(x), bias=x[0, :, 4])),
    "batch norm with computed statistics": (2, lambda x: F.batch_norm(x.exp(), x[0, :, 3], still(x)[1])),
    "group norm of one frame with a computed scale": (2, lambda x: F.group_norm(x[:, :, :1], 1, x[0, :, -1])),
    "attention with shares, boolean mask": (4, lambda x: multi_head(x, True)),
    "attention with shares, mask of −∞": (4, lambda x: multi_head(x, -math.inf)),
    "attention with shares, mask of −1e9": (4, lambda x: multi_head(x, -1e9)),
    "baddbmm without a mask": (2, lambda x: torch.baddbmm(late(x), torch.ones(1, 2, 2, dtype=x.dtype), x)),
    "product of two triangular matrices": (2, lambda x: x @ (triangle(x) @ triangle(x)).mT),
    "a triangular system, from above": (2, lambda x: solved(x, upper=False)),
    "a triangular system, from below": (2, lambda x: solved(x, upper=True)),
    "a triangular system from the right": (
        2,
        lambda x: torch.linalg.solve_triangular(triangle(x).mT, x, upper=True, left=False),
    ),
    "a triangular system that is computed": (
        4,
        lambda x: (
            torch.linalg.solve_triangular(
                late(x).mT.unflatten(2, (2, 2)) + 2, torch.ones(9, 2, 1, dtype=x.dtype), upper=False
            )
            .flatten(2)
            .mT
        ),
    ),
    "bilinear": (
        4,
        lambda x: F.bilinear(1 + late(x).mT[..., :2], x.mT[..., 2:], torch.ones(3, 2, 2, dtype=x.dtype)).mT,
    ),
    "floor_divide": (2, lambda x: (late(x) * 9) // 2),
    "slice_backward": (2, lambda x: torch.ops.aten.slice_backward(x[:, :, :-2], x.shape, 2, 2, FRAMES, 1)),
    "packed sequences": (2, packed),
    "grid_sample": (2, lambda x: F.grid_sample(x[:, :, None], places(x), align_corners=True)[:, :, 0]),
    "a loss, frame by frame": (2, lambda x: F.mse_loss(x, late(x), reduction="none")),
    "a loss": (2, lambda x: x[:, :, :4] + F.mse_loss(x[:, :, 5:6], x[:, :, 7:8])),
    "fake_quantize": (2, lambda x: torch.fake_quantize_per_tensor_affine(late(x).float(), 0.01, 0, 0, 255)),
    "scatter_reduce": (2, lambda x: late(x).scatter_reduce(2, back().expand(x.shape), x.exp(), "amax")),
    "scatter, instead": (2, lambda x: late(x).scatter(2, back(4).expand(1, 2, 4), x)),
}


@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
@pytest.mark.parametrize("name", EXACT)
def test_what_is_traced_is_what_perturbation_finds(name):
    channels, function = EXACT[name]
    assert traced(Apply(function), channels) == perturbed(Apply(function), channels)


def chosen(x: Tensor) -> Tensor:
    """A channel for each frame, by what was heard three frames before."""
    return late(x).argmax(1, keepdim=True)


def by_place(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of rows, of channels that the data choose, and of frames."""
    return torch.arange(1)[:, None], chosen(x)[:, 0], torch.arange(FRAMES)[None]


CHOSEN: dict[str, Callable[[Tensor], Tensor]] = {
    "one hot": lambda x: torch.zeros_like(x).scatter_(1, x.argmax(1, keepdim=True), 1.0),
    "scatter": lambda x: x.scatter(1, chosen(x), x.exp()),
    "scatter, a part": lambda x: late(x).scatter(1, x.argmax(1, keepdim=True)[:, :, :4], x),
    "scatter_add": lambda x: late(x).scatter_add(1, x.argmax(1, keepdim=True), x.exp()),
    "scatter along time": lambda x: x.scatter(2, (x.abs() * 3).long().clamp(max=FRAMES - 1), 1.0),
    "gather": lambda x: x.gather(1, chosen(x)),
    "indices of channels": lambda x: x[by_place(x)][:, None],
    "indices of channels, written": lambda x: late(x).index_put(by_place(x), x[:, 0].exp()),
    "indices of channels, added": lambda x: late(x).index_put(by_place(x), x[:, 0].exp(), accumulate=True),
    "one channel": lambda x: x[:, late(x)[0, :, 3].argmax()[None]],
    "index_add": lambda x: late(x).index_add(1, x[0, :, 0].argsort()[:2], x[:, :2]),
    "under a mask": lambda x: x.clone().index_put_((late(x) > 0,), torch.ones((), dtype=x.dtype)),
    "under a mask of frames": lambda x: x.mT.clone().index_put_((late(x).mT[..., 0] > 0,), x[:1, :, 4]).mT,
    "under a mask, computed": lambda x: x.clone().index_put_((late(x) > 0,), x[0, 0, 3]),
    "indices of frames": lambda x: x[:, :, (late(x)[0, 0] * 4).long().abs().clamp(max=FRAMES - 1)],
    "bucketize": lambda x: late(x) + torch.bucketize(x, x[0, 0, :3].exp().cumsum(0)),
    "searchsorted": lambda x: torch.searchsorted(x.exp()[:, :, :3].cumsum(-1), late(x).contiguous()).to(x),
}
LARGER = {"indices of frames", "scatter along time", "bucketize", "searchsorted", "under a mask of frames",
          "under a mask, computed"}  # fmt: skip
"""Of these a few draws do not show all that might be read."""


@pytest.mark.parametrize("name", CHOSEN)
def test_an_index_that_the_data_choose_reads_its_axis_and_no_other(name):
    network = Apply(CHOSEN[name])
    said, seen = traced(network, 3), perturbed(network, 3, draws=12)
    assert all(b <= a for a, b in zip(said, seen, strict=True))
    if name not in LARGER:
        assert said == seen


RANDOM: dict[str, Callable[[Tensor], Tensor]] = {
    "bernoulli_": lambda p: torch.empty_like(p).bernoulli_(p.sigmoid()),
    "bernoulli": lambda p: torch.bernoulli(p.sigmoid()),
    "bernoulli, another shape's": lambda p: torch.bernoulli(torch.ones_like(p), p=0.5) * p,
    "normal, mean": lambda p: torch.normal(p, 1.0),
    "normal, spread": lambda p: torch.normal(0.0, p.exp()),
    "normal, both": lambda p: torch.normal(p, p.exp()),
    "poisson": lambda p: torch.poisson(p.exp()),
    "binomial": lambda p: torch.binomial(torch.full_like(p, 9), p.sigmoid()),
    "gamma": lambda p: torch._standard_gamma(p.exp()),
    "multinomial": lambda p: torch.multinomial(p[0].T.exp(), 2).T[None] * 1.0,
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_read_what_they_are_drawn_by(name):
    ahead = Apply(lambda x: RANDOM[name](x.flip(2)))
    assert traced(ahead, 2) == [{FRAMES - 1 - u} for u in range(FRAMES)]


def test_random_numbers_do_not_read_what_they_overwrite():
    assert traced(Apply(lambda x: x + x.flip(2).normal_() + torch.rand_like(x.flip(2))), 2) == [
        {u} for u in range(FRAMES)
    ]


OURS = torch.library.Library("causalcnn_test", "DEF")
NAMES = ("clone", "relu", "cumsum_like", "new_zeros", "new_thing", "bernoulli_like", "add", "softmax", "convolution")
for each in NAMES:
    OURS.define(f"{each}(Tensor self) -> Tensor", tags=torch.Tag.pointwise if each == "relu" else ())
    OURS.impl(each, lambda self: self.flip(2), "CPU")


@pytest.mark.parametrize("name", NAMES)
def test_an_operator_that_is_not_pytorchs_own_is_unknown_whatever_its_name(name):
    network = Apply(lambda x: x + 0 * getattr(torch.ops.causalcnn_test, name)(x))
    with pytest.raises(CannotTrace, match=rf"causalcnn_test.{name} in .*not an operator of PyTorch"):
        trace(network, torch.ones(1, 2, FRAMES))
    assert audit(network, (1, 2, 40)).verdict is not Verdict.CAUSAL


MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "then scaled": lambda s, m: ((s + m) / 8).softmax(-1),
    "scaled by a number": lambda s, m: ((s + m) * 0.125).softmax(-1),
    "the highest taken off": lambda s, m: ((s + m) - (s + m).amax(-1, keepdim=True)).exp(),
    "written out": lambda s, m: (lambda e: e / e.sum(-1, keepdim=True))(
        ((s + m) - (s + m).max(-1, keepdim=True)[0]).exp()
    ),
    "logsumexp": lambda s, m: ((s + m) - (s + m).logsumexp(-1, keepdim=True)).exp(),
    "sigmoid": lambda s, m: (s + m).sigmoid(),
    "a floor": lambda s, m: torch.maximum(s + m, torch.full((), -1e30, dtype=s.dtype)).softmax(-1),
    "the largest few": lambda s, m: (lambda f: f.masked_fill(f < f.topk(3, -1)[0][..., -1:], -1e9).softmax(-1))(
        s.masked_fill(m < 0, -1e9)
    ),
    "moved": lambda s, m: (s + m).roll(1, 1).softmax(-1).roll(-1, 1),
}


@pytest.mark.parametrize("depth", [-1e3, -1e9])
@pytest.mark.parametrize("name", MASKS)
def test_a_finite_mask_hides_what_is_small_beside_it(name, depth):
    def attend(x: Tensor) -> Tensor:
        mask = torch.zeros(FRAMES, FRAMES, dtype=x.dtype).masked_fill(torch.ones(FRAMES, FRAMES).triu(1) > 0, depth)
        return x @ MASKS[name](x.mT @ x, mask).mT

    if depth < -1e4 or "scaled" not in name:
        assert traced(Apply(attend), 2) == [set(range(u + 1)) for u in range(FRAMES)]
    else:
        assert traced(Apply(attend), 2)[0] == set(range(FRAMES))  # −1000 / 8 is no 0 in float64


@pytest.mark.parametrize("scale", [1e3, 1e4, 1e5])
def test_a_finite_mask_hides_nothing_that_is_as_large(scale):
    def attend(x: Tensor) -> Tensor:
        mask = torch.full((x.shape[2],) * 2, -1e4, dtype=x.dtype).triu(1)
        return x @ (x.mT @ x * scale + mask).softmax(-1).mT

    report = audit(Apply(attend), (1, 2, 40))
    assert report.verdict is Verdict.LOOKS_AHEAD
    assert traced(Apply(attend), 2)[0] == set(range(FRAMES))


def test_a_norm_over_time_is_not_certified_because_it_is_too_small_to_act():
    report = audit(Apply(lambda x: torch.renorm(x, 2.0, 1, 1e6)), (1, 2, 40))
    assert report.verdict is Verdict.LOOKS_AHEAD


@pytest.mark.parametrize(
    "function",
    [
        lambda y, x: torch._foreach_add_([y], [x.roll(-1, -1)]),
        lambda y, x: torch.split_with_sizes_copy(x.flip(-1), [4, x.shape[-1] - 4], -1, out=[y[..., :4], y[..., 4:]]),
    ],
    ids=["a list", "a list of outputs"],
)
def test_what_is_written_and_not_returned_is_refused(function):
    def written(x: Tensor) -> Tensor:
        y = x.clone()
        function(y, x)
        return y

    with pytest.raises(CannotTrace, match=r"writes into its argument .* and does not return it"):
        trace(Apply(written), torch.ones(1, 2, FRAMES))
    assert audit(Apply(written), (1, 2, 40)).verdict is Verdict.LOOKS_AHEAD


def test_a_rule_that_does_not_find_its_argument_is_a_refusal_by_name(monkeypatch):
    monkeypatch.setitem(RULES, "erf", RULES["renorm"])
    with pytest.raises(CannotTrace, match=r"aten.erf in .* looks for an argument 'dim'; this form has self"):
        trace(Apply(torch.erf), torch.ones(1, 2, FRAMES))
    assert audit(Apply(torch.erf), (1, 2, 40)).verdict is Verdict.UNKNOWN
