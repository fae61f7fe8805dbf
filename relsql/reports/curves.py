"""Charts of scores and labels: curves for a classification, errors for a regression, and charts for both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relsql import html
from relsql.evaluation.metrics.bootstrap import Floats
from relsql.reports.charts import ACCENT, INK, LINE, MUTED, SECOND, Chart
from relsql.reports.material import OWN_COLUMNS, Material

MODEL, BASELINE, PERFECT = "model", OWN_COLUMNS, "perfect"
BINS = 10

MOST_CLASSES = 20
"""How many classes a table shows."""

CELLS = 32


def curves(material: Material) -> Iterator[str]:
    """All charts of a model's scores and the labels."""
    labels = material.labels
    if material.card.classes:
        yield _calibration(material)
        return
    if material.card.task.is_classification:
        if labels.min() < labels.max():
            yield from _ranking(material)
        yield _calibration(material)
        yield _gain(material)
        yield _score_distribution(material)
        return
    yield _scores_beside_labels(material)
    yield _residuals(material)
    yield _calibration(material)
    if labels.min() >= 0 and labels.sum() > 0:
        yield _gain(material)
    yield _distributions(material)


def _ranking(material: Material) -> Iterator[str]:
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    labels = material.labels
    drawn = ((MODEL, material.scores, ACCENT), (BASELINE, material.baseline, SECOND))
    roc = Chart("roc", "share of negatives above the threshold", "share of positives above it")
    precision = Chart("precision", "share of positives above the threshold", "positives among those above it")
    for name, scores, colour in drawn:
        false, true, _ = roc_curve(labels, scores)
        roc.curve(false, true, name, colour, "-" if colour == ACCENT else "--")
        exact, found, _ = precision_recall_curve(labels, scores)
        precision.curve(found, exact, name, colour, "-" if colour == ACCENT else "--")
    roc.curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "chance", MUTED, ":")
    rate = float(labels.mean())
    precision.curve(np.array([0.0, 1.0]), np.array([rate, rate]), "chance", MUTED, ":")
    precision.axes.set_ylim(0, 1.03)
    areas = [f"{name} {roc_auc_score(labels, scores):.3f}" for name, scores, _ in drawn]
    yield roc.html(
        "ROC curve: the nearer to the upper left corner, the better the ranking.",
        f"ROC curves. Area below: {', '.join(areas)}, chance 0.5.",
    )
    means = [f"{name} {average_precision_score(labels, scores):.3f}" for name, scores, _ in drawn]
    yield precision.html(
        "Precision and recall: the share of positives above a threshold, and how many of all positives that is.",
        f"Precision-recall curves. Average precision: {', '.join(means)}, chance {rate:.3f}.",
    )


def _calibration(material: Material) -> str:
    """Mean label by mean score, in bins with equally many labels."""
    labels, ordered = material.single
    order = np.argsort(ordered, kind="stable")
    parts = [part for part in np.array_split(order, min(BINS, len(order))) if len(part)]
    scores = np.array([ordered[part].mean() for part in parts])
    means = np.array([labels[part].mean() for part in parts])
    errors = np.array([labels[part].std() / np.sqrt(len(part)) for part in parts])
    classes = material.card.task.is_classification
    happened = "share of right predictions" if material.card.classes else material.label_mean
    chart = Chart("calibration", "mean probability" if material.card.classes else "mean score", happened)
    ends = np.array([scores.min(), scores.max()])
    chart.curve(ends, ends, PERFECT, MUTED, ":")
    chart.axes.errorbar(
        scores, means, yerr=1.96 * errors, fmt="o", color=ACCENT, markersize=5, linewidth=1.2, label=MODEL
    )
    pairs = ", ".join(f"{score:.3g} to {mean:.3g}" for score, mean in zip(scores, means, strict=True))
    what = "Calibration" if classes or material.card.task.target == "mean" else "Mean label by score"
    return chart.html(
        f"{what}: labels in {len(parts)} groups of equal size by their score, with 95% intervals.",
        f"{what}. Mean score to mean label of each group: {pairs}.",
    )


def class_table(material: Material) -> str:
    """Of the commonest classes: how often they happened, were predicted, and both; empty without classes."""
    classes = material.card.classes
    if not classes:
        return ""
    predicted = material.scores.argmax(axis=1)
    order = np.argsort(-np.array(classes.counts), kind="stable")[:MOST_CLASSES]
    rows = []
    for code in order:
        happened, named = material.labels == code, predicted == code
        both, probability = int((happened & named).sum()), material.scores[:, code].mean()
        shares = (f"{both / count.sum():.1%}" if count.any() else "" for count in (happened, named))
        rows.append((classes.values[code], f"{happened.sum():,}", f"{named.sum():,}", *shares, f"{probability:.1%}"))
    caption = f"Classes, the first {len(order)} of {len(classes)}" if len(order) < len(classes) else "Classes"
    header = ("class", "labels", "predicted", "of the labels found", "of the predictions right", "mean probability")
    return html.table(caption, header, rows, right=(1, 2, 3, 4, 5))


