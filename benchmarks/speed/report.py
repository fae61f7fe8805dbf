"""Report of the speed benchmark: tables, targets, a plot and a JSON file."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import msgspec

from benchmarks.speed.timing import Timing

MANY = 100
"""A rate is shown only for more entities than this."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One timing: of `row`, on a database of `variant` with `customers` customers (rel-f1: drivers)."""

    variant: str
    customers: int
    threads: int
    row: str
    timing: Timing

    @property
    def database(self) -> str:
        """The database in words."""
        return f"{self.variant}, {self.customers:,} {'drivers' if self.variant == 'rel-f1' else 'customers'}"


@dataclass(frozen=True, slots=True)
class Target:
    """A measured figure and its target, which is an upper or a lower bound."""

    name: str
    sign: str
    wanted: float
    measured: float

    @property
    def met(self) -> bool:
        """True if the figure meets the target."""
        return self.measured <= self.wanted if self.sign == "<=" else self.measured >= self.wanted


def table(results: Sequence[Measured]) -> str:
    """A Markdown table; ratios are relative to the gather query on the same database with the same threads."""
    lines = [
        "| database | threads | row | cold s | warm s | entities/s | row / gather | peak GB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    gather = {(m.database, m.threads): m.timing.entities_per_second for m in results if m.row == "gather"}
    for m in results:
        timing, whole = m.timing, gather.get((m.database, m.threads))
        many = timing.entities > MANY
        rate = f"{timing.entities_per_second:,.0f}" if many else ""
        ratio = f"{timing.entities_per_second / whole:.2f}" if many and whole else ""
        lines.append(
            f"| {m.database} | {m.threads} | {m.row} | {timing.cold_seconds:.2f} | {timing.warm_seconds:.4f} "
            f"| {rate} | {ratio} | {timing.peak_bytes / 1e9:.2f} |"
        )
    return "\n".join(lines)


def threads_table(results: Sequence[Measured]) -> str:
    """A Markdown table of the rows that were measured with several numbers of threads; empty if there are none."""
    counts = sorted({m.threads for m in results})
    if len(counts) < 2:
        return ""
    header = ["database", "row", *(f"warm s, {count} thread{'s' * (count > 1)}" for count in counts), "speed-up"]
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    seconds = {(m.database, m.row, m.threads): m.timing.warm_seconds for m in results}
    for database, row in dict.fromkeys((m.database, m.row) for m in results):
        found = [seconds.get((database, row, count)) for count in counts]
        known = [value for value in found if value is not None]
        cells = [f"{value:.4f}" if value is not None else "" for value in found]
        if len(known) > 1:
            lines.append(f"| {database} | {row} | {' | '.join(cells)} | {known[0] / known[-1]:.2f} |")
    return "\n".join(lines)


def targets(results: Sequence[Measured]) -> list[Target]:
    """The targets for these results; of several runs, the ones with the most threads count."""
    most = max((m.threads for m in results), default=0)
    chosen = [m for m in results if m.threads == most]
    found: list[Target] = []
    for database in dict.fromkeys(m.database for m in chosen):
        timings = {m.row: m.timing for m in chosen if m.database == database}
        found += _formula1(timings) if database.startswith("rel-f1") else _generated(database, timings)
    return [*found, *_growth([m for m in chosen if m.variant == "one-hop" and m.row == "batch"])]


def _generated(database: str, timings: dict[str, Timing]) -> Iterable[Target]:
    if "torch loop" in timings and "batch" in timings:
        times = timings["batch"].entities_per_second / timings["torch loop"].entities_per_second
        yield Target(f"{database}, batch, times as fast as the torch loop", ">=", 20, times)
    if not database.startswith("one-hop"):
        return
    for row, how in (("one", ""), ("one by index", " by an index")):
        if row in timings:
            yield Target(f"{database}, one of them{how}, warm, ms", "<=", 20, timings[row].warm_seconds * 1e3)
    for row in ("batch", "score into"):
        if row in timings and timings[row].entities >= 1_000_000:
            yield Target(f"{database}, {row}, per second", ">=", 75_000, timings[row].entities_per_second)
            yield Target(f"{database}, {row}, peak GB", "<=", 3, timings[row].peak_bytes / 1e9)


def _growth(batches: list[Measured]) -> Iterable[Target]:
    """The cost per entity on the largest database, relative to the smallest."""
    if len(batches) > 1:
        few, many = (choose(batches, key=lambda m: m.customers) for choose in (min, max))
        growth = few.timing.entities_per_second / many.timing.entities_per_second
        yield Target(f"cost per customer, {many.customers:,} to {few.customers:,}", "<=", 1.3, growth)


def _formula1(timings: dict[str, Timing]) -> Iterable[Target]:
    for row, wanted, unit in (("all drivers", 90, "ms"), ("one driver", 20, "ms"), ("gather", 1.5, "s")):
        if row in timings:
            measured = timings[row].warm_seconds * (1e3 if unit == "ms" else 1)
            name = row if row != "gather" else f"gather, {timings[row].entities:,} (driver, date) seeds"
            yield Target(f"rel-f1, {name}, warm, {unit}", "<=", wanted, measured)
    if "attach" in timings:
        yield Target("rel-f1, attach, first of a process, s", "<=", 0.5, timings["attach"].cold_seconds)
        yield Target("rel-f1, attach, warm, s", "<=", 0.5, timings["attach"].warm_seconds)


def target_lines(found: Iterable[Target]) -> str:
    """One line per target: wanted, measured, met or missed."""
    return "\n".join(
        f"{target.name}: target {target.sign} {target.wanted:,}, measured {target.measured:,.2f}, "
        f"{'met' if target.met else 'missed'}"
        for target in found
    )


def write_json(path: Path, results: Sequence[Measured]) -> None:
    """Write all timings and targets."""
    rows = [
        {"variant": m.variant, "customers": m.customers, "threads": m.threads, "row": m.row, **asdict(m.timing)}
        for m in results
    ]
    environment = {"python": platform.python_version(), "duckdb": duckdb.__version__}
    met = [{**asdict(target), "met": target.met} for target in targets(results)]
    write_formatted(path, {"environment": environment, "rows": rows, "targets": met})


def write_formatted(path: Path, content: dict[str, object]) -> None:
    """Write indented JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def plot(path: Path, results: Sequence[Measured]) -> None:
    """Draw the cost of one entity against the size of the database, a panel per variant, as SVG."""
    # Imported here, so that the timed processes do not load it.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    most = max(m.threads for m in results)
    chosen = [m for m in results if m.threads == most and m.variant != "rel-f1" and m.timing.entities > MANY]
    variants = list(dict.fromkeys(m.variant for m in chosen))
    figure = Figure(figsize=(4.5 * max(1, len(variants)), 4), layout="constrained")
    panels = figure.subplots(1, max(1, len(variants)), sharey=True, squeeze=False)[0]
    for panel, variant in zip(panels, variants, strict=False):
        for i, row in enumerate(dict.fromkeys(m.row for m in chosen)):
            points = sorted((m.customers, m.timing) for m in chosen if (m.variant, m.row) == (variant, row))
            costs = [1e6 / timing.entities_per_second for _, timing in points]
            if points:
                panel.plot([customers for customers, _ in points], costs, marker="o", color=f"C{i}", label=row)
        panel.set(title=variant, xscale="log", yscale="log", xlabel="customers")
    panels[0].set_ylabel(f"microseconds per customer, {most} thread{'s' * (most > 1)}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    # Keep text as text, and make equal figures equal files.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "relsql"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
