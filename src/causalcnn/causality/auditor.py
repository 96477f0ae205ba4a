"""``audit``: does this network look into the future? Structure, behaviour and rounding, told apart."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor, nn

from causalcnn.causality.behaviour import Behaviour, Runner, change_the_future, cut_in_pieces, cut_short
from causalcnn.causality.copies import copied
from causalcnn.causality.fitting import with_frames
from causalcnn.causality.numerics import removing_switch
from causalcnn.causality.report import AuditReport, Evidence, LeakError, Verdict
from causalcnn.causality.structure import Structure, find_culprit, follow
from causalcnn.causality.tracing import CannotTrace, counted_axis, trace
from causalcnn.nn.base import Convention

__all__ = ["assert_causal", "audit"]


def audit(
    module: nn.Module,
    example: Tensor | Sequence[int],
    *,
    mode: Literal["exact", "numerical"] = "exact",
    convention: str | Convention | None = None,
    time_axis: int = 2,
    most_frames: int = 512,
) -> AuditReport:
    """Say whether a network reads the future, how far, which submodule first, and whether it is only rounding.

    Two questions are answered apart. *Structure*, what any weights of this shape could do: dependencies are followed
    through the operations. *Behaviour*, what these weights do: the future is changed, or cut off, and the past
    compared bit by bit. The module is judged in the mode that it is in: batch normalisation in training leaks.

    Args:
        module: any module from ``(batch, channels, time[, frequency])`` to outputs with time on the same axis. It is
            not changed; everything runs on copies.
        example: an input, or its shape. 50 to 100 frames (for a strided network: outputs) are enough.
        mode: ``"exact"`` in float64 on the CPU; ``"numerical"`` on the device and in the dtype that the module is in,
            with the size of what leaks and the backend switch that removes it.
        convention: ``"strict"`` (output ``u`` reads inputs up to ``u·stride``) or ``"block"`` (up to the end of its
            own block). Default: what the module declares, else strict.
        time_axis: where time is, in the input and in the output; −1 is the last axis of the input.
        most_frames: the longest input on which the structure is followed.

    Returns:
        A report that prints as text and as HTML; ``report.passed`` is the answer for a program.

    Example:
        >>> report = audit(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 40))
        >>> report.verdict.value, report.lookahead, report.culprit
        ('looks ahead', 1, '')
    """
    if mode not in ("exact", "numerical"):
        raise ValueError(f"mode is {mode!r}; it must be 'exact' or 'numerical'")
    rule = Convention.of(convention or _declared(module))
    x = _example(module, example)
    if x.dim() < 3:
        raise ValueError(
            f"the example has shape {tuple(x.shape)}; an audit needs (batch, channels, time[, frequency]): where there "
            "are no channels, wrap the network in a module that puts an axis there and takes it away"
        )
    time_axis = counted_axis(x, time_axis)
    if x.shape[time_axis] < 4:
        raise ValueError(f"the example has {x.shape[time_axis]} frames on axis {time_axis}; an audit needs at least 4")
    twin = copied(module).to("cpu", torch.float64)
    x64 = x.detach().to("cpu", torch.float64)
    with _float64_by_default():
        found = follow(twin, x64, rule, time_axis, max(most_frames, min(x.shape[time_axis], 2 * most_frames)))
        evidence = [_structure_evidence(found)]
        case = _Case(twin, x64, rule, time_axis, found)
        seen, prefix = case.behave(evidence)
        rows_mix = case.rows(evidence)
        keeps = case.state(evidence)
        case.pieces(evidence)
        observed = seen.ahead if seen.change > case.rounding else 0
        verdict, ahead = _judge(found, observed, prefix)
        culprit, kind = case.culprit(verdict, prefix)
    rounding, remedy = seen.change if 0 < seen.change <= case.rounding else None, None
    if mode == "numerical":
        rounding, remedy = _numerical(module, x, rule, time_axis, found, verdict, evidence)
    return AuditReport(
        network=type(module).__name__,
        verdict=verdict,
        lookahead=ahead,
        observed=observed,
        frames=found.ahead,
        culprit=culprit,
        kind=kind,
        convention=rule.value,
        stride=float(found.stride),
        mode=mode,
        rounding=rounding,
        remedy=remedy,
        rows_mix=rows_mix,
        keeps_state=keeps,
        receptive_field=found.field,
        evidence=tuple(evidence),
    )


def assert_causal(module: nn.Module, example: Tensor | Sequence[int], **options: object) -> AuditReport:
    """For test suites: the report of :func:`audit`, or a :class:`LeakError` that carries it.

    Raises:
        LeakError: the network looks ahead, mixes rows, keeps state between calls, or could not be shown to be causal.
    """
    report = audit(module, example, **options)  # type: ignore[arg-type]
    if not report.passed:
        raise LeakError(str(report))
    return report


@contextlib.contextmanager
def _float64_by_default() -> Iterator[None]:
    """For a forward that makes tensors of its own, the first state of a GRU say: they must suit a float64 copy."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _declared(module: nn.Module) -> Convention:
    """The convention that a module states; strict where it has none, or says that it keeps none."""
    try:
        declared = getattr(module, "convention", None)
    except (ValueError, NotImplementedError):  # as the centred LogMel does
        declared = None
    return declared if isinstance(declared, Convention) else Convention.STRICT


