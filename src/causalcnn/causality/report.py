"""What an audit found, with its evidence: readable as text, as HTML, and by a program."""

from __future__ import annotations

import enum
import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from causalcnn.field import Field

__all__ = ["AuditReport", "Evidence", "LeakError", "Verdict", "count_frames"]


class Verdict(enum.Enum):
    """What an audit is sure of. *Unknown* is an answer: the audit never guesses.

    ``CAUSAL``: on inputs of every length that was tried, no output depends on an input later than the convention
    allows, whatever the parameters are (buffers count with their values, as a mask does), and these weights did not
    react to a changed or missing future either (beyond rounding). It does not cover the other mode (``train()`` where
    ``eval()`` was judged), what happens only at one particular frame beyond the lengths that were tried, or rounding
    on another device. Rows that mix and state that is kept from call to call are reported apart.

    ``LOOKS_AHEAD``: an output uses an input that lies ahead of it, and one of three things shows it. The operations
    read that input: then parameters of this shape can use it, though these may not (a closed gate, a convolution
    initialised with zeros). Or a change of the future moved an output before it: then these weights use it. Or a
    recording that was cut short gave other outputs: then something is computed from the length. A number that is read
    and cancels again, as in ``future - future``, counts as read.

    ``UNKNOWN``: the operations could not be followed, or not far enough to be sure, and no probe showed a leak; or the
    network is nondeterministic, raises an error, or was not finished in time. Nothing is proven either way. The report
    says why in one line, such as which operation in which submodule could not be followed;
    the docstring of ``causalcnn.causality.tracing`` says how to add a rule for it.

    What no verdict covers: what other threads compute, if it comes back by neither a tensor nor a start that can be
    noticed, and what a network does only at a certain time, on a certain call or on certain draws of random numbers.

    Attributes:
        CAUSAL: nothing ahead is read, for any weights.
        LOOKS_AHEAD: something ahead is read.
        UNKNOWN: neither could be shown.

    Example:
        >>> from torch import nn
        >>> from causalcnn import audit
        >>> from causalcnn.causality import Verdict
        >>> leak = nn.Conv1d(1, 1, 3, padding=1)
        >>> _ = nn.init.zeros_(leak.weight)  # it hides the leak from every measurement, not from the audit
        >>> audit(leak, (1, 1, 40)).verdict is Verdict.LOOKS_AHEAD
        True

        A network that decides by a number which it has seen cannot be followed; it is not called causal:

        >>> class Louder(nn.Module):
        ...     def forward(self, x):
        ...         return 2 * x if x[0, 0, 0] > 0 else x
        >>> audit(Louder(), (1, 1, 40)).verdict is Verdict.UNKNOWN
        True
    """

    CAUSAL = "causal"
    LOOKS_AHEAD = "looks ahead"
    UNKNOWN = "unknown"


class LeakError(AssertionError):
    """A network that was asserted to be causal is not, or cannot be shown to be. The message is the report as text."""


@dataclass(frozen=True)
class Evidence:
    """One probe of an audit: what it did, what it found, and what it cannot see.

    Attributes:
        probe: what was done, in words.
        good: True where the probe found nothing wrong, False where it found a leak, None where it decides nothing.
        result: what was found, in words.
        misses: what this probe cannot see, so that "nothing found" does not exclude it.

    Example:
        >>> from torch import nn
        >>> from causalcnn import audit
        >>> structure = audit(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 40)).evidence[0]
        >>> structure.good, structure.result
        (False, '47 of 48 outputs read ahead, up to 1 frame')
    """

    probe: str
    good: bool | None
    result: str
    misses: str


