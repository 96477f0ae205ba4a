"""``audit``: does this network look into the future? Structure, behaviour and rounding are judged separately.

An audit asks the same question in several ways, because each way can be deceived:

* *Structure* (:mod:`causalcnn.causality.static`): which inputs do the operations read, whatever the weights are?
* *Behaviour* (:mod:`causalcnn.causality.dynamic`): do outputs of these weights move when later inputs change, or when
  the recording ends earlier?
* *Rows and calls*: does one row of a batch read another, and does one call change the next?
* *Rounding* (:mod:`causalcnn.causality.numerics`): on the user's device and in its dtype, does the past still move?

``_judge`` combines the first two into the verdict; what each verdict proves is said at
:class:`causalcnn.causality.Verdict`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor, nn

from causalcnn.causality.copies import deepcopy_module
from causalcnn.causality.dynamic import PerturbationResult, Runner, compare_chunks, perturb_future, truncate
from causalcnn.causality.inputs import floating_parameter, make_example, positive_axis, with_frames
from causalcnn.causality.numerics import removing_switch
from causalcnn.causality.report import AuditReport, Evidence, LeakError, Verdict
from causalcnn.causality.static import StaticResult, analyze, first_leaking_module
from causalcnn.causality.tracing import CannotTrace, trace
from causalcnn.nn.base import Convention

__all__ = ["assert_causal", "audit"]


def audit(
    module: nn.Module,
    example: Tensor | Sequence[int],
    *,
    mode: Literal["exact", "numerical"] = "exact",
    convention: str | Convention | None = None,
    time_axis: int = 2,
    max_frames: int = 512,
) -> AuditReport:
    """Say whether a network reads the future, how far, which submodule first, and whether it is only rounding.

    Two questions are answered apart. *Structure*, what any weights of this shape could do: dependencies are followed
    through the operations. *Behaviour*, what these weights do: the future is changed, or cut off, and the past is
    compared bit by bit. The verdict is one of three, and :class:`causalcnn.causality.Verdict` says what each of them
    proves and what it does not.

    The module is judged in the mode that it is in, ``train()`` or ``eval()``: batch normalisation reads all frames in
    training and one frame in ``eval()``. It is not changed; everything runs on copies. An error that the network
    itself raises on the example is passed on.

    A network that is accused is told by what: ``culprit`` and ``kind`` name the submodule and its fault, ``evidence``
    holds every probe with its finding. Where ``frames`` names outputs although ``observed`` is 0, these weights hide
    the leak, and no measurement of them will find it. Only the first leak is named: mend it and audit again.

    Args:
        module: any module from ``(batch, channels, time[, frequency])`` to outputs with time on the same axis. Where it
            returns several tensors, the first one is judged.
        example: an input in floating point, ``(batch, channels, time[, frequency])``, or the shape of one, which is
            then filled with seeded noise. 50 to 100 frames are enough; a strided network needs so many outputs.
        mode: ``"exact"`` judges in float64 on the CPU; ``"numerical"`` also runs the network on the device and in the
            dtype that it is in, and reports the size of what leaks there and the backend switch that removes it.
        convention: ``"strict"`` (output ``u`` reads inputs up to ``u·stride``) or ``"block"`` (up to the end of its
            own block, ``(u + 1)·stride - 1``). Default: what the module declares, else strict.
        time_axis: where time is, in the input and in the output; −1 is the last axis of the input.
        max_frames: the longest input, in frames, on which the structure is followed; up to 4,096 are tried where a
            strided network has too few outputs.

    Returns:
        A report that prints as text and as HTML; ``report.passed`` is the answer for a program.

    Raises:
        ValueError: an unknown ``mode`` or ``convention``; an example that is not floating point, has fewer than three
            axes, fewer than 4 frames or no axis ``time_axis``; or a network that returns no tensor with that axis.

    Example:
        >>> from torch import nn
        >>> from causalcnn import CausalConv1d, audit
        >>> past_only = nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(1, 1, 3))
        >>> report = audit(past_only, (1, 1, 40))
        >>> report.verdict.value, report.passed, str(report.receptive_field)
        ('causal', True, 'reads 3 frames: 2 frames of past; never looks ahead')

        A symmetric convolution between causal layers is found and named:

        >>> report = audit(nn.Sequential(CausalConv1d(1, 4, 3), nn.Conv1d(4, 4, 3, padding=1)), (1, 1, 40))
        >>> report.verdict.value, report.lookahead, report.culprit
        ('looks ahead', 1, '1')
        >>> report.kind
        'Conv1d: a convolution whose window lies ahead; its padding does not fit'
    """
    if mode not in ("exact", "numerical"):
        raise ValueError(f"mode is {mode!r}; it must be 'exact' or 'numerical'")
    rule = Convention.of(convention or _declared(module))
    x = _two_rows(example if isinstance(example, Tensor) else make_example(module, example, noise=True))
    if x.dim() < 3:
        raise ValueError(
            f"the example has shape {tuple(x.shape)}; an audit needs (batch, channels, time[, frequency]): where there "
            "are no channels, wrap the network in a module that puts an axis there and takes it away"
        )
    time_axis = positive_axis(x, time_axis)
    if x.shape[time_axis] < 4:
        raise ValueError(f"the example has {x.shape[time_axis]} frames on axis {time_axis}; an audit needs at least 4")
    exact = deepcopy_module(module).to("cpu", torch.float64)
    x64 = x.detach().to("cpu", torch.float64)
    with _float64_by_default():
        static = analyze(exact, x64, rule, time_axis, max(max_frames, min(x.shape[time_axis], 2 * max_frames)))
        case = _Case(exact, x64, rule, time_axis, static)
        changed, of_changed = case.changed_future()
        truncated, of_truncated = case.cut_short()
        rows_mix, of_rows = case.rows()
        keeps_state, of_state = case.called_twice()
        evidence = [_static_evidence(static), of_changed, of_truncated, of_rows, of_state, *case.uneven_pieces()]
        observed = changed.ahead if changed.change > case.rounding else 0
        verdict, ahead = _judge(static, observed, truncated)
        culprit, kind = case.culprit(verdict, truncated)
    rounding, remedy = changed.change if 0 < changed.change <= case.rounding else None, None
    if mode == "numerical":
        rounding, remedy, more = _numerical(module, x, rule, time_axis, static, verdict)
        evidence += more
    return AuditReport(
        network=type(module).__name__,
        verdict=verdict,
        lookahead=ahead,
        observed=observed,
        frames=static.ahead,
        culprit=culprit,
        kind=kind,
        convention=rule.value,
        stride=float(static.stride),
        mode=mode,
        rounding=rounding,
        remedy=remedy,
        rows_mix=rows_mix,
        keeps_state=keeps_state,
        receptive_field=static.field,
        evidence=tuple(evidence),
    )


def assert_causal(module: nn.Module, example: Tensor | Sequence[int], **options: object) -> AuditReport:
    """Assert in a test suite that a network is causal: return the report of :func:`causalcnn.audit`, or raise it.

    Passing means more than the verdict *causal*: rows of a batch must also be independent, and nothing may be kept from
    one call to the next (:attr:`causalcnn.AuditReport.passed`). A network that could not be followed does not pass.

    Args:
        module: any module from ``(batch, channels, time[, frequency])`` to outputs with time on the same axis.
        example: an input in floating point, ``(batch, channels, time[, frequency])``, or its shape.
        **options: the other arguments of :func:`causalcnn.audit`: ``mode``, ``convention``, ``time_axis``,
            ``max_frames``.

    Returns:
        The report, with ``report.passed`` true.

    Raises:
        LeakError: the network looks ahead, mixes rows, keeps state between calls, or could not be shown to be causal.
            Its message is the report as text.
        ValueError: the example or an option does not fit, as for :func:`causalcnn.audit`.

    Example:
        >>> from causalcnn import CausalConv1d, assert_causal
        >>> print(assert_causal(CausalConv1d(1, 4, 3, dilation=2), (1, 1, 40)).receptive_field)
        reads 5 frames: 4 frames of past; never looks ahead; touches 3, skips 2
    """
    report = audit(module, example, **options)  # type: ignore[arg-type]
    if not report.passed:
        raise LeakError(str(report))
    return report


@contextlib.contextmanager
def _float64_by_default() -> Iterator[None]:
    """Make float64 the default dtype: what a forward creates itself, a first state for example, must suit the copy."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _declared(module: nn.Module) -> Convention:
    """Return the convention that a module states; strict where it has none, or says that it keeps none."""
    try:
        declared = getattr(module, "convention", None)
    except (ValueError, NotImplementedError):  # as the centred LogMel does
        declared = None
    return declared if isinstance(declared, Convention) else Convention.STRICT


