"""The first question of an audit: what could any weights of this shape do, and which submodule lets them?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor, nn

from causalcnn.causality.dependence import Ledger, union
from causalcnn.causality.fitting import CannotFit, explains, fit_field, with_frames
from causalcnn.causality.tracing import CannotTrace, Trace, Visit, time_axis_of, trace
from causalcnn.field import Field
from causalcnn.nn.base import Convention

__all__ = ["Structure", "find_culprit", "follow", "rate_of"]


@dataclass(frozen=True)
class Structure:
    """What following the operations told: per output frame how far it looks ahead, the field if there is one."""

    seen: Trace | None
    stride: Fraction
    ahead: Mapping[int, float]
    lookahead: float
    certain: bool
    field: Field | None
    problem: str
    leaking_frames: int


def rate_of(frames: int, outs: int) -> Fraction:
    """Input frames per output frame, judged by the lengths alone."""
    if outs >= frames:
        return Fraction(1, max(1, round(outs / frames)))
    return Fraction(max(1, round(frames / max(1, outs))))


def allowance(stride: Fraction, convention: Convention) -> int:
    """Frames beyond ``u·stride`` that an output may read."""
    return convention.lookahead(int(stride)) if stride >= 1 else 0


def leaks_of(seen: Trace, stride: Fraction, convention: Convention) -> dict[int, float]:
    """For each output frame that looks ahead: by how many input frames."""
    allowed = allowance(stride, convention)
    found: dict[int, float] = {}
    for u, last in enumerate(seen.last_frames()):
        if last is not None and last > u * stride + allowed:
            ahead = last - u * stride - allowed
            found[u] = math.ceil(ahead)
    return found


def follow(module: nn.Module, x: Tensor, convention: Convention, time_axis: int, most: int) -> Structure:
    """Trace on longer and longer inputs until the pattern is clear."""
    frames = min(x.shape[time_axis], 32)
    candidate: Field | None = None
    last: Trace | None = None
    problem, leaking = "", 0
    sizes: list[float] = []
    tried: list[Trace] = []
    leaks: dict[int, float] = {}
    stride = Fraction(1)
    while frames <= most:
        try:
            seen = trace(module, with_frames(x, frames, time_axis), time_axis=time_axis)
        except CannotTrace as error:
            return Structure(None, Fraction(1), {}, 0, False, None, str(error), 0)
        except (RuntimeError, ValueError, IndexError, AssertionError) as error:
            problem = f"on {frames} frames the network fails: {error}"
        else:
            last = seen
            most = max(most, min(math.ceil(24 * rate_of(*seen.frames)), 4096))  # a strided network needs more frames
            confirmed = candidate is not None and explains(candidate, seen)
            if not confirmed:
                try:
                    candidate = fit_field(seen)
                except CannotFit as error:
                    candidate, problem = None, str(error)
            moves = candidate is not None and candidate.lookahead != math.inf and candidate.stride > 0
            stride = candidate.stride if candidate is not None and moves else rate_of(*seen.frames)
            leaks = leaks_of(seen, stride, convention)
            if leaks:
                sizes.append(max(leaks.values()))
                leaking = leaking or frames
            if confirmed and candidate is not None:
                beyond = candidate.lookahead - allowance(stride, convention)
                ahead = math.inf if beyond == math.inf else max(0, math.ceil(beyond))
                for earlier in tried if not ahead else ():  # a leak at one length is a leak
                    if at_that := leaks_of(earlier, stride, convention):
                        return Structure(
                            earlier, stride, at_that, max(at_that.values()), True, None, "", earlier.frames[0]
                        )
                return Structure(last, stride, leaks, ahead, True, candidate, "", leaking or frames)
            tried.append(seen)
        if candidate is None and len(sizes) >= 3 and len(set(sizes[-3:])) == 1:
            break  # it leaks, by so much and no more, and it will not repeat: longer inputs say no more
        frames = frames * 3 // 2 if candidate is not None else frames * 2
    if last is None and frames != x.shape[time_axis]:  # a network for one length only
        try:
            last = trace(module, x, time_axis=time_axis)
            leaks = leaks_of(last, stride := rate_of(*last.frames), convention)
            whole = leaks and bool(last.reads.all())
            sizes = [math.inf] if whole else [max(leaks.values(), default=0)]
            leaking = x.shape[time_axis]
        except (CannotTrace, RuntimeError, ValueError, IndexError, AssertionError) as error:
            problem = str(error)
    if last is None:
        return Structure(None, Fraction(1), {}, 0, False, None, problem or "no input was long enough", 0)
    grows = (len(sizes) >= 2 and sizes[-1] > sizes[-2]) or sizes[-1:] == [math.inf]
    worst = math.inf if grows else max(leaks.values(), default=0)
    hidden = bool(last.high.any()) or last.short
    return Structure(last, stride, leaks, worst, bool(leaks) or not hidden, None, problem, leaking or last.frames[0])


# ---------------------------------------------------------------------- who was it?
def _looks_ahead(last: tuple[int, ...] | None, frames: int, convention: Convention) -> bool:
    if last is None:
        return False
    stride = rate_of(frames, len(last))
    allowed = allowance(stride, convention)
    return any(t > i * stride + allowed for i, t in enumerate(last))


def _visit_leaks(visit: Visit, frames: int, convention: Convention) -> bool:
    """What it returns looks ahead, and what came in did not yet: else it was done before, around this submodule."""
    came, last = (_looks_ahead(side, frames, convention) for side in (visit.came, visit.last))
    return last and not came


def find_culprit(
    module: nn.Module, x: Tensor, convention: Convention, time_axis: int, most: int = 24
) -> tuple[str, str] | None:
    """The first submodule that looks ahead by its own doing, and whose leak is still there further on.

    Each candidate is cured in turn: the trace runs again, and what its output reads of the future is taken away. That
    must change what the network reads of the future or, where a later leak reads everything anyway, at least what a
    later submodule receives. A submodule inside of which another candidate stands comes last.
    """
    seen = trace(module, x, time_axis=time_axis, visits=True)
    frames, stride = x.shape[time_axis], rate_of(*seen.frames)
    before = _future(seen, stride, convention)
    candidates = [i for i, visit in enumerate(seen.visits) if _visit_leaks(visit, frames, convention)][:most]
    names = [seen.visits[i].name for i in candidates]
    around = {i for i in candidates if any(_inside(name, seen.visits[i].name) for name in names)}
    felt: int | None = None
    for i in [c for c in candidates if c not in around] + [c for c in candidates if c in around]:
        if i in around and felt is not None:
            break

        def cure(call: int, _: str, tensor: Tensor, ledger: Ledger, i: int = i) -> None:
            if call == i:
                _take_away(tensor, ledger, frames, convention)

        after = trace(module, x, time_axis=time_axis, visits=True, edit=cure)
        if _future(after, stride, convention) < before:
            return _named(module, seen.visits[i])
        later = range(i + 1, len(seen.visits))
        if felt is None and any(after.visits[n].came != seen.visits[n].came for n in later):
            felt = i
    if felt is not None:
        return _named(module, seen.visits[felt])
    return ("", "between its submodules") if before else None


def _inside(name: str, outer: str) -> bool:
    return name != outer and (not outer or name.startswith(outer + "."))


def _named(module: nn.Module, visit: Visit) -> tuple[str, str]:
    return visit.name, describe(dict(module.named_modules())[visit.name], visit)


def _future(seen: Trace, stride: Fraction, convention: Convention) -> int:
    """How many (output frame, input frame) pairs lie in the future."""
    times = seen.reads.any(1).unflatten(1, (seen.shape[1], seen.shape[2])).any(2)
    allowed = allowance(stride, convention)
    return sum(int(row[max(0, math.floor(u * stride) + allowed + 1) :].sum()) for u, row in enumerate(times))


def _take_away(tensor: Tensor, ledger: Ledger, frames: int, convention: Convention) -> None:
    dep = ledger.dep(tensor)
    if dep is None:
        return
    grid = union(dep[: ledger.cells].unflatten(0, ledger.shape), [0, 2])
    axis = time_axis_of(grid, tensor)
    stride = rate_of(frames, tensor.shape[axis])
    allowed = allowance(stride, convention)
    dep = dep.clone().transpose(axis + 1, 1)  # (width, time, …)
    cells = dep[: ledger.cells].unflatten(0, ledger.shape)  # (rows, times, frequencies, time, …)
    for i in range(tensor.shape[axis]):
        cells[:, max(0, math.floor(i * stride) + allowed + 1) :, :, i] = False
    ledger.put(tensor, dep.transpose(axis + 1, 1), ledger.kind(tensor))


def describe(part: nn.Module, visit: Visit) -> str:
    """What is wrong with a submodule, in words, from its type and the operations that it ran."""
    name, ran = type(part).__name__, set(visit.operations)
    if "BatchNorm" in name and part.training:
        return f"{name} in training mode: statistics of the batch run over all of time; eval() uses stored ones"
    if any(word in name for word in ("GroupNorm", "InstanceNorm", "LayerNorm")) or ran & {
        "native_group_norm",
        "native_layer_norm",
    }:
        return f"{name}: it normalises over time"
    if getattr(part, "bidirectional", False):
        return f"{name} in both directions: the second one reads the future"
    if any(op.startswith("reflection_pad") for op in ran) or getattr(part, "padding_mode", "") == "reflect":
        return f"{name}: reflect padding mirrors the future into the past"
    if getattr(part, "padding_mode", "") == "circular":
        return f"{name}: circular padding joins the end to the start"
    if ran & {"_fft_r2c", "_fft_c2c"}:
        return f"{name}: a spectrum over a window that lies ahead"
    if ran & {"_softmax", "_safe_softmax", "softmax"} and ran & {"bmm", "mm"}:
        return f"{name}: attention whose mask lets the future in"
    if ran & {"mean", "amax", "amin", "max", "min", "var", "std", "var_mean"}:
        return f"{name}: a statistic over all of time"
    if "convolution" in ran:
        return f"{name}: a convolution whose window lies ahead; its padding does not fit"
    if any("pool" in op for op in ran):
        return f"{name}: a pool whose window lies ahead"
    return f"{name}: it moves frames back in time"
