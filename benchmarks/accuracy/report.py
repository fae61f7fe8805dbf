"""Write the results of the accuracy benchmark as Markdown: `python -m benchmarks.accuracy.report FILE.json`.

First comes how relsql compares with the best baseline of each task, then all rows of each task, then calibration. The
tables are written between two marker comments in `docs/benchmarks.md`; the text around them is not changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean

import click

from benchmarks.accuracy.comparison import (
    REFERENCE,
    Difference,
    Lead,
    Scored,
    best_baseline,
    compare,
    leads,
    mean_ranks,
)
from benchmarks.accuracy.published import QUOTED, Quoted
from benchmarks.accuracy.results import Results, Run, Summary, read_results, read_scored
from benchmarks.accuracy.rows import DEFAULT, ROWS
from benchmarks.data.problems import REGIMES
from relsql.errors import RelsqlError
from relsql.hints import counted

BEGIN, END = "<!-- accuracy:begin -->", "<!-- accuracy:end -->"

GOALS = {"roc_auc": 0.010, "mae": 0.03}
"""The gain over `REFERENCE` that relsql should have in the mean over tasks."""

_METRICS = {"roc_auc": ("ROC-AUC", "Higher is better"), "mae": ("mean absolute error", "Lower is better")}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--docs", default=Path("docs/benchmarks.md"), show_default=True, type=click.Path(path_type=Path))
def main(results: Path, docs: Path) -> None:
    """Write the tables of a results file into a Markdown file."""
    try:
        found = read_results(results)
        tables = render(found, read_scored(results, found))
    except RelsqlError as error:
        raise click.ClickException(str(error)) from error
    before = docs.read_text(encoding="utf-8") if docs.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    if before.count(BEGIN) != 1 or before.count(END) != 1 or before.index(BEGIN) > before.index(END):
        raise click.ClickException(f"'{docs}' has no place for the tables: put the lines {BEGIN} and {END} there")
    docs.write_text(replaced(before, tables), encoding="utf-8")
    click.echo(f"tables written to {docs}", err=True)


def replaced(text: str, tables: str) -> str:
    """`text` with `tables` between the two markers."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n\n{tables}\n\n{END}{rest.split(END)[1]}"


def render(results: Results, problems: Sequence[Scored] = ()) -> str:
    """All tables: comparisons, per task and regime our rows and the quoted ones, then calibration.

    Args:
        results: runs and summaries.
        problems: their scores, for the comparisons.
    """
    summaries = sorted(results.summaries, key=_position)
    names = {summary.row: summary.name for summary in summaries}
    parts = [*_mixtures(results.runs), *comparisons(problems, names)]
    for (dataset, task), of_task in groupby(summaries, key=lambda s: (s.dataset, s.task)):
        quoted = QUOTED.get((dataset, task), ())
        for regime, rows in groupby(of_task, key=lambda s: s.regime):
            parts.append(_problem(list(rows), [q for q in quoted if q.regime == regime]))
        unknown = [q for q in quoted if q.regime is None]
        if unknown:
            lines = _table(("quoted", "test", "source"), [(q.method, _number(q.score), q.source) for q in unknown])
            parts.append(f"### {dataset} {task}, quoted, regime not stated\n\n{lines}")
    calibrated = [summary for summary in summaries if summary.row == DEFAULT]
    if calibrated:
        parts.append(_calibration(calibrated))
    environment = ", ".join(f"{name} {value}" for name, value in sorted(results.environment.items()))
    return "\n\n".join([*parts, f"Environment: {environment}."])


def _position(summary: Summary) -> tuple[str, str, int, int]:
    rows = list(ROWS)
    base = summary.row.partition("@")[0]
    row = rows.index(base) if base in rows else len(rows)
    return summary.dataset, summary.task, REGIMES.index(summary.regime), row


def _mixtures(runs: Sequence[Run]) -> list[str]:
    """A warning for each row whose runs were made by different code."""
    parts = []
    for row in dict.fromkeys(run.row for run in runs):
        builds = Counter(run.build.code for run in runs if run.row == row)
        if len(builds) > 1:
            named = {run.build.code: str(run.build) for run in runs if run.row == row}
            counted = "; ".join(f"{count} by {named[code]}" for code, count in builds.items())
            parts.append(f"**The runs of row `{row}` were made by different code**: {counted}. Run it with `--again`.")
    return parts


