"""The table of a sweep, for the terminal and for a document: tries and failures by command and fault."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tests.torture.sweep import Outcome


class Tally:
    """Counts of tries by command and fault."""

    def __init__(self, commands: Sequence[str], faults: Sequence[str]) -> None:
        self.commands, self.faults = commands, faults
        self.tries: Counter[tuple[str, str]] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.ended: Counter[str] = Counter()
        self.kinds: dict[str, list[Outcome]] = defaultdict(list)

    def add(self, outcome: Outcome) -> None:
        """Count a try."""
        cell = outcome.made.command, outcome.made.fault
        self.tries[cell] += 1
        self.ended[outcome.ended] += 1
        if outcome.problems:
            self.failures[cell] += 1
            self.kinds[_kind(outcome)].append(outcome)

    def lines(self) -> Iterable[str]:
        """The table in Markdown: tries, and failures if there are any."""
        yield "| command | " + " | ".join(self.faults) + " | failures |"
        yield "| --- | " + " | ".join("---:" for _ in self.faults) + " | ---: |"
        for command in self.commands:
            cells = [self._cell(command, fault) for fault in self.faults]
            failures = sum(self.failures[command, fault] for fault in self.faults)
            yield f"| `{command}` | {' | '.join(cells)} | {failures} |"
        totals = [sum(self.tries[command, fault] for command in self.commands) for fault in self.faults]
        yield f"| all | {' | '.join(f'{total:,}' for total in totals)} | {self.failures.total():,} |"

    def summary(self) -> str:
        """A summary in one sentence."""
        ended = ", ".join(f"{count:,} {how}" for how, count in sorted(self.ended.items()))
        return f"{self.tries.total():,} tries ({ended}), {self.failures.total():,} failures"

    def failure_lines(self) -> Iterable[str]:
        """Each kind of failure once, with the command that reproduces it."""
        for kind, outcomes in sorted(self.kinds.items(), key=lambda item: -len(item[1])):
            yield f"{len(outcomes)} x {kind}"
            for outcome in outcomes[:3]:
                yield f"    {outcome.made}"
                yield from (f"        {problem[:600]}" for problem in outcome.problems)

    def _cell(self, command: str, fault: str) -> str:
        tries, failures = self.tries[command, fault], self.failures[command, fault]
        return f"{tries} (**{failures}**)" if failures else str(tries or "-")


def _kind(outcome: Outcome) -> str:
    return f"{outcome.made.command}, {outcome.made.fault}: " + re.sub(r"\d+", "N", outcome.problems[0])[:120]
