"""The probes of an audit, on one network and one signal: each returns what it found, with its evidence.

No error of the network leaves a probe: it then decides nothing, and the evidence says which error it was.
"""

from __future__ import annotations

import contextlib
import math
from fractions import Fraction

import torch
from torch import Tensor, nn

from causalcnn.causality.adapter import Adapter
from causalcnn.causality.copies import deepcopy_module
from causalcnn.causality.dynamic import PerturbationResult, Runner, compare_chunks, perturb_future, truncate
from causalcnn.causality.inputs import in_one_line, with_frames
from causalcnn.causality.numerics import removing_switch
from causalcnn.causality.report import Evidence, Verdict, count_frames
from causalcnn.causality.static import StaticResult, first_leaking_module
from causalcnn.causality.tracing import trace
from causalcnn.nn.base import Convention

__all__ = ["Case", "judge", "numerical_mode", "static_evidence"]

NOTHING = PerturbationResult(0, 0.0, 0)


class Case:
    """One network under audit: a copy on the CPU, in float64 if it can, in the mode in which it was given.

    Args:
        module: the network, as a module of one signal.
        x: the example, ``(batch, channels, time[, frequency])``, with two rows or more.
        rule: which inputs an output may read.
        static: what its operations showed.
    """

    def __init__(self, module: nn.Module, x: Tensor, rule: Convention, static: StaticResult) -> None:
        self.module, self.x, self.rule, self.static = module, x, rule, static
        self.run = Runner(module, 2)
        self.rounding = self.run.rounding(x[:1])
        self.stride: Fraction | None = static.stride if static.seen is not None else None
        self.repeats = self.run.repeats(x[:1])

    @property
    def unsteady(self) -> str:
        """Why one run does not stand for all; empty where it does."""
        if not self.repeats:
            return "the network is nondeterministic: two runs on the same input differ"
        if self.run.draws_outside_torch:
            return "the network is nondeterministic: it draws random numbers of Python or NumPy"
        return ""

    def same_input_twice(self) -> list[Evidence]:
        """Ask whether two runs on the same input, each as if for the first time, are equal."""
        if not self.unsteady:
            return []
        misses = "another draw may take another way" if self.repeats else "everything here"
        return [Evidence("same input, two fresh copies", None, self.unsteady, misses)]

    def changed_future(self) -> tuple[PerturbationResult, Evidence]:
        """Ask whether a changed future changes the past."""
        if not self.repeats:
            return NOTHING, Evidence("changed future (these weights)", None, "not asked: see above", "everything here")
        reach = max(1, self.static.lookahead)
        seen = perturb_future(self.run, self.x[:1], self.rule, 2, self.stride, reach)
        result = "no output before it changed, bit by bit"
        if seen.ahead:
            result = f"outputs up to {count_frames(seen.ahead)} before it changed, by {seen.change:.1e} relative"
        if not seen.runs:
            result = "no output could be compared"
        is_rounding = seen.ahead > 0 and seen.change <= self.rounding
        return seen, Evidence(
            f"changed future (these weights, {seen.runs} runs)",
            None if is_rounding or not seen.runs else not seen.ahead,
            "; ".join([result + (": rounding" if is_rounding else ""), *seen.remarks]),
            "a closed gate, a weight that is zero, an argmin that did not flip",
        )

    def cut_short(self) -> tuple[PerturbationResult, Evidence]:
        """Ask whether a recording that ends early has the same outputs as far as it goes."""
        if not self.repeats or self.run.is_stochastic(self.x[:1]):
            result = "not asked: the network draws random numbers, and for another length it draws others"
            return NOTHING, Evidence("recording cut short", None, result, "everything here")
        try:
            seen = truncate(self.run, self.x[:1], self.rule, 2, self.stride, self.rounding)
        except Exception as error:
            result = f"could not be asked ({in_one_line(error)})"
            return NOTHING, Evidence("recording cut short", None, result, "everything here")
        result = f"its outputs are the same up to {seen.change:.1e} relative"
        if seen.ahead:
            result = f"outputs up to {count_frames(seen.ahead)} before the end differ, by {seen.change:.1e} relative"
        return seen, Evidence(
            f"recording cut short ({seen.runs} lengths)",
            None if not seen.runs else not seen.ahead,
            result if seen.runs else "every shorter input was too short for the network",
            "as above; and another length may select another kernel, so that rounding is allowed",
        )

    def rows(self) -> tuple[bool | None, Evidence]:
        """Ask whether a row of the batch reads another, by any weights or by these; None where neither can be said."""
        observed, by_structure, problem = None, None, ""
        try:
            if self.repeats:
                observed = self._rows_observed()
        except Exception as error:
            problem = in_one_line(error)
        if self.static.seen is not None:
            frames = min(self.static.seen.frames[0], max(24, 3 * int(self.static.stride)))
            with contextlib.suppress(Exception):
                by_structure = trace(self.module, with_frames(self.x[:2], frames, 2), rows=True).rows_mix
        if observed is None and by_structure is None:
            return None, Evidence("rows of a batch", None, f"could not be asked ({problem})", "everything here")
        mix = bool(by_structure) or bool(observed)
        result = "a row reads another" if mix else "no row reads another"
        misses = "without the structure: as for the changed future" if by_structure is None else "nothing that is known"
        return mix, Evidence("rows of a batch", not mix, result, misses)

    def _rows_observed(self) -> bool | None:
        full, other = self.run(self.x), self.x.clone()
        other[0] = other[0] * -2 + 1
        if full.shape[0] != self.x.shape[0]:
            return None  # its outputs have no rows
        gap = (self.run(other)[1:] - full[1:]).abs().nan_to_num().max().item() if full[1:].numel() else 0.0
        return gap > self.rounding * (full.abs().nan_to_num(posinf=0.0).max().item() or 1.0)

    def called_twice(self) -> tuple[bool, Evidence]:
        """Ask whether the network keeps something from one call to the next."""
        misses = "state that only another input would show"
        if not self.repeats:
            return False, Evidence("called twice", None, "not asked: the network is nondeterministic", misses)
        shared = deepcopy_module(self.module)
        first = self.run(self.x[:1], shared)
        with contextlib.suppress(Exception):
            self.run(self.x[:1] * -1 + 0.5, shared)
        try:
            again = self.run(self.x[:1], shared)
        except Exception as error:
            return True, Evidence("called twice", False, f"a later call fails ({in_one_line(error)})", misses)
        kept = first.shape != again.shape or not torch.equal(first.nan_to_num(), again.nan_to_num())
        result = "the same input gives another output the second time" if kept else "the same input, the same output"
        return kept, Evidence("called twice", not kept, result, misses)

    def uneven_pieces(self) -> list[Evidence]:
        """Ask, where the network can be streamed, whether uneven pieces give what the whole gives."""
        if isinstance(self.module, Adapter) or not self.repeats:
            return []
        try:
            gap = compare_chunks(deepcopy_module(self.module), self.x)
        except Exception as error:
            return [Evidence("uneven pieces", None, f"could not be asked ({in_one_line(error)})", "everything here")]
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
        x = with_frames(self.x[:1], self.static.leaking_frames, 2)
        try:
            return first_leaking_module(self.module, x, self.rule, 2) or (None, "not located")
        except Exception as error:
            return None, f"not located ({in_one_line(error)})"