def _two_rows(x: Tensor) -> Tensor:
    """Return the example with at least two rows, so that one of them could read the other."""
    if not x.is_floating_point():
        raise ValueError(f"the example is {x.dtype}; an audit changes its numbers and needs floating point")
    return x if x.shape[0] >= 2 else torch.cat([x, x.flip(-1) * 0.5])


def _static_evidence(static: StaticResult) -> Evidence:
    misses = "what happens only at one particular frame, beyond the inputs that were tried"
    name = "structure (any weights)"
    if static.seen is None:
        return Evidence(name, None, static.problem, "everything here")
    frames, outputs = static.seen.frames
    if static.lookahead > 0:
        worst = "without end" if static.lookahead == math.inf else f"up to {static.lookahead} frames"
        return Evidence(name, False, f"{len(static.ahead)} of {outputs} outputs read ahead, {worst}", misses)
    if not static.certain:
        return Evidence(name, None, f"no read ahead in {frames} frames, but {static.problem}", misses)
    what = str(static.field) if static.field is not None else f"no output of {outputs} reads ahead"
    return Evidence(name, True, what, misses)


def _judge(static: StaticResult, observed: float, truncated: PerturbationResult) -> tuple[Verdict, float]:
    if static.lookahead > 0:
        return Verdict.LOOKS_AHEAD, static.lookahead
    if observed:  # the operations could not be followed, or not all of them
        return Verdict.LOOKS_AHEAD, observed
    if truncated.ahead:
        return Verdict.LOOKS_AHEAD, math.inf
    return (Verdict.CAUSAL, 0) if static.certain else (Verdict.UNKNOWN, math.nan)


