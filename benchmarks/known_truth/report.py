"""The measured shares as a Markdown table, as lines against the target, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.data.generated import DATABASES
from benchmarks.known_truth.measure import Outcome

TARGET = 0.95


def table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table, one row per ROC-AUC of each database: mean and standard deviation over the seeds, and share."""
    lines = ["| database | forecast | test ROC-AUC | share recovered |", "| --- | --- | --- | --- |"]
    for name in dict.fromkeys(outcome.database for outcome in outcomes):
        chosen = [outcome for outcome in outcomes if outcome.database == name]
        for row, values in _rows(chosen):
            spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
            share = f"{100 * _mean_share(chosen, values):.1f} %"
            lines.append(f"| {name} | {row} | {np.mean(values):.4f}{spread} | {share} |")
    return "\n".join(lines)


def _rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[float]]]:
    """Names and values over the seeds of all ROC-AUCs of one database."""
    yield "own columns", [outcome.own_columns for outcome in outcomes]
    for group in list(outcomes[0].told)[1:]:
        yield f"told: {group}", [outcome.told[group] for outcome in outcomes]
    models = [outcome.model for outcome in outcomes if outcome.model is not None]
    if len(models) == len(outcomes):
        yield "**relsql**", models
    yield "attainable", [outcome.attainable for outcome in outcomes]
    yield "known state", [outcome.known_state for outcome in outcomes]


def _mean_share(outcomes: Sequence[Outcome], values: Sequence[float]) -> float:
    """Mean gain divided by mean attainable gain, so that a seed with a small attainable gain does not dominate."""
    own = np.mean([outcome.own_columns for outcome in outcomes])
    attainable = np.mean([outcome.attainable for outcome in outcomes])
    return float((np.mean(values) - own) / (attainable - own))


def verdict(outcomes: Sequence[Outcome]) -> str:
    """One line per database with a model: the share recovered against the target."""
    lines = []
    for name in dict.fromkeys(outcome.database for outcome in outcomes if outcome.model is not None):
        chosen = [outcome for outcome in outcomes if outcome.database == name]
        models = [outcome.model for outcome in chosen if outcome.model is not None]
        told = [list(outcome.told.values())[-1] for outcome in chosen]
        share, reference = _mean_share(chosen, models), _mean_share(chosen, told)
        word = "met" if share >= TARGET else "missed"
        lines.append(
            f"{name}: {100 * share:.1f} % recovered, target {100 * TARGET:.0f} % {word}; "
            f"a learner told where to look recovers {100 * reference:.1f} %"
        )
    return "\n".join(lines)


def write_json(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes with their shares."""
    rows = []
    for outcome in outcomes:
        share = None if outcome.model is None else outcome.share(outcome.model)
        bound = DATABASES[outcome.database].bound
        rows.append(asdict(outcome) | {"share": share, "target": TARGET, "attainable_is": bound})
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def progress_line(outcome: Outcome) -> str:
    """One line on a measured database, printed as soon as it is measured."""
    counts = " / ".join(f"{count:,}" for count in outcome.labels.values())
    model = "" if outcome.model is None else f"relsql {outcome.model:.4f} in {outcome.seconds:.0f} s, "
    return (
        f"{outcome.database} seed {outcome.seed}: {counts} labels, {model}attainable {outcome.attainable:.4f}, "
        f"own columns {outcome.own_columns:.4f}"
    )
