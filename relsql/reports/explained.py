"""Five scores and what each is made of: the highest, the lowest, the median and the two largest errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from relsql import html
from relsql.evaluation.explanations.explained_labels import explained_labels
from relsql.reports.charts import bar, bar_ends
from relsql.reports.material import Material
from udfs.attach import attach

SHOWN = 5
"""How many contributions of each score are shown."""


@dataclass(frozen=True, slots=True)
class _Contribution:
    seed: int
    path: str
    row_key: str | None
    row_time: str | None
    column: str | None
    value: str | None
    contribution: float


def explained_scores(material: Material) -> str:
    """A table of contributions for each chosen score."""
    chosen = _chosen(material)
    found: dict[int, list[_Contribution]] = {}
    with material.options.timed("explanations"):
        for each in _contributions(material, list(chosen.values())):
            found.setdefault(each.seed, []).append(each)
        keys = _keys(material, list(chosen.values()))
    lines = [
        html.paragraph(
            "A contribution is the score minus the score without something: without a linked row, as if it had been "
            "deleted, or with a value of the entity's own row missing. Contributions do not add up."
        )
    ]
    for place, (title, number) in enumerate(chosen.items()):
        seed = material.seeds.slice(number, 1)
        heading = f"{title}: {keys[place]}, as of {_day(str(seed.column('as_of')[0].as_py()))}"
        facts = _facts(material, number)
        lines += [html.element("h3", html.text(heading)), html.paragraph(facts), _table(heading, found.get(place, []))]
    return "".join(lines)


def _facts(material: Material, number: int) -> str:
    """A score and its label, in words."""
    classes = material.card.classes
    if not classes:
        return f"Score {material.scores[number]:.4g}, label {material.labels[number]:.4g}."
    probabilities, label = material.scores[number], material.seeds.column("label")[number].as_py()
    code = int(probabilities.argmax())
    return f"Predicted {classes.values[code]}, with probability {probabilities[code]:.4g}. It was {label}."


def _chosen(material: Material) -> Mapping[str, int]:
    """The position of a score for each title; no score is shown twice."""
    labels, scores = material.single
    errors = labels - scores
    order = np.argsort(scores, kind="stable")
    titles = {
        "Highest score": order[::-1],
        "Lowest score": order,
        "Median score": order[np.argsort(np.abs(np.arange(len(order)) - len(order) // 2), kind="stable")],
        "Largest error, score too low": np.argsort(-errors, kind="stable"),
        "Largest error, score too high": np.argsort(errors, kind="stable"),
    }
    chosen: dict[str, int] = {}
    for title, candidates in titles.items():
        free = (int(each) for each in candidates[: len(titles)] if int(each) not in chosen.values())
        if (number := next(free, None)) is not None:
            chosen[title] = number
    return chosen


def _keys(material: Material, chosen: list[int]) -> list[str]:
    """The entities as people write them: `driverId 42`."""
    names, entities = material.card.entity.primary_key, material.seeds.column("entity").take(chosen).to_pylist()
    parts = [list(each.values()) if isinstance(each, dict) else [each] for each in entities]
    return [", ".join(f"{name} {value}" for name, value in zip(names, each, strict=True)) for each in parts]


def _contributions(material: Material, chosen: list[int]) -> Iterator[_Contribution]:
    """The largest contributions of scores, by the query of `explain_<model>`; `seed` is the place in `chosen`."""
    seeds = material.seeds.take(chosen).append_column("place", [list(range(len(chosen)))])
    attach(material.con, models=[material.model])
    columns = "l.place, e.path, e.row_key, CAST(e.row_time AS VARCHAR), e.column_name, e.value, e.contribution"
    largest = f"WHERE e.rank <= {SHOWN} ORDER BY l.place ASC, e.rank ASC"
    with explained_labels(material.con, material.card, seeds, material.options.split) as explained:
        rows = explained.select("row", columns, largest).fetchall()
    for row in rows:
        yield _Contribution(*row)


def _table(caption: str, contributions: list[_Contribution]) -> str:
    if not contributions:
        return html.paragraph("It reads nothing that could be left out.")
    ends = bar_ends([each.contribution for each in contributions])
    rows = [
        (
            each.path,
            each.row_key,
            _day(each.row_time or ""),
            each.column,
            _day(each.value or ""),
            f"{each.contribution:+.4f}",
            bar(each.contribution, None, ends),
        )
        for each in contributions
    ]
    header = ("what is left out", "row", "time", "column", "value", "contribution", "size")
    return html.table(f"Contributions. {caption}", header, rows, right=(5,))


def _day(time: str) -> str:
    return time.removesuffix(" 00:00:00")