def _gain(material: Material) -> str:
    """Share of all positives, or of the sum of labels, among the highest scores."""
    classes = material.card.task.is_classification
    whole = "positives" if classes else "sum of labels"
    chart = Chart("gain", "share of labels, highest scores first", f"share of the {whole}")
    total, share = material.labels.sum() or 1.0, np.linspace(0, 1, len(material.labels) + 1)
    tenths = []
    for name, scores, colour, style in (
        (MODEL, material.scores, ACCENT, "-"),
        (BASELINE, material.baseline, SECOND, "--"),
    ):
        found = np.concatenate([[0.0], np.cumsum(material.labels[np.argsort(-scores, kind="stable")]) / total])
        chart.curve(share, found, name, colour, style)
        tenths.append(f"{name} {np.interp(0.1, share, found):.0%}")
    chart.curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "chance", MUTED, ":")
    return chart.html(
        f"Gain: how much of the {whole} is found in the rows with the highest scores.",
        f"Gain curves. In the highest tenth of the scores: {', '.join(tenths)}, chance 10%.",
    )


def _score_distribution(material: Material) -> str:
    chart = Chart("distribution", "score", "share of labels")
    edges = np.linspace(material.scores.min(), max(material.scores.max(), material.scores.min() + 1e-6), 31)
    medians = []
    for value, name, colour in ((0, "label 0", SECOND), (1, "label 1", ACCENT)):
        of_class = material.scores[material.labels == value]
        if len(of_class):
            shares = np.histogram(of_class, edges)[0] / len(of_class)
            chart.axes.stairs(shares, edges, color=colour, fill=True, alpha=0.25)
            chart.axes.stairs(shares, edges, color=colour, label=name, linewidth=1.6)
            medians.append(f"median score of {name}: {np.median(of_class):.3f}")
    return chart.html(
        "Distribution of scores by class: the less they overlap, the better.",
        f"Distribution of scores. {'; '.join(medians).capitalize()}.",
    )


def _ordinary(*values: Floats) -> tuple[float, float]:
    """The range from the 1st to the 99th percentile, so that single values do not hide the rest."""
    low, high = np.quantile(np.concatenate(values), [0.01, 0.99])
    return float(low), float(high if high > low else low + 1)


def _scores_beside_labels(material: Material) -> str:
    low, high = _ordinary(material.labels, material.scores)
    chart = Chart("beside", "score", "label")
    edges = np.linspace(low, high, CELLS + 1)
    counts, _, _ = np.histogram2d(
        np.clip(material.scores, low, high), np.clip(material.labels, low, high), bins=(edges, edges)
    )
    middle = (edges[1:] + edges[:-1]) / 2
    rows, columns = np.nonzero(counts)
    size = 6 + 90 * np.sqrt(counts[rows, columns] / counts.max())
    chart.axes.scatter(middle[rows], middle[columns], s=size, color=ACCENT, alpha=0.6, linewidths=0)
    chart.curve(np.array([low, high]), np.array([low, high]), PERFECT, MUTED, ":")
    varies = np.ptp(material.scores) > 0 and np.ptp(material.labels) > 0
    correlation = np.corrcoef(material.scores, material.labels)[0, 1] if varies else 0.0
    return chart.html(
        "Scores against labels: the larger a dot, the more labels. The outermost hundredths are drawn at the edges.",
        f"Scores against labels, correlation {correlation:.2f}.",
    )


def _residuals(material: Material) -> str:
    errors = {MODEL: material.labels - material.scores, BASELINE: material.labels - material.baseline}
    low, high = _ordinary(*errors.values())
    edges = np.linspace(low, high, 41)
    chart = Chart("residuals", "label minus score", "share of labels")
    for (name, values), colour in zip(errors.items(), (ACCENT, SECOND), strict=True):
        shares = np.histogram(np.clip(values, low, high), edges)[0] / len(values)
        chart.axes.stairs(shares, edges, color=colour, label=name, linewidth=1.6)
    chart.axes.axvline(0, color=LINE, linewidth=1)
    means = ", ".join(f"{name} {np.abs(values).mean():.4g}" for name, values in errors.items())
    return chart.html(
        "Residuals: the narrower around 0, the better.",
        f"Distribution of label minus score. Mean absolute error: {means}.",
    )


def _distributions(material: Material) -> str:
    low, high = _ordinary(material.labels, material.scores)
    edges = np.linspace(low, high, 41)
    chart = Chart("distribution", "value", "share of labels")
    for name, values, colour in (("scores", material.scores, ACCENT), ("labels", material.labels, INK)):
        shares = np.histogram(np.clip(values, low, high), edges)[0] / len(values)
        chart.axes.stairs(
            shares, edges, color=colour, label=name, linewidth=1.6, linestyle="-" if colour == ACCENT else ":"
        )
    return chart.html(
        "Distributions of scores and of labels. Medians and quantiles vary less than labels do.",
        f"Distributions. Median score {np.median(material.scores):.4g}, median label {np.median(material.labels):.4g}.",
    )
