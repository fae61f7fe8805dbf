"""The sections of a report. Each is a function from the material to HTML, empty where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql import html
from relsql.evaluation.explanations.importance import Importance, importance
from relsql.evaluation.metrics.bootstrap import Floats
from relsql.evaluation.metrics.intervals import Gain
from relsql.hints import command, counted
from relsql.reports.card_pages import card_html
from relsql.reports.charts import ACCENT, INK, SECOND, Chart, bar, bar_ends
from relsql.reports.curves import class_table, curves
from relsql.reports.explained import explained_scores
from relsql.reports.material import IMPORTANCE_SEEDS, OWN_COLUMNS, Interval, Material
from relsql.reports.model_card import read_tables
from relsql.reports.tables import read_figure
from relsql.schema.picture import Picture

MOST_BARS = 40
"""Labels of more timestamps than this are drawn in this many groups."""

COLUMNS_SHOWN = 15

MEANINGS = {
    "roc_auc": "how often a positive has a higher score than a negative; .5 is chance",
    "average_precision": "mean precision over all thresholds; chance is the positive rate",
    "log_loss": "mean surprise at the labels; less is better",
    "accuracy": "share of labels whose class was predicted",
    "macro_f1": "mean F1 of the classes, however common",
    "positive_rate": "share of labels that are 1",
    "mean_score": "mean of the scores",
    "mae": "mean absolute error; less is better",
    "rmse": "root of the mean squared error; less is better",
    "r2": "share of the variance that is explained; 0 is the mean",
    "pinball": "loss of the quantile; less is better",
    "mean_label": "mean of the labels",
    "coverage": "share of labels at or below their score",
    "sum_ratio": "sum of scores divided by sum of labels; 1 is best",
}


def question(material: Material) -> str:
    """The question in words, and how it was asked."""
    card = material.person_card
    return (
        html.element("p", html.text(card.question), class_="lead")
        + html.paragraph(f"{_call(material)} answers it. Task {card.task}, {card.target}, {card.horizon}.")
        + html.code(card.predict or card.label_sql)
    )


def _call(material: Material) -> str:
    return f"SELECT {material.person_card.functions[0]}({', '.join(material.card.entity.primary_key)})"


def tables(material: Material) -> str:
    """The schema as a picture, with what the model reads."""
    rows = {table.name: table.rows for table in material.person_card.tables}
    read = frozenset(table.key for table in read_tables(material.card))
    return read_figure(Picture(material.schema, material.card.entity.key, read, rows))


def labels_over_time(material: Material) -> str:
    """How many labels there are at each time, and their mean."""
    what = material.label_mean
    means = Chart("label-means", "time", what, width=10.8, height=2.8)
    counts = Chart("label-counts", "time", "labels at a moment", width=10.8, height=2.2)
    timed = {split: _by_moment(table) for split, table in material.label_tables.items()}
    whole = max(times[-1] for times, *_ in timed.values()) - min(times[0] for times, *_ in timed.values())
    rows = []
    for place, (split, (times, sums, numbers)) in enumerate(timed.items()):
        # Groups of about equal length in all splits, so that one does not seem to vary more than another.
        share = (times[-1] - times[0]) / whole if whole else 1.0
        groups = min(len(times), max(4, round(MOST_BARS * float(share))))
        first = np.arange(groups) * len(times) // groups
        total = np.add.reduceat(numbers, first)
        means_of_groups, per_moment = np.add.reduceat(sums, first) / total, total / np.diff([*first, len(times)])
        colour, style = ((ACCENT, "o-"), (SECOND, "s-"), (INK, "^:"))[place % 3]
        for chart, values in ((means, means_of_groups), (counts, per_moment)):
            chart.axes.plot(times[first], values, style, color=colour, label=split, markersize=4)
        labels, mean = f"{numbers.sum():,.0f}", f"{sums.sum() / numbers.sum():.4g}"
        rows.append((split, labels, mean, f"{len(times):,}", _day(times[0]), _day(times[-1])))
    counts.axes.set_ylim(0)
    listed = "; ".join(f"{split} {labels} labels, {what} {mean}" for split, labels, mean, *_ in rows)
    header = ("split", "labels", what, "moments", "first", "last")
    drawn = means.html(f"{what.capitalize()} over time.", f"{what} over time: {listed}.")
    drawn += counts.html("Number of labels at a moment, over time.", f"Labels over time: {listed}.")
    return drawn + html.table("Labels of each split", header, rows, right=(1, 2, 3))


def _by_moment(table: pa.Table) -> tuple[npt.NDArray[np.datetime64], Floats, Floats]:
    """The distinct moments of labels, and at each the sum of the labels and their number."""
    moments = np.asarray(table.column("as_of"), dtype="datetime64[us]")
    times, place = np.unique(moments, return_inverse=True)
    values = np.asarray(table.column("label"), dtype=np.float64)
    sums: Floats = np.bincount(place, values).astype(np.float64)
    return times, sums, np.bincount(place).astype(np.float64)


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[s]")).replace("T", " ").removesuffix(" 00:00:00")


def metrics(material: Material) -> str:
    """Metrics of the model and the baseline, with intervals, and what they mean."""
    found, others = material.evaluation.metrics, material.baseline_metrics()
    with material.options.timed("intervals"):
        lead = material.comparison()
        ends, other_ends = material.intervals(material.scores), material.intervals(material.baseline)
        rows = [
            (
                name,
                f"{value:.4g}",
                _ends(ends.get(name)),
                f"{others[name]:.4g}" if name in others else "",
                _ends(other_ends.get(name)),
                MEANINGS.get(name, ""),
            )
            for name, value in found.items()
        ]
    evaluation = material.evaluation
    caption = f"{counted(evaluation.rows, 'label')} of {evaluation.split}, {evaluation.regime}"
    caption += f", {evaluation.unscored:,} more without a score" if evaluation.unscored else ""
    header = ("metric", "model", "95% interval", material.baseline_name, "95% interval", "what it is")
    note = "Intervals are from resampling entities with all their labels."
    if material.baseline_name == OWN_COLUMNS:
        note = f"The baseline reads only the columns of {material.card.entity.key}, without any linked row. {note}"
    return (
        html.element("p", html.text(verdict(lead)), class_="lead")
        + html.table(f"Scores against {caption}", header, rows, right=(1, 2, 3, 4))
        + html.paragraph(note)
    )


def verdict(found: Gain | None) -> str:
    """Whether the model is better than the baseline, in one sentence."""
    if found is None:
        return "The labels have one class only, so nothing can be ranked."
    size = f"{abs(found.gain):.3g} in {found.metric}"
    side = "ahead of" if found.gain >= 0 else "behind"
    low, high = found.interval
    text = f"The model is {size} {side} the baseline; the 95% interval of its lead is {low:.3g} to {high:.3g}"
    return text + ("." if low > 0 or high < 0 else ", so these labels do not show which of them is better.")


def _ends(interval: Interval | None) -> str:
    return f"{interval[0]:.4g} .. {interval[1]:.4g}" if interval else ""


def pictures(material: Material) -> str:
    """Charts of scores and labels."""
    return html.element("div", *curves(material), class_="grid") + class_table(material)


def importance_bars(material: Material) -> str:
    """What each table and column brings."""
    scores = len(material.labels) * sum(1 + len(table.columns) for table in read_tables(material.card))
    if not (scores <= IMPORTANCE_SEEDS if material.options.importance is None else material.options.importance):
        again = command("importance", "FILE", material.model, "--split", material.options.split)
        text = f"Left out of this report: it takes up to {scores:,} scores. To see what each table and column brings: "
        return html.paragraph(f"{text}{again}, or {command('report')} with --importance.")
    with material.options.timed("importance"):
        limits = material.options.limits
        found = importance(
            material.con,
            material.model,
            material.options.split,
            allow_external=limits.allow_external,
            label_timeout_seconds=limits.timeout_seconds,
        )
    by_level = [[each for each in found if each.level == level] for level in ("table", "column")]
    return html.paragraph(
        "By how much the metric is better with a table or a column than without it. The thin lines are 95% intervals. "
        "Where two tables hold the same information, either alone brings little."
    ) + "".join(_bars(level, part) for level, part in zip(("table", "column"), by_level, strict=True) if part)


def _bars(level: str, found: list[Importance]) -> str:
    shown = found[:COLUMNS_SHOWN]
    ends = bar_ends([end for each in shown for end in (each.gain, *each.interval)])
    rows = [
        (
            each.table if each.column is None else f"{each.table}({each.column})",
            f"{each.gain:+.4f}",
            bar(each.gain, each.interval, ends),
            _ends(each.interval),
            each.path,
        )
        for each in shown
    ]
    caption = f"What each {level} brings to {found[0].metric}, {found[0].whole:.4g}"
    caption += f": the first {len(shown)} of {len(found)}" if len(found) > len(shown) else ""
    return html.table(caption, (level, "gain", "size", "95% interval", "path"), rows, right=(1, 3))


def findings(material: Material) -> str:
    """What is doubtful."""
    found = material.evaluation.findings
    if not found:
        return html.paragraph("Neither training nor this comparison found anything doubtful.")
    return "".join(html.element("p", html.text(each), class_=each.severity) for each in found)


def card(material: Material) -> str:
    """The model's card."""
    return card_html(material.person_card)


SECTIONS: tuple[tuple[str, Callable[[Material], str]], ...] = (
    ("Question", question),
    ("Tables", tables),
    ("Labels", labels_over_time),
    ("How good it is", metrics),
    ("Scores and labels", pictures),
    ("What matters", importance_bars),
    ("Findings", findings),
    ("Single scores", explained_scores),
    ("Card", card),
)
"""The sections of a report in order, by title. One that returns no markup is left out."""


def sections(material: Material) -> Iterator[tuple[str, str]]:
    """Title and markup of each section."""
    for title, section in SECTIONS:
        yield title, section(material)
