"""Probes: how much of one thing can be predicted from another, by a linear map, by a small network, by a fixed code.

A linear probe is found from second moments alone, and so is its error on speech that it has not met: what is
kept of an hour is one matrix. :class:`Moments` gathers it, piece by piece.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from causalcnn.training import minimize

__all__ = ["LinearProbe", "Moments", "TransformCode", "fit_linear", "fit_network"]

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of the ridge, in units of the mean variance of what is read; the best on the validation speakers is taken."""


class Moments:
    """Sums and second moments of ``x`` (what is read) and ``y`` (what is predicted), in float64.

    Args:
        x_mean: about where the values of ``x`` lie, ``(d,)``; it keeps the sums small.
        y_mean: about where the values of ``y`` lie, ``(m,)``.

    Example:
        >>> import torch
        >>> from causalcnn_book.what_codes_remember.linear_probe import Moments
        >>> moments = Moments(torch.zeros(2), torch.zeros(1))
        >>> moments.add(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0], [7.0]]))
        >>> [mean.tolist() for mean in moments.means()]
        [[2.0, 3.0], [6.0]]
    """

    def __init__(self, x_mean: Tensor, y_mean: Tensor) -> None:
        self.x_mean, self.y_mean = x_mean.double(), y_mean.double()
        d, m = len(x_mean), len(y_mean)
        zeros = {"dtype": torch.float64}
        self.count = 0
        self.x, self.y = torch.zeros(d, **zeros), torch.zeros(m, **zeros)  # type: ignore[call-overload]
        self.xx, self.xy = torch.zeros(d, d, **zeros), torch.zeros(d, m, **zeros)  # type: ignore[call-overload]
        self.yy = torch.zeros(m, **zeros)  # type: ignore[call-overload]

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add some more rows.

        Args:
            x: ``(rows, d)``, float32.
            y: ``(rows, m)``, float32.
        """
        x, y = x - self.x_mean.to(x), y - self.y_mean.to(y)
        self.count += len(x)
        self.x += x.sum(0).double()
        self.y += y.sum(0).double()
        self.xx += x.T @ x  # a piece in float32, the sum of the pieces in float64
        self.xy += x.T @ y
        self.yy += y.double().square().sum(0)

    def part(self, columns: slice) -> Moments:
        """Take the moments of some of the columns of ``x``.

        Args:
            columns: those to take.

        Returns:
            Moments that share the numbers with these.
        """
        part = Moments(self.x_mean[columns], self.y_mean)
        part.count, part.y, part.yy = self.count, self.y, self.yy
        part.x, part.xx, part.xy = self.x[columns], self.xx[columns, columns], self.xy[columns]
        return part

    def means(self) -> tuple[Tensor, Tensor]:
        """Compute the means of ``x``, ``(d,)``, and ``y``, ``(m,)``."""
        return self.x_mean + self.x / self.count, self.y_mean + self.y / self.count

    def about(self, x0: Tensor, y0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute second moments about any point.

        Args:
            x0: the point for ``x``, ``(d,)``.
            y0: the point for ``y``, ``(m,)``.

        Returns:
            Mean products of ``x − x0`` with itself, ``(d, d)``, of ``x − x0`` with ``y − y0``, ``(d, m)``, and mean
            squares of ``y − y0``, ``(m,)``.
        """
        n, dx, dy = self.count, self.x_mean - x0, self.y_mean - y0
        x, y = self.x / n, self.y / n
        xx = self.xx / n + torch.outer(x, dx) + torch.outer(dx, x) + torch.outer(dx, dx)
        xy = self.xy / n + torch.outer(x, dy) + torch.outer(dx, y) + torch.outer(dx, dy)
        return xx, xy, self.yy / n + 2 * y * dy + dy.square()


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """``y ≈ (x − x_mean) @ weight + y_mean``.

    Attributes:
        weight: ``(d, m)`` float64.
        x_mean: the mean of the training rows, ``(d,)``.
        y_mean: the mean of the training rows, ``(m,)``.
        groups: how many equal groups of columns ``y`` has.
        penalties: the penalty that was chosen for each group.
    """

    weight: Tensor
    x_mean: Tensor
    y_mean: Tensor
    groups: int
    penalties: tuple[float, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Predict from rows, in their precision.

        Args:
            x: ``(rows, d)``.

        Returns:
            ``(rows, m)``.
        """
        return (x - self.x_mean.to(x)) @ self.weight.to(x) + self.y_mean.to(x)

    def errors(self, test: Moments) -> Tensor:
        """Compute the squared error on other rows, as a share of what saying the training mean would cost.

        Args:
            test: the moments of these rows.

        Returns:
            ``(groups,)``.
        """
        xx, xy, yy = test.about(self.x_mean, self.y_mean)
        return _residual(self.weight, xx, xy, yy, self.groups) / yy.reshape(self.groups, -1).sum(1)


def _residual(weight: Tensor, xx: Tensor, xy: Tensor, yy: Tensor, groups: int) -> Tensor:
    squares = yy - 2 * (weight * xy).sum(0) + (weight * (xx @ weight)).sum(0)
    return squares.reshape(groups, -1).sum(1)


def fit_linear(
    train: Moments, validation: Moments, *, groups: int, penalties: Sequence[float] = PENALTIES
) -> LinearProbe:
    """Fit a ridge regression in closed form; each group of outputs takes the penalty that is best on other rows.

    Args:
        train: training rows.
        validation: the rows that the penalties are chosen on.
        groups: equal groups of columns of ``y``, for example one for each frame that is predicted.
        penalties: those to choose from, in units of the mean variance of the columns of ``x``.

    Returns:
        The probe.

    Example:
        >>> import torch
        >>> from causalcnn_book.what_codes_remember.linear_probe import Moments, fit_linear
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> moments = Moments(torch.zeros(2), torch.zeros(1))
        >>> moments.add(x, x[:, :1] - 2 * x[:, 1:])
        >>> [round(weight, 3) for weight in fit_linear(moments, moments, groups=1).weight[:, 0].tolist()]
        [1.0, -2.0]
    """
    x_mean, y_mean = train.means()
    xx, xy, _ = train.about(x_mean, y_mean)
    values, basis = torch.linalg.eigh(xx)
    values, turned = values.clamp(min=0), basis.T @ xy
    other_xx, other_xy, other_yy = validation.about(x_mean, y_mean)
    other_xx, other_xy = basis.T @ other_xx @ basis, basis.T @ other_xy
    unit = float(values.mean().clamp(min=1e-12))
    best = torch.full((groups,), math.inf, dtype=torch.float64)
    chosen, found = [0.0] * groups, torch.zeros_like(turned)
    wide = turned.shape[1] // groups
    for penalty in penalties:
        weight = turned / (values + penalty * unit)[:, None]
        errors = _residual(weight, other_xx, other_xy, other_yy, groups)
        for group in (errors < best).nonzero().flatten().tolist():
            columns = slice(group * wide, (group + 1) * wide)
            best[group], chosen[group], found[:, columns] = errors[group], penalty, weight[:, columns]
    return LinearProbe(basis @ found, x_mean, y_mean, groups, tuple(chosen))


def fit_network(
    linear: LinearProbe,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    *,
    hidden: int = 256,
    epochs: int = 8,
    rows: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> tuple[nn.Module, list[float]]:
    """Train one hidden layer on what a linear probe leaves over; the best epoch on other rows is kept.

    Args:
        linear: it predicts first, and the network adds to it.
        train: ``x``, ``(rows, d)``, and ``y``, ``(rows, m)``, with the columns of the linear probe.
        validation: the same of other rows.
        hidden: units of the hidden layer.
        epochs: how often all training rows are read.
        rows: rows of a step.
        learning_rate: the highest learning rate.
        seed: draws the weights and the order of the rows.

    Returns:
        A module from ``x`` to what is added to ``linear(x)``, and the error on ``validation`` after each epoch, in
        squares of ``y``'s unit (before the first epoch first).
    """
    scale = float((train[0][:4096] - linear.x_mean.to(train[0])).square().mean().sqrt().clamp(min=1e-6))
    unit = float((train[1][:4096] - linear(train[0][:4096])).square().mean().sqrt().clamp(min=1e-6))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Residual(linear.x_mean.float(), scale, unit, hidden, train[1].shape[1])
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-2)
    steps = math.ceil(len(train[0]) / rows)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * steps)
    history = [_mean_square(linear, None, *validation)]
    best = {name: value.clone() for name, value in network.state_dict().items()}

    def batches() -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(len(train[0]), generator=draw).split(rows)

    batch = batches()

    def loss(step: int) -> Tensor:
        some = next(batch)
        x, y = train[0][some], train[1][some]
        return ((network(x) - (y - linear(x))) / unit).square().mean()

    for _ in range(epochs):
        minimize(loss, optimizer, steps, scheduler=scheduler)
        history.append(_mean_square(linear, network, *validation))
        if history[-1] <= min(history):
            best = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best)
    return network.eval(), history


class _Residual(nn.Module):
    def __init__(self, mean: Tensor, scale: float, unit: float, hidden: int, outputs: int) -> None:
        super().__init__()
        self.mean, self.scale, self.unit = mean, scale, unit
        self.layers = nn.Sequential(nn.Linear(len(mean), hidden), nn.GELU(), nn.Linear(hidden, outputs))
        nn.init.zeros_(self.layers[2].weight)  # type: ignore[arg-type]  # it begins as the linear probe
        nn.init.zeros_(self.layers[2].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.unit * self.layers((x - self.mean) / self.scale)


@torch.no_grad()
def _mean_square(linear: LinearProbe, network: nn.Module | None, x: Tensor, y: Tensor) -> float:
    total = 0.0
    for a, b in zip(x.split(4096), y.split(4096), strict=True):
        read = linear(a) if network is None else linear(a) + network(a)
        total += float((b - read).double().square().sum())
    return total / y.numel()


class TransformCode:
    """A code that is made for remembering: principal components of a window, each rounded to a few levels.

    The bits go, one after the other, to the component whose rounding hurts most (reverse water-filling); the
    levels are Lloyd's, from the training rows. At equal bits it is what classical coding would do.

    Args:
        windows: training rows ``(rows, d)``.
        bits: how many one row gets.
        max_bits: the most that one component gets.

    Source:
        Goyal, Theoretical foundations of transform coding, 2001, doi 10.1109/79.952802.

    Example:
        >>> import torch
        >>> from causalcnn_book.what_codes_remember.linear_probe import TransformCode
        >>> rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([8.0, 2.0, 0.1])
        >>> code = TransformCode(rows, bits=4)
        >>> code.bits, code(rows).shape
        ((3, 1), torch.Size([100, 2]))
    """

    def __init__(self, windows: Tensor, *, bits: int, max_bits: int = 8) -> None:
        self.mean = windows.mean(0)
        centered = windows - self.mean
        values, basis = torch.linalg.eigh((centered.T @ centered / len(windows)).double())
        remaining, counts = values.clamp(min=0).flip(0).tolist(), [0] * len(values)
        for _ in range(bits):
            worst = max((i for i in range(len(counts)) if counts[i] < max_bits), key=lambda i: remaining[i])
            remaining[worst] /= 4
            counts[worst] += 1
        used = sum(count > 0 for count in counts)
        self.bits = tuple(counts[:used])  # the variances fall, so the used components are the first ones
        self.basis = basis.flip(1)[:, :used].float()
        self.levels = [
            _lloyd(column, 2**count) for column, count in zip((centered @ self.basis).T, self.bits, strict=True)
        ]

    def __call__(self, windows: Tensor) -> Tensor:
        """Code rows, and decode them.

        Args:
            windows: ``(rows, d)``.

        Returns:
            The rounded components, ``(rows, components)``.
        """
        columns = ((windows - self.mean) @ self.basis).T
        return torch.stack([_rounded(column, levels) for column, levels in zip(columns, self.levels, strict=True)], 1)


def _lloyd(values: Tensor, levels: int, rounds: int = 20) -> Tensor:
    """Levels that the values are near: Lloyd's algorithm from the quantiles, ``(levels,)``, rising."""
    ordered = values.sort().values
    at = (torch.arange(levels, dtype=torch.float64) + 0.5) / levels * len(ordered)
    centers = ordered[at.long()].clone()
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), ordered.double().cumsum(0)])
    for _ in range(rounds):
        edges = torch.searchsorted(ordered, ((centers[1:] + centers[:-1]) / 2).contiguous())
        edges = torch.cat([torch.zeros(1, dtype=torch.long), edges, torch.tensor([len(ordered)])])
        inside = edges.diff()
        means = (sums[edges[1:]] - sums[edges[:-1]]) / inside.clamp(min=1)
        centers = torch.where(inside > 0, means.to(centers), centers)
    return centers


def _rounded(values: Tensor, levels: Tensor) -> Tensor:
    return levels[torch.searchsorted(((levels[1:] + levels[:-1]) / 2).contiguous(), values.contiguous())]