def _parameter(module: nn.Module) -> nn.Parameter | None:
    """A parameter whose device and dtype are the module's."""
    return next((p for p in module.parameters() if p.is_floating_point()), None)


def _example(module: nn.Module, example: Tensor | Sequence[int]) -> Tensor:
    """An input with two rows at least; a shape is filled with noise."""
    if not isinstance(example, Tensor):
        parameter = _parameter(module)
        generator = torch.Generator().manual_seed(0)
        example = torch.randn(tuple(example), generator=generator)
        if parameter is not None:
            example = example.to(parameter.device, parameter.dtype)
    if not example.is_floating_point():
        raise ValueError(f"the example is {example.dtype}; an audit changes its numbers and needs floating point")
    if example.shape[0] < 2:
        example = torch.cat([example, example.flip(-1) * 0.5])
    return example


def _structure_evidence(found: Structure) -> Evidence:
    misses = "what happens only at one particular frame, beyond the inputs that were tried"
    name = "structure (any weights)"
    if found.seen is None:
        return Evidence(name, None, found.problem, "everything here")
    if found.lookahead > 0:
        count = len(found.ahead)
        worst = "without end" if found.lookahead == math.inf else f"up to {found.lookahead} frames"
        return Evidence(name, False, f"{count} of {found.seen.frames[1]} outputs read ahead, {worst}", misses)
    if not found.certain:
        return Evidence(name, None, f"no read ahead in {found.seen.frames[0]} frames, but {found.problem}", misses)
    what = str(found.field) if found.field is not None else f"no output of {found.seen.frames[1]} reads ahead"
    return Evidence(name, True, what, misses)


def _judge(found: Structure, observed: float, prefix: Behaviour) -> tuple[Verdict, float]:
    if found.lookahead > 0:
        return Verdict.LOOKS_AHEAD, found.lookahead
    if observed:  # the structure was not seen, or not all of it
        return Verdict.LOOKS_AHEAD, observed
    if prefix.ahead:
        return Verdict.LOOKS_AHEAD, math.inf
    return (Verdict.CAUSAL, 0) if found.certain else (Verdict.UNKNOWN, math.nan)