def static_evidence(static: StaticResult) -> Evidence:
    """Put what the operations showed into words."""
    misses = "what happens only at one particular frame, beyond the inputs that were tried"
    name = "structure (any weights)"
    if static.seen is None:
        return Evidence(name, None, static.problem, "everything here")
    frames, outputs = static.seen.frames
    if static.lookahead > 0:
        worst = "without end" if static.lookahead == math.inf else f"up to {count_frames(static.lookahead)}"
        return Evidence(name, False, f"{len(static.ahead)} of {outputs} outputs read ahead, {worst}", misses)
    if not static.certain:
        return Evidence(name, None, f"no read ahead in {frames} frames, but {static.problem}", misses)
    what = str(static.field) if static.field is not None else f"no output of {outputs} reads ahead"
    return Evidence(name, True, what, misses)


def numerical_mode(
    module: nn.Module, x: Tensor, rule: Convention, static: StaticResult, verdict: Verdict
) -> tuple[float | None, str | None, list[Evidence]]:
    """Run on the user's device: what leaks there although the structure is clean, and which switch stops it.

    Args:
        module: the network, as a module of one signal, on the device and in the dtype that it is in.
        x: the example there, ``(batch, channels, time[, frequency])``.
        rule: which inputs an output may read.
        static: what its operations showed.
        verdict: of the exact audit.

    Returns:
        The size of the rounding, the switch that removes it, and the evidence.
    """
    run = Runner(module, 2)
    stride = static.stride if static.seen is not None else None
    probe = f"changed future on {x.device.type}, {str(x.dtype).removeprefix('torch.')}"
    misses = "kernels that other shapes, batches or libraries would select"
    try:
        seen = perturb_future(run, x, rule, 2, stride)
        if not seen.ahead:
            return None, None, [Evidence(probe, True, "no output before it changed", misses)]
        result = f"outputs before it changed by {seen.change:.1e} relative"
        if verdict is not Verdict.CAUSAL:
            return None, None, [Evidence(probe, False, result, misses)]
        switch, left = removing_switch(x.device.type, lambda: perturb_future(run, x, rule, 2, stride).change)
    except Exception as error:
        return None, None, [Evidence(probe, None, f"could not be asked ({in_one_line(error)})", "everything here")]
    evidence = [Evidence(probe, None, f"{result}: rounding, the structure is causal", misses)]
    evidence += [
        Evidence(name, rest == 0 or None, f"{rest:.1e} relative remain", misses) for name, rest in left.items()
    ]
    return seen.change, switch, evidence


def judge(static: StaticResult, observed: float, truncated: PerturbationResult, case: Case) -> tuple[Verdict, float]:
    """Combine the structure and the behaviour."""
    if static.lookahead > 0:
        return Verdict.LOOKS_AHEAD, static.lookahead
    if observed:  # the operations could not be followed, or not all of them
        return Verdict.LOOKS_AHEAD, observed
    if truncated.ahead:
        return Verdict.LOOKS_AHEAD, math.inf
    return (Verdict.CAUSAL, 0) if static.certain and not case.unsteady else (Verdict.UNKNOWN, math.nan)
