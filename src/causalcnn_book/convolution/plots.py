"""An impulse through stacks of all-ones convolutions, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from causalcnn_book.convolution.all_ones import AllOnes
from causalcnn_book.drawing import as_array, draw_heatmap
from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import Picture, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["response_grid"]


def response_grid(
    *,
    layers: Sequence[int] = (1, 2, 3),
    conventions: Sequence[str] = ("regular", "strict"),
    dims: Sequence[int] = (1, 2),
    kernel_size: int = 3,
    dilation: int = 1,
    stride: int = 1,
    impulse: Literal["frame", "cell"] | None = None,
    nonzero: bool = False,
    step: int = 12,
    steps: int = 25,
    features: int = 15,
    alt: str = "",
    caption: str = "",
) -> Picture:
    """Draw an impulse through stacks of all-ones convolutions: one column a kind, one row a depth.

    What comes out before the impulse went in is drawn in the alarm colour.

    Args:
        layers: depths, one row each; above them stands the input.
        conventions: any of ``"regular"``, ``"strict"`` and ``"block"``, from the left.
        dims: 1 or 2 or both, see :class:`AllOnes`: one column for each of them and each convention.
        kernel_size: taps of every layer.
        dilation: frames between the taps of every layer.
        stride: frames from one output of a layer to the next.
        impulse: ``"frame"`` (all features) or ``"cell"`` (the middle one); default: a frame in 1D, a cell in 2D.
        nonzero: whether every value but 0 is drawn as 1.
        step: the frame at which the impulse goes in.
        steps: frames of the input.
        features: rows of the input.
        alt: what the picture shows; default: a sentence made of the arguments.
        caption: one sentence below the picture.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: a convention that there is not.
        ValueError: ``step`` is not in the input, or ``dims`` is neither 1 nor 2.
    """
    names = {"regular": "regular", "strict": "causal", "block": "block-causal"}
    columns = [(d, c) for c in conventions for d in dims]
    side = {"regular": "energy on both sides"}
    comes = "; ".join(f"{names[c]}: {side.get(c, 'energy only from the impulse on')}" for c in conventions)
    alt = alt or (
        f"An impulse at frame {step} through {', '.join(map(str, layers))} all-ones layers, kernel {kernel_size}, "
        f"dilation {dilation}, stride {stride}: {comes}."
    )

    def draw(figure: Figure, width: int) -> None:
        grid = figure.subplots(len(layers) + 1, len(columns), sharex=True, squeeze=False)
        for column, (d, convention) in enumerate(columns):
            kind = impulse or ("frame" if d == 1 else "cell")
            for row, depth in enumerate([0, *layers]):
                stack = AllOnes(d, convention, depth, kernel_size, dilation, stride, features, steps)  # type: ignore[arg-type]
                axes = grid[row, column]
                out = _held(stack, as_array(stack.response(step, kind)))
                draw_heatmap(axes, out, "nonzero" if nonzero else "energy", steps, step, leaks=True)
                axes.set(yticks=[])
                if row == 0:
                    axes.set_title(
                        f"{names[convention]} {d}D" if width > 400 else f"{names[convention][:7]}\n{d}D", fontsize=12.5
                    )
                if column == 0:
                    axes.set_ylabel("input" if depth == 0 else f"{depth} layer{'s' if depth > 1 else ''}", fontsize=12)
            grid[-1, column].set_xticks([0, step, steps - 1] if width > 400 else [step])
        figure.supxlabel("time in frames", fontsize=13, color=LIGHT["muted"])

    return show(draw, alt=alt, caption=caption, height=80 + 92 * (len(layers) + 1))


def _held(stack: AllOnes, out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each output drawn from the frame in which it is known until the next one: all on the input's frames."""
    total, held = stack.stride**stack.layers, np.zeros((out.shape[0], stack.steps))
    for u in range(out.shape[1]):
        start = stack.frame_of(u)
        held[:, start : start + total] = out[:, u : u + 1]
    return held
