"""Show the progress of long commands on stderr: a bar per phase on a terminal, otherwise a line per finished phase."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from relsql.cli.output import note, number

if TYPE_CHECKING:
    from tqdm import tqdm

_BAR = "{desc:<10}{percentage:3.0f}% |{bar:24}| {elapsed}<{remaining}{postfix}"
_QUERY_BAR = "{percentage:3.0f}% |{bar:40}| {elapsed}"
_PATIENCE_SECONDS = 0.5
"""No bar is shown for shorter queries."""


class _Bar:
    """A bar on a terminal. Use it as a context, which removes an unfinished bar."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class PhaseProgress(_Bar):
    """A `PhaseProgress` that shows each phase with its time."""

    def __init__(self) -> None:
        super().__init__()
        self._started = 0.0
        self._phase = ""

    def __call__(self, phase: str, fraction: float, metrics: dict[str, float]) -> None:
        """Show that `fraction`, in [0, 1], of `phase` is done."""
        if phase != self._phase:
            self._start(phase, fraction)
        if self._bar is not None:
            self._bar.set_postfix_str(_words(metrics), refresh=False)
            self._bar.update(max(0.0, fraction - self._bar.n))
        if fraction >= 1.0:
            self._finish(phase, metrics)

    def _start(self, phase: str, fraction: float) -> None:
        self._close()
        self._phase, self._started = phase, time.perf_counter()
        if sys.stderr.isatty():
            from tqdm import tqdm

            # `initial` leaves the work of an earlier run out of the estimate of the remaining time.
            self._bar = tqdm(total=1.0, initial=fraction, desc=phase, bar_format=_BAR, leave=False, file=sys.stderr)

    def _finish(self, phase: str, metrics: dict[str, float]) -> None:
        self._close()
        self._phase = ""
        note(f"{phase:<10}{time.perf_counter() - self._started:7.1f} s  {_words(metrics)}".rstrip())


class QueryProgress(_Bar):
    """A bar while a query takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self._started = 0.0

    def __call__(self, percent: float) -> None:
        """Show the progress of the query in percent; 100 removes the bar, a negative number means unknown."""
        if percent >= 100.0:
            self._close()
            return
        self._started = self._started or time.perf_counter()
        if percent < 0.0 or time.perf_counter() - self._started < _PATIENCE_SECONDS or not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=100.0, bar_format=_QUERY_BAR, leave=False, file=sys.stderr)
        self._bar.n = percent
        self._bar.refresh()

    def _close(self) -> None:
        self._started = 0.0
        super()._close()


def _words(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {number(value)}" for name, value in metrics.items())