class _Case:
    """One network under audit: float64, on the CPU, in the mode in which it was given."""

    def __init__(self, module: nn.Module, x: Tensor, rule: Convention, time_axis: int, found: Structure) -> None:
        self.module, self.x, self.rule, self.time_axis, self.found = module, x, rule, time_axis, found
        self.run = Runner(module, time_axis)
        self.rounding = self.run.rounding(x[:1])
        self.stride: Fraction | None = found.stride if found.seen is not None else None

    def behave(self, evidence: list[Evidence]) -> tuple[Behaviour, Behaviour]:
        reach = max(1, self.found.lookahead)
        seen = change_the_future(self.run, self.x[:1], self.rule, self.time_axis, self.stride, reach)
        said = "no output before it changed, bit by bit"
        if seen.ahead:
            said = f"outputs up to {seen.ahead} frames before it changed, by {seen.change:.1e} relative"
        small = seen.ahead > 0 and seen.change <= self.rounding
        evidence.append(
            Evidence(
                f"changed future (these weights, {seen.runs} runs)",
                None if small else not seen.ahead,
                said + (": rounding" if small else ""),
                "a closed gate, a weight that is zero, an argmin that did not flip",
            )
        )
        if self.run.draws(self.x[:1]):
            said = "not asked: the network draws random numbers, and for another length it draws others"
            evidence.append(Evidence("recording cut short", None, said, "everything here"))
            return seen, Behaviour(0, 0.0, 0)
        prefix = cut_short(self.run, self.x[:1], self.rule, self.time_axis, self.stride, self.rounding)
        said = f"its outputs are the same up to {prefix.change:.1e} relative"
        if prefix.ahead:
            said = f"outputs up to {prefix.ahead} frames before the end differ, by {prefix.change:.1e} relative"
        evidence.append(
            Evidence(
                f"recording cut short ({prefix.runs} lengths)",
                None if not prefix.runs else not prefix.ahead,
                said if prefix.runs else "every shorter input was too short for the network",
                "as above; and another length may select another kernel, so that rounding is allowed",
            )
        )
        return seen, prefix

    def rows(self, evidence: list[Evidence]) -> bool:
        whole, other = self.run(self.x), self.x.clone()
        other[0] = other[0] * -2 + 1
        gap = (self.run(other)[1:] - whole[1:]).abs().max().item() if whole.shape[0] > 1 and whole.numel() else 0.0
        behaviour = gap > self.rounding * (whole.abs().max().item() or 1.0)
        structure: bool | None = None
        if self.found.seen is not None:
            frames = min(self.found.seen.frames[0], max(24, 3 * int(self.found.stride)))
            try:
                small = with_frames(self.x[:2], frames, self.time_axis)
                structure = trace(self.module, small, time_axis=self.time_axis, rows=True).rows_mix
            except (CannotTrace, RuntimeError, ValueError):
                structure = None
        mix = bool(structure) or behaviour
        said = "a row reads another" if mix else "no row reads another"
        misses = "without the structure: as for the changed future" if structure is None else "nothing that is known"
        evidence.append(Evidence("rows of a batch", not mix, said, misses))
        return mix

    def state(self, evidence: list[Evidence]) -> bool:
        shared = copied(self.module)
        first = self.run(self.x, shared)
        self.run(self.x * -1 + 0.5, shared)
        again = self.run(self.x, shared)
        kept = first.shape != again.shape or not torch.equal(first.nan_to_num(), again.nan_to_num())
        said = "the same input gives another output the second time" if kept else "the same input, the same output"
        evidence.append(Evidence("called twice", not kept, said, "state that only another input would show"))
        return kept

    def pieces(self, evidence: list[Evidence]) -> None:
        gap = cut_in_pieces(self.module, self.x) if self.time_axis == 2 else None
        if gap is not None:
            good = gap <= 1e-12
            said = f"the whole and uneven pieces through step() agree to {gap:.1e} relative"
            evidence.append(Evidence("uneven pieces", good or None, said, "a look-ahead that step() has too"))

    def culprit(self, verdict: Verdict, prefix: Behaviour) -> tuple[str | None, str]:
        if verdict is not Verdict.LOOKS_AHEAD:
            return None, ""
        if self.found.seen is None:
            return None, "not located: the operations could not be followed"
        if not self.found.ahead:
            length = "not located: something is computed from the length of the recording"
            return None, length if prefix.ahead else "not located: no operation on the inputs that were tried"
        x = with_frames(self.x[:1], self.found.leaking_frames, self.time_axis)
        named = find_culprit(self.module, x, self.rule, self.time_axis)
        return named if named is not None else (None, "not located")


def _numerical(
    module: nn.Module, x: Tensor, rule: Convention, time_axis: int, found: Structure, verdict: Verdict,
    evidence: list[Evidence],
) -> tuple[float | None, str | None]:  # fmt: skip
    """Where the structure is clean: what leaks on the user's device, and which switch stops it."""
    parameter = _parameter(module)
    if parameter is not None:
        x = x.to(parameter.device, parameter.dtype)
    run = Runner(module, time_axis)
    stride = found.stride if found.seen is not None else None
    seen = change_the_future(run, x, rule, time_axis, stride)
    where = f"{x.device.type}, {str(x.dtype).removeprefix('torch.')}"
    misses = "kernels that other shapes, batches or libraries would select"
    if not seen.ahead:
        evidence.append(Evidence(f"changed future on {where}", True, "no output before it changed", misses))
        return None, None
    if verdict is not Verdict.CAUSAL:
        said = f"outputs before it changed by {seen.change:.1e} relative"
        evidence.append(Evidence(f"changed future on {where}", False, said, misses))
        return None, None
    switch, left = removing_switch(x.device.type, lambda: change_the_future(run, x, rule, time_axis, stride).change)
    said = f"outputs before it changed by {seen.change:.1e} relative: rounding, the structure is causal"
    evidence.append(Evidence(f"changed future on {where}", None, said, misses))
    for name, rest in left.items():
        evidence.append(Evidence(name, rest == 0 or None, f"{rest:.1e} relative remain", misses))
    return seen.change, switch