@dataclass(frozen=True)
class AuditReport:
    """What :func:`causalcnn.audit` found out about one network.

    It prints as text (``str``) and shows as HTML in a notebook. What each verdict proves is said at
    :class:`causalcnn.causality.Verdict`.

    Attributes:
        network: name of the network's class.
        verdict: causal, looks ahead, or unknown.
        lookahead: input frames read beyond what the convention allows, by *any* weights of this shape: 0 if causal,
            infinite for all of the recording or where something is computed from its length, NaN if unknown. Where
            the operations could not be followed it is what these weights showed, so at least that much.
        observed: the same for *these* weights, as far as changed inputs showed it; 0 where they showed nothing. It is
            less than ``lookahead`` where the weights hide a leak.
        frames: for each output frame that looks ahead, by how many input frames, on the input on which the structure
            shows it; empty where the structure shows no leak.
        culprit: qualified name of the first submodule that leaks by its own doing (``""`` is the network itself), or
            None where there is none or it could not be located.
        kind: what is wrong with it, in words; or why it could not be located; empty where nothing looks ahead.
        convention: ``"strict"`` or ``"block"``, by which it was judged.
        stride: input frames per output frame.
        mode: ``"exact"`` or ``"numerical"``, as it was asked for.
        rounding: the largest change of an output, relative to the largest output, that a changed future caused and that
            only rounding explains; None where there was none.
        remedy: the backend switch that removes this rounding, or None. It is looked for in numerical mode only.
        rows_mix: whether a row of the batch reads another one; None where it could not be asked.
        keeps_state: whether a call changes the result of the next one.
        receptive_field: what an output reads, where that repeats along time and could be followed; else None.
        evidence: every probe with its result and with what it can miss.
        outputs: for each tensor that the network returns and that carries time, by its place in what is returned, how
            many input frames it looks ahead, as in ``lookahead``. What is said above holds for the worst of them.
        problem: why the verdict is unknown, in one line; else empty.

    Example:
        >>> from causalcnn import CausalConv1d, audit
        >>> report = audit(CausalConv1d(1, 4, 3, dilation=4), (1, 1, 60))
        >>> report.passed, report.lookahead, report.receptive_field.holes
        (True, 0, 6)
        >>> print(str(report).splitlines()[0])
        CausalConv1d is causal (strict)
    """

    network: str
    verdict: Verdict
    lookahead: float
    observed: float
    frames: Mapping[int, float]
    culprit: str | None
    kind: str
    convention: str
    stride: float
    mode: str
    rounding: float | None = None
    remedy: str | None = None
    rows_mix: bool | None = False
    keeps_state: bool = False
    receptive_field: Field | None = None
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)
    outputs: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether the network is causal, keeps its rows apart, and keeps nothing from one call to the next."""
        return self.verdict is Verdict.CAUSAL and self.rows_mix is False and not self.keeps_state

    def _headline(self) -> str:
        if self.verdict is Verdict.CAUSAL:
            return f"{self.network} is causal ({self.convention})"
        if self.verdict is Verdict.UNKNOWN:
            return f"{self.network}: unknown, its causality could be neither shown nor refuted"
        return f"{self.network} looks {count_frames(self.lookahead)} ahead ({self.convention})"

    def _facts(self) -> list[str]:
        facts = []
        if self.problem:
            facts.append(f"why: {self.problem}")
        if len(self.outputs) > 1 or "output" not in self.outputs:
            facts += [f"{name} {_in_words(ahead)}" for name, ahead in list(self.outputs.items())[:12]]
            facts += [f"… {len(self.outputs)} outputs in all"] if len(self.outputs) > 12 else []
        if self.culprit is not None:
            name = repr(self.culprit) if self.culprit else "the network itself"
            facts.append(f"first leak: {name}, {self.kind}")
        elif self.kind:
            facts.append(f"first leak: {self.kind}")
        if self.frames:
            shown = ", ".join(f"{u} ({count_frames(n)})" for u, n in list(self.frames.items())[:4])
            facts.append(f"output frames that look ahead: {shown}{', …' if len(self.frames) > 4 else ''}")
        if self.observed:
            facts.append(f"these weights show {count_frames(self.observed)} of it")
        elif self.frames:
            facts.append("these weights hide it: others may show it, unless what is read cancels again")
        if self.receptive_field is not None:
            facts.append(f"field: {self.receptive_field}")
        if self.rounding is not None:
            cure = f"; {self.remedy} removes it" if self.remedy else ""
            facts.append(f"rounding: the past moves by {self.rounding:.1e} relative when the future changes{cure}")
        if self.rows_mix:
            facts.append("rows of a batch are not independent: one reads another")
        if self.rows_mix is None:
            facts.append("whether rows of a batch are independent could not be asked")
        if self.keeps_state:
            facts.append("state is kept from one call to the next: the same input gives another output")
        return facts

    def __str__(self) -> str:
        lines = [self._headline(), *(f"  {fact}" for fact in self._facts()), "  evidence"]
        for item in self.evidence:
            mark = {True: "ok  ", False: "LEAK", None: "?   "}[item.good]
            lines += [f"    {mark} {item.probe}: {item.result}", f"         (cannot see: {item.misses})"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        word = {Verdict.CAUSAL: "past", Verdict.LOOKS_AHEAD: "leak", Verdict.UNKNOWN: "unknown"}[self.verdict]
        rows = "".join(
            f"<tr><td>{ {True: 'ok', False: 'leak', None: '?'}[item.good] }</td><td>{html.escape(item.probe)}</td>"
            f"<td>{html.escape(item.result)}</td><td>{html.escape(item.misses)}</td></tr>"
            for item in self.evidence
        )
        facts = "".join(f"<li>{html.escape(fact)}</li>" for fact in self._facts())
        heads = "".join(f'<th scope="col">{name}</th>' for name in ("finding", "probe", "result", "what it cannot see"))
        return (
            f'<div class="causalcnn-audit causalcnn-audit-{word}">'
            f"<p><strong>{html.escape(self._headline())}</strong></p><ul>{facts}</ul>"
            f"<details><summary>Evidence: {len(self.evidence)} probes</summary>"
            f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></details></div>"
        )


def _in_words(lookahead: float) -> str:
    if math.isnan(lookahead):
        return "is unknown"
    return f"looks {count_frames(lookahead)} ahead" if lookahead else "is causal"


def count_frames(number: float) -> str:
    """Write a number of frames, ``1 frame`` or ``2 frames``; infinitely many are all of the recording."""
    if number == math.inf:
        return "all of the recording"
    number = int(number) if number == int(number) else number
    return f"{number} frame{'' if number == 1 else 's'}"
