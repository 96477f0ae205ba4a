"""The stack explorer: what stacks of causal convolutions read together, and by how many paths."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from causalcnn.field import Field
from causalcnn_book.explorer import Explorer, traitlets

if TYPE_CHECKING:
    from causalcnn.nn import CausalModule

__all__ = ["StackExplorer"]

PLACES = (1, 2, 3, 4)
CONTROLS = {"stacks": "choice", "combine": "choice"}
CONTROLS |= {f"{what}_{i}": "slider" for i in PLACES for what in ("kernel", "dilation")}
CONTROLS |= {"second": "slider", "blocks": "slider", "residual": "switch"}
READOUTS = ("size", "num_inputs", "holes", "parameters", "paths", "present")


class StackExplorer(Explorer):
    """Stacks of pre-layer, residual blocks and output layer, side by side: which frames do they read together?

    The reader chooses an output, and how many stacks there are, of which kernel and dilation, and how they are
    combined. Below the frames stands the gradient of the chosen output at each of them, for all-ones weights and open
    activations: the number of paths that lead there, exactly.

    :meth:`read` gives the paths that lead to one output: of ``each`` stack alone and of all ``together``, by age
    (``each[0][3]`` paths of the first stack start three frames ago); and what follows from them: ``past``, ``size``,
    ``num_inputs`` and ``holes`` in frames, ``paths`` in all, those that start in the ``present`` frame, and the number
    of ``parameters``. Tests compare them with :attr:`field` and with the gradients and the weights of :meth:`network`.

    Attributes:
        name: the figure's name in the page's address.
        stacks: how many, 1 … 4.
        kernel_1: taps of every convolution of the first stack, 2 … 7.
        kernel_2: taps of every convolution of the second stack, 2 … 7.
        kernel_3: taps of every convolution of the third stack, 2 … 7.
        kernel_4: taps of every convolution of the fourth stack, 2 … 7.
        dilation_1: frames between the taps of every convolution of the first stack, 1 … 4.
        dilation_2: the same of the second stack.
        dilation_3: the same of the third stack.
        dilation_4: the same of the fourth stack.
        second: dilation of the second convolution of every block, 1 … 4; 0: the stack's own.
        blocks: residual blocks of two convolutions in each stack, 0 … 5.
        combine: ``"add"``, ``"concat"`` or ``"every_layer"``, see :class:`causalcnn.nn.MultiStackEncoder`.
        residual: whether the blocks have their skip.
        ends: whether a stack has its pre-layer and its output layer.
        at: the chosen output, in frames; 0 is where the figure begins.
        rate_hz: frames a second (Hz), above 0.
        channels: features of every layer, for the number of parameters; at least 1.
        controls: controls on display, any of ``stacks, combine, kernel_1, dilation_1, …, second, blocks, residual``;
            default: all but ``second``.
        readouts: numbers on display, any of ``size, num_inputs, holes, parameters, paths, present``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn_book.residual_blocks import StackExplorer
        >>> two = StackExplorer(stacks=2, dilation_2=3, channels=4)
        >>> two.read()["size"], int(two.network().field.size)
        (25, 25)
        >>> two.read()["parameters"], sum(parameter.numel() for parameter in two.network().parameters())
        (416, 416)
    """

    _module: ClassVar[str] = "residual_blocks/stack_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("stacks").tag(sync=True)
    stacks = traitlets.Int(2, min=1, max=4).tag(sync=True)
    kernel_1 = traitlets.Int(3, min=2, max=7).tag(sync=True)
    kernel_2 = traitlets.Int(3, min=2, max=7).tag(sync=True)
    kernel_3 = traitlets.Int(5, min=2, max=7).tag(sync=True)
    kernel_4 = traitlets.Int(5, min=2, max=7).tag(sync=True)
    dilation_1 = traitlets.Int(1, min=1, max=4).tag(sync=True)
    dilation_2 = traitlets.Int(3, min=1, max=4).tag(sync=True)
    dilation_3 = traitlets.Int(1, min=1, max=4).tag(sync=True)
    dilation_4 = traitlets.Int(3, min=1, max=4).tag(sync=True)
    second = traitlets.Int(0, min=0, max=4).tag(sync=True)
    blocks = traitlets.Int(1, min=0, max=5).tag(sync=True)
    combine = traitlets.Enum(("add", "concat", "every_layer"), "add").tag(sync=True)
    residual = traitlets.Bool(True).tag(sync=True)
    ends = traitlets.Bool(True).tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)
    rate_hz = traitlets.Float(100.0, min=1e-3).tag(sync=True)
    channels = traitlets.Int(64, min=1).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), [key for key in CONTROLS if key != "second"]).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), [*CONTROLS, "at"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Frames over time, one strip for each stack and one for all together: frames that the chosen output "
        "reads are filled, skipped ones crossed out, the future is hatched. Below, bars for the gradient."
    ).tag(sync=True)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Kernel size and dilation of each stack on display."""
        return [(getattr(self, f"kernel_{i}"), getattr(self, f"dilation_{i}")) for i in PLACES[: self.stacks]]

    def _levels(self, kernel: int, dilation: int) -> list[tuple[int, ...]]:
        """The dilations of the convolutions on each level of one stack: one, or the two of a block."""
        end = [(dilation,)] if self.ends else []
        return [*end, *[(dilation, self.second or dilation)] * self.blocks, *end]

    @property
    def field(self) -> Field:
        """The field of all stacks together, in the present state, in frames."""
        stacks = [
            [self._level_field(kernel, dilations) for dilations in self._levels(kernel, dilation)]
            for kernel, dilation in self.pairs
        ]
        if self.combine == "every_layer":
            stacks = [[reduce(Field.__or__, level) for level in zip(*stacks, strict=True)]]
        return reduce(Field.__or__, (reduce(Field.then, stack, Field.identity()) for stack in stacks)).with_rate(
            self.rate_hz
        )

    def _level_field(self, kernel: int, dilations: tuple[int, ...]) -> Field:
        body = reduce(Field.then, (Field.conv(kernel, dilation=dilation) for dilation in dilations))
        return body | Field.identity() if self.residual and len(dilations) == 2 else body

    def network(self, channels: int | None = None) -> CausalModule:
        """Build the stacks as a network of causalcnn, with random weights.

        Args:
            channels: features throughout; default: the figure's.

        Returns:
            The network, ``(batch, channels, time)`` → ``(batch, channels, time)``.
        """
        from torch import nn

        from causalcnn.nn import CausalConv1d, CausalSequential, Parallel, Residual

        width = self.channels if channels is None else channels

        def level(kernel: int, dilations: tuple[int, ...]) -> CausalModule:
            convolutions = [CausalConv1d(width, width, kernel, dilation=dilation) for dilation in dilations]
            if len(convolutions) == 1:
                return convolutions[0]
            body = (nn.ReLU(), convolutions[0], nn.ReLU(), convolutions[1])
            return Residual(*body) if self.residual else CausalSequential(*body)

        stacks = [[level(k, dilations) for dilations in self._levels(k, d)] for k, d in self.pairs]
        if self.combine == "every_layer":
            return CausalSequential(*(Parallel(*parts) for parts in zip(*stacks, strict=True)))
        together = [CausalSequential(*parts) for parts in stacks]
        if self.combine == "add":
            return Parallel(*together)
        return CausalSequential(Parallel(*together, combine="concat"), CausalConv1d(width * len(stacks), width, 1))

    @override
    def static(self) -> str:
        text, place = super().static(), '<div class="cc-place cc-place-slider"></div>'
        # Sliders of stacks that are not there take no place.
        unseen = sum(f"{what}_{i}" in self.controls for i in PLACES[self.stacks :] for what in ("kernel", "dilation"))
        return text.replace(place, "", unseen)
