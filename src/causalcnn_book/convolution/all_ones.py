"""What comes out of a stack of all-ones convolutions when an impulse goes in, and the gradient of one output.

The stacks of the book's first pictures: every weight is one, there is no bias, nothing is learnt. The
response then counts paths: a value of 6 means that six ways lead from the impulse to that output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AllOnes", "Padding"]

Padding = Literal["strict", "block", "regular"]


@dataclass(frozen=True)
class AllOnes:
    """A stack of all-ones convolutions over a picture of ``features`` × ``steps``.

    Attributes:
        dims: 1 convolves over time alone and sums over all features (``features`` maps in, as many out); 2 convolves
            over time and frequency, one map, frequency padded to keep its size.
        convention: ``"strict"`` or ``"block"`` causal, or ``"regular"``: padded on both sides, where an
            odd number of zeros has its spare one on the right, as in torch's ``padding="same"``.
        layers: how many; 0 gives back the input.
        kernel_size: taps of every layer, along time and along frequency.
        dilation: frames between the taps of every layer; along frequency it is 1.
        stride: frames from one output of a layer to the next; along frequency it is 1.
        features: rows of the input.
        steps: frames of the input.

    Raises:
        ValueError: ``dims`` or ``convention`` is none of these.

    Example:
        >>> from causalcnn_book.convolution import AllOnes
        >>> AllOnes(layers=2, steps=7, features=1).response(3)[0].tolist()
        [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 2.0]
    """

    dims: Literal[1, 2] = 1
    convention: Padding = "strict"
    layers: int = 1
    kernel_size: int = 3
    dilation: int = 1
    stride: int = 1
    features: int = 15
    steps: int = 41

    def __post_init__(self) -> None:
        if self.dims not in (1, 2):
            raise ValueError(f"dims is {self.dims}; it is 1 (over time) or 2 (over time and frequency)")
        if self.convention not in ("strict", "block", "regular"):
            raise ValueError(f"convention is {self.convention!r}; it is 'strict', 'block' or 'regular'")

    def _pads(self) -> tuple[int, int]:
        reach = (self.kernel_size - 1) * self.dilation
        left = {"strict": reach, "block": reach - (self.stride - 1), "regular": reach // 2}[self.convention]
        return left, reach - left if self.convention == "regular" else 0

    def __call__(self, x: Tensor) -> Tensor:
        """Run the stack.

        Args:
            x: ``(batch, features, steps)``, any number of steps.

        Returns:
            ``(batch, features, outputs)``; no outputs where there are too few steps for one complete block.
        """
        from torch.nn import functional

        left, right = self._pads()
        for _ in range(self.layers):
            if x.shape[-1] + left + right <= (self.kernel_size - 1) * self.dilation:
                return x[..., :0]  # too few steps for one complete block
            x = functional.pad(x, (left, right))
            if self.dims == 1:
                ones = x.new_ones(self.features, self.features, self.kernel_size)
                x = functional.conv1d(x, ones, stride=self.stride, dilation=self.dilation)
                continue
            spare = self.kernel_size - 1
            x = functional.pad(x, (0, 0, spare // 2, spare - spare // 2))
            ones = x.new_ones(1, 1, self.kernel_size, self.kernel_size)
            x = functional.conv2d(x[:, None], ones, stride=(1, self.stride), dilation=(1, self.dilation))[:, 0]
        return x

    def impulse(self, step: int, kind: Literal["frame", "cell"] = "frame") -> Tensor:
        """Make the input of an impulse.

        Args:
            step: the frame at which it goes in, from 0.
            kind: ``"frame"``: one in every feature; ``"cell"``: one in the middle feature.

        Returns:
            ``(features, steps)``, float64, zeros but for the impulse.

        Raises:
            ValueError: ``step`` is not in the input.
        """
        import torch

        x = torch.zeros(self.features, self.steps, dtype=torch.float64)
        if not 0 <= step < self.steps:
            raise ValueError(f"step is {step}; the input has the steps 0 … {self.steps - 1}")
        x[slice(None) if kind == "frame" else self.features // 2, step] = 1
        return x

    def response(self, step: int, kind: Literal["frame", "cell"] = "frame") -> Tensor:
        """Compute what comes out for an impulse.

        Args:
            step: the frame at which it goes in, from 0.
            kind: ``"frame"``: one in every feature; ``"cell"``: one in the middle feature.

        Returns:
            ``(features, outputs)``, float64.

        Raises:
            ValueError: ``step`` is not in the input.
        """
        return self(self.impulse(step, kind)[None])[0]

    def gradient(self, output: int) -> Tensor:
        """Compute the gradient of one output step, the sum of all its features, at the input.

        Args:
            output: the output step, counted from 0.

        Returns:
            ``(features, steps)``, float64.

        Raises:
            ValueError: there is no such output step.
        """
        import torch

        x = torch.zeros(1, self.features, self.steps, dtype=torch.float64, requires_grad=True)
        y = self(x)
        if not 0 <= output < y.shape[-1]:
            raise ValueError(f"output is {output}; there are the output steps 0 … {y.shape[-1] - 1}")
        return torch.autograd.grad(y[..., output].sum(), x)[0][0]

    def frame_of(self, output: int) -> int:
        """Find the input step at which an output is known: ``output·stride``, or the end of its block.

        Args:
            output: the output step, counted from 0.

        Returns:
            The input step, from 0.
        """
        total = self.stride**self.layers
        return output * total + (total - 1 if self.convention == "block" else 0)
