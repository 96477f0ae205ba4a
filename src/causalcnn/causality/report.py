"""What an audit found, with its evidence: readable as text, as HTML, and by a program."""

from __future__ import annotations

import enum
import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from causalcnn.field import Field

__all__ = ["AuditReport", "Evidence", "LeakError", "Verdict"]


class Verdict(enum.Enum):
    """What the audit is sure of. *Unknown* is an answer."""

    CAUSAL = "causal"
    LOOKS_AHEAD = "looks ahead"
    UNKNOWN = "unknown"


class LeakError(AssertionError):
    """A network that was asserted to be causal is not, or cannot be shown to be; the message is the report."""


@dataclass(frozen=True)
class Evidence:
    """One probe: what it did, what it found (True is good, None is undecided), and what it cannot see."""

    probe: str
    good: bool | None
    result: str
    misses: str


@dataclass(frozen=True)
class AuditReport:
    """The outcome of :func:`causalcnn.audit`.

    Attributes:
        verdict: causal, looks ahead, or unknown: what this network could do with *any* weights of its shape.
        lookahead: input frames read beyond what the convention allows; infinite for "all of the future".
        observed: the same for *these* weights, as far as changed inputs showed it; 0 for none.
        frames: the first output frames that look ahead, and how far each does.
        culprit: qualified name of the first submodule that leaks ("" is the network itself), or None.
        kind: what is wrong with it, in words.
        network: name of its class.
        convention: "strict" or "block", by which it was judged.
        stride: input frames per output frame.
        mode: "exact" or "numerical".
        rounding: the largest relative change of the past where only rounding explains it, or None.
        remedy: the backend switch that removes the rounding leak, where one does.
        rows_mix: whether a row of the batch reads another.
        keeps_state: whether a call changes the next one.
        receptive_field: what an output reads, where it is known.
        evidence: every probe with its result and with what it can miss.
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
    rows_mix: bool = False
    keeps_state: bool = False
    receptive_field: Field | None = None
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)

    @property
    def passed(self) -> bool:
        """Causal, rows apart, and nothing kept from one call to the next."""
        return self.verdict is Verdict.CAUSAL and not self.rows_mix and not self.keeps_state

    def _headline(self) -> str:
        if self.verdict is Verdict.CAUSAL:
            return f"{self.network} is causal ({self.convention})"
        if self.verdict is Verdict.UNKNOWN:
            return f"{self.network}: unknown, its causality could be neither shown nor refuted"
        return f"{self.network} looks {_frames(self.lookahead)} ahead ({self.convention})"

    def _facts(self) -> list[str]:
        facts = []
        if self.culprit is not None:
            name = repr(self.culprit) if self.culprit else "the network itself"
            facts.append(f"first leak: {name}, {self.kind}")
        elif self.kind:
            facts.append(f"first leak: {self.kind}")
        if self.frames:
            shown = ", ".join(f"{u} ({_frames(n)})" for u, n in list(self.frames.items())[:4])
            facts.append(f"output frames that look ahead: {shown}{', …' if len(self.frames) > 4 else ''}")
        if self.observed:
            facts.append(f"these weights show {_frames(self.observed)} of it")
        elif self.frames:
            facts.append("these weights hide it: others may show it")
        if self.receptive_field is not None:
            facts.append(f"field: {self.receptive_field}")
        if self.rounding is not None:
            cure = f"; {self.remedy} removes it" if self.remedy else ""
            facts.append(f"rounding: the past moves by {self.rounding:.1e} relative when the future changes{cure}")
        if self.rows_mix:
            facts.append("rows of a batch are not independent: one reads another")
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


def _frames(number: float) -> str:
    if number == math.inf:
        return "all of the recording"
    number = int(number) if number == int(number) else number
    return f"{number} frame{'' if number == 1 else 's'}"
