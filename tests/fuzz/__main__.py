"""`python -m tests.fuzz`: many cases, or one seed again; exit code 1 if any failed."""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.children import load_libraries
from tests.fuzz.cases import Case, run_case
from tests.report import circumstances, write_into


def main() -> int:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="only this case; several times")
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--cases", type=int, help="maximum number of cases")
    parser.add_argument("--minutes", type=float, help="maximum time")
    parser.add_argument("--train", action=argparse.BooleanOptionalAction, help="in all cases, or none; default: some")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table between the marks of FILE")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    if chosen.train is not False:
        load_libraries()
    started = time.monotonic()
    seeds = iter(chosen.seed) if chosen.seed else itertools.count(chosen.first)
    seeds = itertools.islice(seeds, chosen.cases)
    cases = []
    for case in _run(seeds, chosen.train, chosen.workers, 60 * chosen.minutes if chosen.minutes else None):
        cases.append(case)
        if case.result == "failed":
            message = case.message if chosen.seed else case.message[:700]
            print(f"FAILED python -m tests.fuzz --seed {case.seed}: {case.stage}: {message}", flush=True)
        elif len(cases) % 25 == 0:
            print(f"{len(cases)} cases, {_failed(cases)} failures", file=sys.stderr, flush=True)
        if chosen.seed and case.result != "failed":
            print(f"{case.seed} {case.result} in {case.stage} {case.message}")
    lines = [*_table(cases), "", _summary(cases, time.monotonic() - started)]
    print("\n".join(lines))
    if chosen.report:
        write_into(chosen.report, "table of python -m tests.fuzz", lines)
    return 1 if not cases or _failed(cases) else 0


def _run(seeds: Iterator[int], train: bool | None, workers: int, seconds: float | None) -> Iterator[Case]:
    end = None if seconds is None else time.monotonic() + seconds
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        while (end is None or time.monotonic() < end) and (batch := list(itertools.islice(seeds, 8 * workers))):
            yield from pool.imap_unordered(partial(run_case, trained=train), batch)


def _table(cases: list[Case]) -> Iterator[str]:
    counts = Counter((case.result, case.stage, _cause(case)) for case in cases)
    yield "| result | stage | cause | cases |"
    yield "| --- | --- | --- | ---: |"
    for (result, stage, cause), count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1])):
        yield f"| {result} | {stage} | {cause} | {count:,} |"


def _cause(case: Case) -> str:
    return case.message.split(":")[0][:60].replace("|", "/").replace("\n", " ")


def _summary(cases: list[Case], seconds: float) -> str:
    return f"{len(cases):,} cases, {_failed(cases):,} failures, in {seconds / 60:.0f} minutes. {circumstances()}"


def _failed(cases: list[Case]) -> int:
    return sum(case.result == "failed" for case in cases)


if __name__ == "__main__":
    sys.exit(main())
