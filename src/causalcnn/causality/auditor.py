"""``audit``: does this network look into the future? Structure, behaviour and rounding are judged separately.

An audit asks the same question in several ways, because each way can be deceived:

* *Structure* (:mod:`causalcnn.causality.static`): which inputs do the operations read, whatever the weights are?
* *Behaviour* (:mod:`causalcnn.causality.dynamic`): do outputs of these weights move when later inputs change, or when
  the recording ends earlier?
* *Rows and calls*: does one row of a batch read another, and does one call change the next?
* *Rounding* (:mod:`causalcnn.causality.numerics`): on the user's device and in its dtype, does the past still move?

``case`` holds the probes, and ``judge`` there combines the first two into the verdict; what each verdict proves is said
at :class:`causalcnn.causality.Verdict`. ``adapter`` brings networks with other inputs and outputs into one form. What
goes wrong in a network, or in a rule, ends in the verdict *unknown*, with the error in one line.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from causalcnn.causality.adapter import Adapter, Output, TimeAxis, adapt, groups, run_outputs
from causalcnn.causality.case import Case, judge, numerical_mode, static_evidence
from causalcnn.causality.copies import deepcopy_module, in_float64
from causalcnn.causality.dynamic import Runner, seeded
from causalcnn.causality.inputs import floating_parameter, in_one_line
from causalcnn.causality.limits import TimeUp, time_limit
from causalcnn.causality.report import AuditReport, Evidence, LeakError, Verdict
from causalcnn.causality.static import StaticResult, analyze
from causalcnn.nn.base import Convention

__all__ = ["assert_causal", "audit"]

NAMED_OUTPUTS = 8
"""Outputs that are judged one by one, where all of them together do not pass."""


def audit(
    module: nn.Module,
    example: Tensor | Sequence[Any] | Mapping[str, Any],
    *,
    mode: Literal["exact", "numerical"] = "exact",
    convention: str | Convention | None = None,
    time_axis: TimeAxis = None,
    output_time_axis: int | Mapping[str, int | None] | None = None,
    max_frames: int = 512,
    timeout_s: float | None = None,
) -> AuditReport:
    """Say whether a network reads the future, how far, which submodule first, and whether it is only rounding.

    Two questions are answered apart. *Structure*, what any weights of this shape could do: dependencies are followed
    through the operations. *Behaviour*, what these weights do: the future is changed, or cut off, and the past is
    compared bit by bit. The verdict is one of three, and :class:`causalcnn.causality.Verdict` says what each of them
    proves and what it does not.

    The module is judged in the mode that it is in, ``train()`` or ``eval()``: batch normalisation reads all frames in
    training and one frame in ``eval()``. It is not changed; everything runs on copies. An error of the network, or of
    the audit itself, ends in the verdict *unknown*, with the error in ``problem`` and in the evidence.

    A network that is accused is told by what: ``culprit`` and ``kind`` name the submodule and its fault, ``evidence``
    holds every probe with its finding. Where ``frames`` names outputs although ``observed`` is 0, these weights hide
    the leak, and no measurement of them will find it. Only the first leak is named: mend it and audit again.

    Every tensor that the network returns is judged, also in tuples, dicts and objects, if it carries time:
    ``outputs`` names each. A tensor whose shape does not grow with the input, a last state or a loss, carries none.

    Args:
        module: any module over time.
        example: an input in floating point, ``(batch, channels, time[, frequency])`` or ``(batch, time)``; or whole
            numbers, such as tokens, ``(batch, time)``; or the shape of one, which is then filled with seeded noise. A
            tuple holds several arguments, a dict keyword arguments. 50 to 100 frames are enough; a strided network
            needs so many outputs.
        mode: ``"exact"`` judges in float64 on the CPU, or in the module's own dtype where float64 cannot run;
            ``"numerical"`` also runs the network on the device and in the dtype that it is in, and reports the size of
            what leaks there and the backend switch that removes it.
        convention: ``"strict"`` (output ``u`` reads inputs up to ``u·stride``) or ``"block"`` (up to the end of its
            own block, ``(u + 1)·stride - 1``). Default: what the module declares, else strict.
        time_axis: where time is in the input; −1 is its last axis. By default axis 2, or axis 1 of ``(batch, time)``.
            Of several inputs, those that have as many frames as the first carry time as well, the others are
            conditions; a tuple, or a dict, with one axis or None for each says it otherwise.
        output_time_axis: where time is in the outputs, for all of them or by their names; by default the axis that
            grows with the input.
        max_frames: the longest input, in frames, on which the structure is followed; up to 4,096 are tried where a
            strided network has too few outputs.
        timeout_s: seconds after which the audit gives up, with the verdict *unknown*. The clock is looked at between
            the operations of the network. None for no limit.

    Returns:
        A report that prints as text and as HTML; ``report.passed`` is the answer for a program.

    Raises:
        ValueError: an unknown ``mode`` or ``convention``; an example without batch and time, or with fewer than 4
            frames; or no axis ``time_axis``.

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

        A network of tokens that returns two tensors, of which one looks ahead:

        >>> import torch
        >>> class Two(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embed = nn.Embedding(10, 4)
        ...     def forward(self, tokens):
        ...         y = self.embed(tokens)
        ...         return {"past": y.cumsum(1), "both": y + y.flip(1)}
        >>> audit(Two(), torch.randint(10, (1, 40))).outputs
        {"output['past']": 0, "output['both']": inf}
    """
    if mode not in ("exact", "numerical"):
        raise ValueError(f"mode is {mode!r}; it must be 'exact' or 'numerical'")
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s is {timeout_s}; it must be a number of seconds above 0, or None")
    rule = Convention.of(convention or _declared(module))
    network = getattr(module, "_orig_mod", module)  # a compiled module runs the same, but hides its operations
    adapted, x = adapt(network, example, time_axis)
    if x.shape[2] < 4:
        raise ValueError(f"the example has {x.shape[2]} frames; an audit needs at least 4")
    evidence: list[Evidence] = []
    audit_one = _Audit(type(network).__name__, mode, rule, max_frames, evidence)
    with time_limit(timeout_s), seeded(0, [x.device] if x.device.type == "cuda" else None):
        try:
            return audit_one.report(adapted, _two_rows(x), output_time_axis)
        except TimeUp:
            problem = f"not finished within {timeout_s:g} s"
        except (Exception, SystemExit) as error:
            problem = in_one_line(error)
    evidence.append(Evidence("the audit itself", None, problem, "everything here"))
    return audit_one.unknown(problem)


def assert_causal(
    module: nn.Module, example: Tensor | Sequence[Any] | Mapping[str, Any], **options: object
) -> AuditReport:
    """Assert in a test suite that a network is causal: return the report of :func:`causalcnn.audit`, or raise it.

    Passing means more than the verdict *causal*: rows of a batch must also be independent, and nothing may be kept from
    one call to the next (:attr:`causalcnn.AuditReport.passed`). A network that could not be followed does not pass.

    Args:
        module: any module over time.
        example: an input, ``(batch, channels, time[, frequency])`` or another, or its shape, as for
            :func:`causalcnn.audit`.
        **options: the other arguments of :func:`causalcnn.audit`.

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
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make another dtype the default: what a forward creates itself, a first state for example, must suit the copy."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
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
    return x if x.shape[0] >= 2 else torch.cat([x, x.flip(-1) * 0.5])


class _Audit:
    """One audit: what was asked, and the evidence so far."""

    def __init__(self, name: str, mode: str, rule: Convention, max_frames: int, evidence: list[Evidence]) -> None:
        self.name, self.mode, self.rule, self.max_frames, self.evidence = name, mode, rule, max_frames, evidence

    def unknown(self, problem: str) -> AuditReport:
        """Report that nothing could be shown, and why."""
        return AuditReport(
            network=self.name, verdict=Verdict.UNKNOWN, lookahead=math.nan, observed=0, frames={}, culprit=None,
            kind="", convention=self.rule.value, stride=math.nan, mode=self.mode, rows_mix=None,
            evidence=tuple(self.evidence), problem=problem,
        )  # fmt: skip

    def report(self, adapted: Adapter, x: Tensor, output_time_axis: TimeAxis) -> AuditReport:
        """Run the network, find its outputs, and judge all of them."""
        exact, x64, problem = self._runnable(adapted, x)
        if exact is None:
            self.evidence.append(Evidence("the example", None, f"the network fails: {problem}", "everything here"))
            return self.unknown(f"the network fails on the example: {problem}")
        with _default_dtype(torch.float64 if exact.exact else torch.get_default_dtype()):
            outputs = run_outputs(Runner(exact, 2).returned, exact, x64[:1], output_time_axis)
            timeless = [output for output in outputs if output.axis is None]
            self.evidence += [
                Evidence(f"{output.name}, {output.shape}", None, "it carries no time: not judged", "everything here")
                for output in timeless[:NAMED_OUTPUTS]
            ]
            together = groups(outputs)
            if not together:
                found = ", ".join(f"{output.name} of shape {output.shape}" for output in outputs[:3]) or "no tensor"
                more = f", … {len(outputs)} tensors in all" if len(outputs) > 3 else ""
                return self.unknown(f"the network returns nothing over time, but {found}{more}")
            reports = [self._judge(exact, adapted, x, x64, group) for group in together]
        named = {output.name: 0.0 for output in outputs if output.axis is not None}
        for one in reports:
            named.update(one.outputs)
        order = [Verdict.LOOKS_AHEAD, Verdict.UNKNOWN, Verdict.CAUSAL]
        worst = min(reports, key=lambda one: order.index(one.verdict))
        return replace(
            worst,
            outputs=named,
            rows_mix=True if any(r.rows_mix for r in reports) else worst.rows_mix,
            keeps_state=any(r.keeps_state for r in reports),
            evidence=(*self.evidence, *worst.evidence),
        )

    def _runnable(self, adapted: Adapter, x: Tensor) -> tuple[Adapter | None, Tensor, str]:
        """Return a copy that runs on the CPU, with its example: in float64 if it can, else in its own dtype."""
        problem = ""
        for exact in (True, False):
            try:
                copy = deepcopy_module(adapted)
                copy = in_float64(copy) if exact else copy.to("cpu")
                copy.exact = exact
                own = x.detach().to("cpu", torch.float64) if exact else x.detach().to("cpu")
                with _default_dtype(torch.float64 if exact else torch.get_default_dtype()):
                    Runner(copy, 2).returned(own[:1])
            except (Exception, SystemExit) as error:
                problem = problem or in_one_line(error)
                continue
            if not exact:
                result = f"it does not run ({problem}); judged in its own dtype"
                self.evidence.append(Evidence("in float64", None, result, "what is as small as rounding"))
            return copy, own, ""
        return None, x, problem

    def _analyze(self, network: nn.Module, x: Tensor) -> StaticResult:
        try:
            longest = max(self.max_frames, min(x.shape[2], 2 * self.max_frames))
            return analyze(network, x, self.rule, 2, longest)
        except Exception as error:
            return StaticResult(problem=in_one_line(error))

    def _judge(self, exact: Adapter, adapted: Adapter, x: Tensor, x64: Tensor, group: list[Output]) -> AuditReport:
        """Judge outputs that make one signal together, all at once; one by one only where they do not pass."""
        network = exact.giving(group)
        static = self._analyze(network, x64)
        case = Case(network, x64, self.rule, static)
        changed, of_changed = case.changed_future()
        truncated, of_truncated = case.cut_short()
        rows_mix, of_rows = case.rows()
        keeps_state, of_state = case.called_twice()
        evidence = [static_evidence(static), *case.same_input_twice(), of_changed, of_truncated, of_rows, of_state]
        evidence += case.uneven_pieces()
        observed = changed.ahead if changed.change > case.rounding else 0
        verdict, ahead = judge(static, observed, truncated, case)
        culprit, kind = case.culprit(verdict, truncated)
        problem = ""
        if verdict is Verdict.UNKNOWN:
            problem = case.unsteady or static.problem or of_changed.result
        rounding, remedy = changed.change if 0 < changed.change <= case.rounding else None, None
        if self.mode == "numerical":
            own, signal = adapted.giving(group), x
            if (parameter := floating_parameter(adapted.network)) is not None:
                signal = x.to(parameter.device, parameter.dtype if adapted.plain else x.dtype)
            rounding, remedy, more = numerical_mode(own, signal, self.rule, static, verdict)
            evidence += more
        return AuditReport(
            network=self.name,
            verdict=verdict,
            lookahead=ahead,
            observed=observed,
            frames=static.ahead,
            culprit=culprit,
            kind=kind,
            convention=self.rule.value,
            stride=float(static.stride),
            mode=self.mode,
            rounding=rounding,
            remedy=remedy,
            rows_mix=rows_mix,
            keeps_state=keeps_state,
            receptive_field=static.field,
            evidence=tuple(evidence),
            outputs=self._one_by_one(exact, x64, group, ahead),
            problem=problem,
        )

    def _one_by_one(self, exact: Adapter, x: Tensor, group: list[Output], ahead: float) -> dict[str, float]:
        """Return for each of these outputs how far it looks ahead, where they do so together by ``ahead``."""
        if len(group) == 1 or ahead == 0 or math.isnan(ahead):
            return {output.name: ahead for output in group}
        found = {output.name: math.nan for output in group}
        for output in group[:NAMED_OUTPUTS]:
            alone = self._analyze(exact.giving([output]), x)
            if alone.certain or alone.lookahead > 0:
                found[output.name] = alone.lookahead
        return found