class _Case:
    """One network under audit: a float64 copy on the CPU, in the mode in which it was given.

    Each probe returns what it found, with its evidence.
    """

    def __init__(self, module: nn.Module, x: Tensor, rule: Convention, time_axis: int, static: StaticResult) -> None:
        self.module, self.x, self.rule, self.time_axis, self.static = module, x, rule, time_axis, static
        self.run = Runner(module, time_axis)
        self.rounding = self.run.rounding(x[:1])
        self.stride: Fraction | None = static.stride if static.seen is not None else None

    def changed_future(self) -> tuple[PerturbationResult, Evidence]:
        """Ask whether a changed future changes the past."""
        reach = max(1, self.static.lookahead)
        seen = perturb_future(self.run, self.x[:1], self.rule, self.time_axis, self.stride, reach)
        result = "no output before it changed, bit by bit"
        if seen.ahead:
            result = f"outputs up to {seen.ahead} frames before it changed, by {seen.change:.1e} relative"
        is_rounding = seen.ahead > 0 and seen.change <= self.rounding
        return seen, Evidence(
            f"changed future (these weights, {seen.runs} runs)",
            None if is_rounding else not seen.ahead,
            result + (": rounding" if is_rounding else ""),
            "a closed gate, a weight that is zero, an argmin that did not flip",
        )

    def cut_short(self) -> tuple[PerturbationResult, Evidence]:
        """Ask whether a recording that ends early has the same outputs as far as it goes."""
        if self.run.is_stochastic(self.x[:1]):
            result = "not asked: the network draws random numbers, and for another length it draws others"
            return PerturbationResult(0, 0.0, 0), Evidence("recording cut short", None, result, "everything here")
        seen = truncate(self.run, self.x[:1], self.rule, self.time_axis, self.stride, self.rounding)
        result = f"its outputs are the same up to {seen.change:.1e} relative"
        if seen.ahead:
            result = f"outputs up to {seen.ahead} frames before the end differ, by {seen.change:.1e} relative"
        return seen, Evidence(
            f"recording cut short ({seen.runs} lengths)",
            None if not seen.runs else not seen.ahead,
            result if seen.runs else "every shorter input was too short for the network",
            "as above; and another length may select another kernel, so that rounding is allowed",
        )

    def rows(self) -> tuple[bool, Evidence]:
        """Ask whether a row of the batch reads another, by any weights or by these."""
        full, other = self.run(self.x), self.x.clone()
        other[0] = other[0] * -2 + 1
        gap = (self.run(other)[1:] - full[1:]).abs().max().item() if full.shape[0] > 1 and full.numel() else 0.0
        observed = gap > self.rounding * (full.abs().max().item() or 1.0)
        by_structure: bool | None = None
        if self.static.seen is not None:
            frames = min(self.static.seen.frames[0], max(24, 3 * int(self.static.stride)))
            with contextlib.suppress(CannotTrace, RuntimeError, ValueError):
                small = with_frames(self.x[:2], frames, self.time_axis)
                by_structure = trace(self.module, small, time_axis=self.time_axis, rows=True).rows_mix
        mix = bool(by_structure) or observed
        result = "a row reads another" if mix else "no row reads another"
        misses = "without the structure: as for the changed future" if by_structure is None else "nothing that is known"
        return mix, Evidence("rows of a batch", not mix, result, misses)

    def called_twice(self) -> tuple[bool, Evidence]:
        """Ask whether the network keeps something from one call to the next."""
        shared = deepcopy_module(self.module)
        first = self.run(self.x, shared)
        self.run(self.x * -1 + 0.5, shared)
        again = self.run(self.x, shared)
        kept = first.shape != again.shape or not torch.equal(first.nan_to_num(), again.nan_to_num())
        result = "the same input gives another output the second time" if kept else "the same input, the same output"
        return kept, Evidence("called twice", not kept, result, "state that only another input would show")

    def uneven_pieces(self) -> list[Evidence]:
        """Ask, where the network can be streamed, whether uneven pieces give what the whole gives."""
        gap = compare_chunks(self.module, self.x) if self.time_axis == 2 else None
        if gap is None:
            return []
        result = f"the whole and uneven pieces through step() agree to {gap:.1e} relative"
        return [Evidence("uneven pieces", gap <= 1e-12 or None, result, "a look-ahead that step() has too")]

    def culprit(self, verdict: Verdict, truncated: PerturbationResult) -> tuple[str | None, str]:
        """Name the first submodule that leaks, and what is wrong with it."""
        if verdict is not Verdict.LOOKS_AHEAD:
            return None, ""
        if self.static.seen is None:
            return None, "not located: the operations could not be followed"
        if not self.static.ahead:
            length = "not located: something is computed from the length of the recording"
            return None, length if truncated.ahead else "not located: no operation on the inputs that were tried"
        x = with_frames(self.x[:1], self.static.leaking_frames, self.time_axis)
        return first_leaking_module(self.module, x, self.rule, self.time_axis) or (None, "not located")


