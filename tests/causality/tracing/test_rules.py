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
    "scatter, instead": (2, lambda x: late(x).scatter(2, back(4).expand(1, 2, 4), x)),
}


@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
@pytest.mark.parametrize("name", EXACT)
def test_what_is_traced_is_what_perturbation_finds(name):
    channels, function = EXACT[name]
    assert traced(Apply(function), channels) == perturbed(Apply(function), channels)


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
