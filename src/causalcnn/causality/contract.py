"""``check_contract``: everything that a causal layer promises, verified on one layer and one input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from causalcnn.causality.copies import deepcopy_module
from causalcnn.causality.periods import preview
from causalcnn.causality.probes import measure_field
from causalcnn.field import Field
from causalcnn.nn.base import CausalModule

__all__ = ["ContractError", "ContractReport", "check_contract"]

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 5e-3}


class ContractError(AssertionError):
    """A layer breaks the contract. The message says which check failed, where, and by how much."""


@dataclass(frozen=True)
class ContractReport:
    """What :func:`causalcnn.check_contract` verified. It prints as a list of the checks.

    Attributes:
        layer: name of the layer's class.
        field: the receptive field that the layer declares.
        checks: what was verified, in words, one entry a check.
        largest_difference: the largest difference between a whole sequence and its pieces that was seen, relative to
            the largest number of the whole; within the tolerance of the dtype, or there would be no report.

    Example:
        >>> import torch
        >>> from causalcnn import CausalConv1d, check_contract
        >>> report = check_contract(CausalConv1d(1, 2, 3, dilation=2), torch.randn(2, 1, 24))
        >>> len(report.checks), report.largest_difference < 1e-5
        (9, True)
        >>> print(str(report).splitlines()[0])
        CausalConv1d keeps the contract: reads 5 frames: 4 frames of past; never looks ahead; touches 3, skips 2
    """

    layer: str
    field: Field
    checks: tuple[str, ...]
    largest_difference: float

    def __str__(self) -> str:
        lines = [f"{self.layer} keeps the contract: {self.field}"]
        lines += [f"  ok  {check}" for check in self.checks]
        return "\n".join([*lines, f"  largest relative difference: {self.largest_difference:.1e}"])


def check_contract(
    layer: CausalModule,
    x: Tensor,
    *,
    chunkings: Iterable[Sequence[int]] | None = None,
    gradients: bool = True,
    measure: bool = True,
    lookahead: int = 0,
) -> ContractReport:
    """Verify that a layer keeps the contract of causalcnn: whole = pieces, past only, field declared, rows independent.

    The checks, in this order: the field is declared and fits the convention; ``step`` is pure; a changed or missing
    future changes nothing before it; the whole sequence equals its pieces; the stream equals ``step``; rows are
    independent; a row can be reset; the declared field equals the measured one; use in eval mode changes nothing. What
    passes is shown for these weights and this example; the field alone is measured for any weights.

    The layer is not changed: everything runs on copies, in eval mode.

    Args:
        layer: anything with ``forward``, ``step``, ``initial_state``, ``stream``, ``reset_rows``, ``field`` and
            ``convention``.
        x: an example ``(batch, channels, time[, frequency])`` with at least 2 rows and 2 frames; some dozen frames
            are enough.
        chunkings: ways to cut it, each a list of lengths in frames that add up to ``time``; default: whole, frame by
            frame, uneven with empty pieces, and two halves.
        gradients: compare gradients too (of the input and of every parameter).
        measure: compare the declared field with the measured one (one backward pass per output).
        lookahead: how many frames the layer may declare to look ahead, for one that does so knowingly. By default none
            beyond its block. The rows of one that looks further cannot be reset, for the rows share the delay.

    Returns:
        A report that prints as a list of what was verified.

    Raises:
        ContractError: a check failed.
        ValueError: the example cannot show it (fewer than two rows or frames, an unknown dtype), a chunking does
            not add up to its frames, or the field cannot be measured.

    Example:
        >>> import torch
        >>> from causalcnn import CausalConv1d, check_contract
        >>> print(check_contract(CausalConv1d(1, 2, 3), torch.randn(2, 1, 24)).checks[0])
        declares its field before any data; strict, stride 1

        A layer that declares the wrong field is refused:

        >>> from causalcnn import Field
        >>> class Wrong(CausalConv1d):
        ...     field = Field.conv(2)
        >>> check_contract(Wrong(1, 2, 3), torch.randn(2, 1, 24))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        causalcnn.causality.contract.ContractError: Wrong: output (2,) reads {0, 1, 2}, its field says {1, 2}: ...
    """
    if x.dim() not in (3, 4) or x.shape[0] < 2 or x.shape[2] < 2:
        raise ValueError(
            f"the example has shape {tuple(x.shape)}; it must be (batch ≥ 2, channels, time ≥ 2[, frequency])"
        )
    if x.dtype not in TOLERANCE:
        raise ValueError(f"the example has dtype {x.dtype}; it must be one of {', '.join(map(str, TOLERANCE))}")
    check = _Check(layer, x.detach())
    cuts = list(chunkings) if chunkings is not None else default_chunkings(x.shape[2])
    check.field_and_convention(lookahead)
    check.step_is_pure()
    check.no_future()  # early: a leak also breaks much of the rest, and should be called a leak
    check.whole_equals_pieces(cuts, gradients)
    check.stream_equals_step(cuts)
    check.rows_are_independent()
    if check.field.lookahead <= check.within_block:
        check.rows_can_be_reset()
    if measure:
        check.field_is_as_measured()
    check.eval_changes_nothing()
    return ContractReport(type(layer).__name__, check.field, tuple(check.passed), check.largest)


def default_chunkings(frames: int) -> list[list[int]]:
    """Return ways to cut ``frames`` frames: whole, one by one, uneven with empty pieces, and two halves."""
    uneven, left = [], frames
    for size in itertools.cycle([0, 3, 1, 0, 5, 2]):
        if not left:
            break
        uneven.append(min(size, left))
        left -= uneven[-1]
    return [[frames], [1] * frames, [*uneven, 0], [frames // 2, frames - frames // 2]]


class _Check:
    """The state of one run of :func:`check_contract`: a copy of the layer, the example, and what has passed so far."""

    def __init__(self, layer: CausalModule, x: Tensor) -> None:
        self.original, self.x = layer, x
        self.before = {k: v.clone() for k, v in layer.state_dict().items()}
        self.layer = deepcopy_module(layer).eval()
        self.name = type(layer).__name__
        self.passed: list[str] = []
        self.largest = 0.0
        self.tolerance = TOLERANCE[x.dtype]

    def fail(self, message: str) -> None:
        raise ContractError(f"{self.name}: {message}")

    def compare(self, a: Tensor, b: Tensor, what: str) -> None:
        if a.shape != b.shape:
            self.fail(f"{what}: shapes {tuple(a.shape)} and {tuple(b.shape)} differ")
        if not a.numel():
            return
        scale = max(a.detach().abs().max().item(), torch.finfo(a.dtype).tiny)
        difference = (a.detach() - b.detach()).abs().max().item() / scale
        self.largest = max(self.largest, difference)
        if not difference <= self.tolerance:  # also catches NaN
            self.fail(f"{what}: they differ by {difference:.1e} relative; at most {self.tolerance:.0e} is rounding")

    def start(self) -> object:
        return self.layer.initial_state(self.x)

    # -------------------------------------------------------------- the checks
    def field_and_convention(self, lookahead: int) -> None:
        self.field, stride = self.layer.field, self.layer.field.stride
        if not isinstance(self.field, Field):
            self.fail(f"field is a {type(self.field).__name__}, not a causalcnn.Field")
        self.within_block = self.layer.convention.lookahead(self.field.advance[0])  # inputs in a block
        if self.field.lookahead > max(self.within_block, lookahead):
            self.fail(
                f"its field looks {self.field.lookahead} frames ahead, but the {self.layer.convention.value} "
                f"convention at stride {stride} allows {self.within_block}"
            )
        self.passed.append(f"declares its field before any data; {self.layer.convention.value}, stride {stride}")

    def run(self, x: Tensor, chunks: Sequence[int]) -> Tensor:
        if sum(chunks) != x.shape[2]:
            raise ValueError(f"the chunks {list(chunks)} add up to {sum(chunks)} frames, the example has {x.shape[2]}")
        state, pieces = self.start(), []
        for piece in torch.split(x, list(chunks), dim=2):
            y, state = self.layer.step(piece, state)
            pieces.append(y)
        return torch.cat(pieces, dim=2)

    def whole_equals_pieces(self, chunkings: Sequence[Sequence[int]], gradients: bool) -> None:
        parameters = [p for p in self.layer.parameters() if p.requires_grad]
        x = self.x.clone().requires_grad_(gradients)
        whole = self.layer(x)
        weight = torch.linspace(0.5, 1.5, whole.numel(), dtype=whole.dtype, device=whole.device).reshape(whole.shape)

        def derivatives(y: Tensor) -> list[Tensor | None]:
            return list(torch.autograd.grad((y * weight).sum(), [x, *parameters], allow_unused=True))

        reference = derivatives(whole) if gradients and whole.numel() else []
        for chunks in chunkings:
            pieces = self.run(x, chunks)
            self.compare(whole, pieces, f"the whole sequence and the pieces {list(chunks)}")
            if reference:
                for a, b in zip(reference, derivatives(pieces), strict=True):
                    if (a is None) != (b is None):
                        self.fail(f"a gradient exists for the whole sequence or for the pieces {list(chunks)} only")
                    if a is not None and b is not None:
                        self.compare(a, b, f"the gradients of the whole and of the pieces {list(chunks)}")
        kind = "values and gradients" if gradients else "values"
        self.passed.append(f"the whole sequence equals its pieces ({kind}, {len(chunkings)} ways to cut)")

    @torch.no_grad()
    def step_is_pure(self) -> None:
        empty = self.layer.initial_state(self.x[:, :, :0])
        for a, b in zip(pytree.tree_leaves(self.start()), pytree.tree_leaves(empty), strict=True):
            if a.dtype != b.dtype or not torch.equal(a, b):
                self.fail("initial_state() depends on the frames of the piece; it may read its shape, dtype and device")
        half = self.x.shape[2] // 2
        _, state = self.layer.step(self.x[:, :, :half], self.start())
        kept = pytree.tree_map(torch.clone, state)
        first, _ = self.layer.step(self.x[:, :, half:], state)
        for a, b in zip(pytree.tree_leaves(state), pytree.tree_leaves(kept), strict=True):
            if not torch.equal(a, b):
                self.fail("step() wrote into the state that it was given; it must return a new one")
        again, _ = self.layer.step(self.x[:, :, half:], kept)
        if not torch.equal(first, again):
            self.fail("step() gives other numbers when it is replayed from the same state: it keeps something inside")
        self.passed.append("step is pure and can be replayed")

    def stream_equals_step(self, chunkings: Sequence[Sequence[int]]) -> None:
        with torch.no_grad():
            whole = self.layer(self.x)
        for chunks in chunkings:
            stream = self.layer.stream()
            pieces = [stream(piece) for piece in torch.split(self.x, list(chunks), dim=2)]
            self.compare(whole, torch.cat(pieces, dim=2), f"the whole sequence and the stream of {list(chunks)}")
            if any(piece.requires_grad for piece in pieces):
                self.fail("the stream's outputs ask for gradients; a stream is for inference")
        half = self.x.shape[2] // 2
        stream = self.layer.stream()
        head = stream(self.x[:, :, :half])
        resumed = self.layer.stream(stream.state)
        pieces = [head, resumed(self.x[:, :, half:])]
        self.compare(whole, torch.cat(pieces, dim=2), "the whole sequence and a stream that was saved and resumed")
        try:
            self.layer.stream()(self.x.clone().requires_grad_())
        except RuntimeError:
            pass
        else:
            self.fail("the stream accepts an input that asks for gradients; it must refuse, it cannot give them")
        self.passed.append("the stream equals step, resumes, and refuses gradients")

    @torch.no_grad()
    def no_future(self) -> None:
        """Check that a future that is changed, or cut off, moves none of the outputs before it."""
        layer, x = deepcopy_module(self.layer).double(), self.x.double()
        stride, ahead = self.field.stride, self.field.lookahead
        whole = layer(x)
        for cut in sorted({1, x.shape[2] // 3, x.shape[2] // 2, x.shape[2] - 1}):
            # Outputs that read frames < cut only: u·stride + lookahead < cut. Those that read nothing but the past are
            # settled before their own frame is there, yet a layer gives no more outputs than it has been given frames.
            settled, given = (
                max(0, min(whole.shape[2], -int((last - cut) // stride))) for last in (ahead, max(0, ahead))
            )
            other = x.clone()
            other[:, :, cut:] = other[:, :, cut:].flip(2) * -3 + 1
            for name, y, count in (
                ("a changed future", layer(other), settled),
                ("a prefix", layer(x[:, :, :cut]), given),
            ):
                if y.shape[2] < count:
                    self.fail(f"from {cut} frames it returns {y.shape[2]} outputs; {count} of them are complete")
                gaps = (y[:, :, :count] - whole[:, :, :count]).abs().transpose(0, 2).flatten(1).amax(1).tolist()
                most = 1e-12 * max(1.0, whole.abs().max().item()) if name == "a prefix" else 0
                for output, gap in enumerate(gaps):
                    if not gap <= most:
                        self.fail(
                            f"{name} from frame {cut} on moves output {output} by {gap:.1e}, which must read earlier "
                            "frames only: a leak"
                        )
        self.passed.append("a changed or missing future changes nothing before it (float64, exact)")

    @torch.no_grad()
    def rows_are_independent(self) -> None:
        whole, other = self.layer(self.x), self.x.clone()
        other[0] = other[0] * -2 + 1
        if not torch.equal(self.layer(other)[1:], whole[1:]):
            self.compare(whole[1:], self.layer(other)[1:], "row 1 before and after a change of row 0")
        self.passed.append("rows of a batch are independent")

    @torch.no_grad()
    def rows_can_be_reset(self) -> None:
        block = max(1, self.field.advance[0])
        cut = self.x.shape[2] // 2 // block * block
        if not cut:
            return
        _, state = self.layer.step(self.x[:, :, :cut], self.start())
        y, _ = self.layer.step(self.x[:, :, cut:], self.layer.reset_rows(state, [0], self.x))
        kept, _ = self.layer.step(self.x[:, :, cut:], state)
        fresh, _ = self.layer.step(self.x[:, :, cut:], self.start())
        self.compare(fresh[:1], y[:1], "a row that was reset and one that starts")
        self.compare(kept[1:], y[1:], "the other rows before and after a reset")
        self.passed.append("a row can be reset at a block boundary, the others go on")

    def field_is_as_measured(self) -> None:
        measured = measure_field(self.layer, self.x)
        sizes = self.x.shape[2:]
        field = self.field.over(("time", "frequency")[: len(sizes)])
        within: range | tuple[range, range] = range(sizes[0])
        if len(sizes) > 1 and field.past == math.inf:  # an endless run holds every frequency there is
            within = range(sizes[0]), range(sizes[1])
        for output, found in measured.items():
            declared = field.inputs_of(output if len(output) > 1 else output[0], within=within)
            inside = declared
            if len(sizes) > 1:
                inside = frozenset(cell for cell in declared if 0 <= cell[1] < sizes[1])
            missed, unread = found - inside, inside - found
            # At the edges of the frequency axis a deep network reads its own padding: there a subset is right.
            if missed or (unread and inside == declared):
                self.fail(
                    f"output {output} reads {preview(found)}, its field says {preview(inside)}: "
                    f"undeclared {preview(missed)}, unread {preview(unread)}"
                )
        self.passed.append(f"the declared field equals the measured one ({len(measured)} outputs, as sets)")

    def eval_changes_nothing(self) -> None:
        after = self.layer.state_dict()
        if after.keys() != self.before.keys():
            self.fail(f"a stream left {sorted(after.keys() ^ self.before.keys())} in state_dict")
        for key, value in self.before.items():
            if not torch.equal(after[key], value):
                self.fail(f"eval() use changed {key!r}")
        self.passed.append("use in eval() changes nothing; no stream is left in state_dict")