def comparisons(problems: Sequence[Scored], names: dict[str, str]) -> list[str]:
    """relsql against the best baseline of each problem, the means over problems, and the mean rank of each row."""
    compared = [(p, compare(p, best)) for p in problems if DEFAULT in p.scores and (best := best_baseline(p))]
    if not compared:
        return []
    head = (
        "task",
        "regime",
        "metric",
        names[DEFAULT],
        "best baseline",
        "gain",
        "95 % interval",
        "standard error",
        "verdict",
    )
    note = (
        "The best baseline is the row with the best test metric of those that were run. The gain is the paired "
        "difference, mean over seeds, positive where relsql is better. Interval and standard error are those of a "
        "bootstrap by timestamp or entity. Equal: the gain is at most half a standard error."
    )
    gains = _table(head, [_gain(problem, found, names) for problem, found in compared])
    ranks = [(names[row], f"{rank:.2f}", str(count)) for row, rank, count in mean_ranks(problems)]
    about_ranks = "Rank 1 is the best of the rows that were run on a task; a task counts once per regime."
    return [
        f"### {names[DEFAULT]} and the best baseline of each task\n\n{note}\n\n{gains}",
        *(_lead(lead, names) for lead in leads(problems)),
        f"### Mean rank over tasks\n\n{about_ranks}\n\n{_table(('row', 'mean rank', 'tasks'), ranks)}",
    ]


def _gain(problem: Scored, found: Difference, names: dict[str, str]) -> tuple[str, ...]:
    low, high = found.interval or (None, None)
    return (
        f"{problem.dataset} {problem.task}",
        problem.regime,
        _METRICS[problem.metric][0],
        _number(found.value),
        f"{names[found.baseline]}, {_number(found.baseline_value)}",
        f"{found.gain:+.4f}",
        "" if low is None else f"{low:+.4f} to {high:+.4f}, by {problem.unit}",
        "" if found.error is None else f"{found.error:.4f}",
        found.verdict,
    )


def _lead(lead: Lead, names: dict[str, str]) -> str:
    is_auc = lead.metric == "roc_auc"
    gain = f"{lead.gain:+.4f} ROC-AUC" if is_auc else f"{100 * lead.gain:+.1f} % of its mean absolute error"
    goal = f"{GOALS[lead.metric]:+.3f}" if is_auc else f"{100 * GOALS[lead.metric]:+.0f} %"
    return f"Gain over {names[REFERENCE]}: {gain}, mean over {counted(lead.problems, 'task')} (goal {goal})."


def _problem(summaries: list[Summary], quoted: list[Quoted]) -> str:
    first = summaries[0]
    metric, better = _METRICS[first.metric]
    units = sorted({summary.interval.unit for summary in summaries})
    title = f"### {first.dataset} {first.task}, {first.regime}: {metric}"
    note = (
        f"{better}. 95 % bootstrap interval of the test metric, resampled by {' or '.join(units)}; "
        "± is the standard deviation over seeds; seconds are per seed."
    )
    head = ("row", "val", "test", "95 % interval", "seeds", "seconds", "source")
    ours = [_ours(summary) for summary in summaries]
    others = [(q.method, "", _number(q.score), "", "", "", f"quoted: {q.source}") for q in quoted]
    return f"{title}\n\n{note}\n\n{_table(head, [*ours, *others])}"


def _ours(summary: Summary) -> tuple[str, ...]:
    spread = "" if summary.test_deviation is None else f" ± {_number(summary.test_deviation)}"
    return (
        summary.name,
        _number(summary.val),
        f"{_number(summary.test)}{spread}",
        f"{_number(summary.interval.low)} to {_number(summary.interval.high)}",
        str(summary.seeds),
        f"{summary.seconds:.1f}",
        "this run",
    )


def _calibration(summaries: list[Summary]) -> str:
    """Expected calibration error and reliability for classification, interval checks for regression."""
    binary = [summary for summary in summaries if summary.calibration.error is not None]
    regression = [summary for summary in summaries if summary.calibration.intervals]
    parts = [f"### Calibration of {summaries[0].name} on test"]
    if binary:
        errors = [(_task(s), s.regime, _number(s.calibration.error or 0.0)) for s in binary]
        parts.append(_table(("task", "regime", "expected calibration error"), errors))
    if regression:
        head = ("task", "regime", "wanted coverage", "coverage", "width", "bias")
        parts.append(
            "The interval is the score plus the central quantiles of the errors on val; bias is score - label.\n\n"
            + _table(head, [_interval(summary) for summary in regression])
        )
    for summary in binary:
        rows = [(str(b.count), _number(b.mean_score), _number(b.positive_rate)) for b in summary.calibration.bins]
        table = _table(("labels", "mean score", "rate of positives"), rows)
        parts.append(f"{_task(summary)}, {summary.regime}, labels of all seeds in bins of equal mass:\n\n{table}")
    return "\n\n".join(parts)


def _interval(summary: Summary) -> tuple[str, ...]:
    checks = summary.calibration.intervals
    means = [mean(values) for values in zip(*((c.level, c.coverage, c.width, c.bias) for c in checks), strict=True)]
    return _task(summary), summary.regime, *map(_number, means)


def _task(summary: Summary) -> str:
    return f"{summary.dataset} {summary.task}"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.accuracy.report")
