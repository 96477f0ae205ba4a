"""One line that says how far a training is: it moves in a terminal and in a notebook, and stays when it ends."""

from __future__ import annotations

import sys
import time
from typing import Any

from causalcnn._extras import require

__all__ = ["Progress", "duration"]

WIDTH = 24
"""Characters of the bar."""


def duration(seconds: float) -> str:
    """A time in words, such as ``"45 s"``, ``"12 min"`` or ``"3.2 h"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """A progress line, in the form that suits where it is shown.

    A notebook gets one plain line that is rewritten (a widget would be blank on a built page), a terminal tqdm's bar,
    a log file a new line every tenth of the way.

    Args:
        shown: whether to show anything.

    Raises:
        ImportError: tqdm (in a terminal) or IPython (in a notebook) is not installed.
    """

    def __init__(self, shown: bool = True) -> None:
        self._due, self._tenth = 0.0, -1
        self._handle: Any = None
        self._bar: Any = None
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        if not shown:
            self._form = "none"
        elif shell is not None and hasattr(shell, "kernel"):
            self._form = "notebook"
        elif sys.stderr.isatty():
            self._form = "terminal"
            self._bar = require("tqdm", extra="train").tqdm(total=1.0, bar_format="{bar:24} {desc}", leave=True)
        else:
            self._form = "log"

    def update(self, fraction: float, text: str, *, last: bool = False) -> None:
        """Show how far it is, at most a few times a second.

        Args:
            fraction: how much is done, from 0 to 1.
            text: the text beside the bar.
            last: whether this is the last line, which is shown in any case.
        """
        now = time.monotonic()
        if self._form == "none" or (now < self._due and not last):
            return
        self._due = now + 0.3
        if self._form == "terminal":
            self._bar.n = fraction
            self._bar.set_description_str(f"{fraction:4.0%} {text}")
        elif self._form == "notebook":
            full = round(WIDTH * fraction)
            self._write(f"{'█' * full}{'·' * (WIDTH - full)} {text}")
        elif last or self._tenth < int(10 * fraction) < 10:
            self._tenth = int(10 * fraction)
            print(f"{fraction:4.0%} {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the last line where it is."""
        if self._bar is not None:
            self._bar.close()

    def _write(self, line: str) -> None:
        if self._handle is None:
            display = require("IPython.display", extra="figures").display
            self._handle = display({"text/plain": line}, raw=True, display_id=True)
        else:
            self._handle.update({"text/plain": line}, raw=True)