def _numerical(
    module: nn.Module, x: Tensor, rule: Convention, time_axis: int, static: StaticResult, verdict: Verdict
) -> tuple[float | None, str | None, list[Evidence]]:
    """Run on the user's device: what leaks there although the structure is clean, and which switch stops it."""
    parameter = floating_parameter(module)
    if parameter is not None:
        x = x.to(parameter.device, parameter.dtype)
    run = Runner(module, time_axis)
    stride = static.stride if static.seen is not None else None
    seen = perturb_future(run, x, rule, time_axis, stride)
    probe = f"changed future on {x.device.type}, {str(x.dtype).removeprefix('torch.')}"
    misses = "kernels that other shapes, batches or libraries would select"
    if not seen.ahead:
        return None, None, [Evidence(probe, True, "no output before it changed", misses)]
    result = f"outputs before it changed by {seen.change:.1e} relative"
    if verdict is not Verdict.CAUSAL:
        return None, None, [Evidence(probe, False, result, misses)]
    switch, left = removing_switch(x.device.type, lambda: perturb_future(run, x, rule, time_axis, stride).change)
    evidence = [Evidence(probe, None, f"{result}: rounding, the structure is causal", misses)]
    evidence += [
        Evidence(name, rest == 0 or None, f"{rest:.1e} relative remain", misses) for name, rest in left.items()
    ]
    return seen.change, switch, evidence
