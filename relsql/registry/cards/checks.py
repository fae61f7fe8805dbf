"""Check a model card before anything is built from it.

A card may come from somebody else's file. Its names become parts of SQL and of function names, and its numbers become
sizes of arrays. The type of each field is checked when the JSON is read; this module checks values, and the consistency
of fields with each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from relsql.gather.candidates.ranker import Ranker
from relsql.gather.layout import layouts_of
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import RESERVED_NAMES, Path
from relsql.gather.statistics import path_statistics
from relsql.registry.versions import MODEL_NAME
from relsql.schema.tables import Link, Schema, Table
from relsql.tasks.task import Task

if TYPE_CHECKING:
    from relsql.registry.cards.card import ModelCard

MAX_CARD_BYTES = 64_000_000
"""A thousand columns with 64 categories of 100 characters each take 7 MB."""

MAX_WIDTH = 100_000
"""Limit for widths of vectors and numbers of tokens: a larger value is a mistake, or an attempt to exhaust memory."""

MAX_FANOUT = 10_000
"""Limit for the rows of a seed along one path: a call scores 2,048 seeds at once, with 8 bytes per row."""

MAX_VERSION = 999_999_999
"""The highest version that `dnf@VERSION` can refer to, see `relsql.registry.versions`."""

MAX_DAYS = 10_000_000
"""Limit for spans before as_of: 27,000 years, which DuckDB can subtract from a time."""

_PATH_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_DIGEST = re.compile(r"[0-9a-f]{64}")

_LINKS_OF_KIND = {"entity": 0, "parents": 1, "siblings": 2, "children": 1, "grandchildren": 2, "hub": 3}
"""Number of links of a path of each kind; siblings have one link to the parent and one back."""


def card_problem(card: ModelCard) -> str | None:
    """The first problem of a card that could be read; None if there is no problem."""
    return next(_problems(card), None)


def _problems(card: ModelCard) -> Iterator[str]:
    if not MODEL_NAME.fullmatch(card.name):
        yield f"name '{card.name}' cannot be part of a function name"
    if not 1 <= card.version <= MAX_VERSION:
        yield f"version {card.version} is not from 1 to {MAX_VERSION:,}"
    yield from _schema_problems(card.schema)
    yield from _task_problems(card.task, card.schema)
    yield from _path_problems(card) if card.ranker is None else _ranker_problems(card, card.ranker)
    for key, inputs in card.inputs.items():
        yield from _input_problems(key, inputs, card.schema)
    yield from _number_problems(card)
    yield from _statistic_problems(card)
    if card.task.is_recommendation != (card.ranker is not None):
        yield f"it has {'no' if card.ranker is None else 'a'} ranker, and its task is of type {card.task.task_type}"
    if card.task.has_classes != (card.classes is not None):
        yield f"it has {'no ' if card.classes is None else ''}classes, and its task is of type {card.task.task_type}"
    elif card.classes and card.classes.many != card.task.is_multilabel:
        yield f"the thresholds of its classes are not those of a task of type {card.task.task_type}"
    yield from card.classes.problems() if card.classes else ()
    yield from _uncertainty_problems(card)
    for name, digest in card.sha256.items():
        if not _DIGEST.fullmatch(digest):
            yield f"artefact {name} has no SHA-256 digest"
    if card.fingerprint != card.schema.fingerprint():
        yield "its fingerprint is not that of its tables"


def _uncertainty_problems(card: ModelCard) -> Iterator[str]:
    """Check that the uncertainty and the threshold of a card fit its type of task."""
    if card.uncertainty:
        yield from card.uncertainty.problems()
        if card.task.is_multiclass != (card.uncertainty.least is not None):
            yield f"its uncertainty is not that of a task of type {card.task.task_type}"
    if card.threshold is not None and not (card.task.is_binary and 0 <= card.threshold <= 1):
        yield f"its threshold is {card.threshold}, and its task is of type {card.task.task_type}"


def _schema_problems(schema: Schema) -> Iterator[str]:
    for key, table in schema.tables.items():
        if table.key != key:
            yield f"table {key} is called {table.key}"
        names = set(table.column_names)
        if len(names) < len(table.columns):
            yield f"table {key} has two columns of the same name"
        yield from _unknown(f"the primary key of {key}", table.primary_key, names)
        yield from _unknown(f"the time of {key}", (table.time_column,) if table.time_column else (), names)
    for link in schema.links:
        yield from _link_problems(link, schema)


def _link_problems(link: Link, schema: Schema) -> Iterator[str]:
    yield from _unknown("a link", (link.child, link.parent), schema.tables)
    if not link.child_columns or len(link.child_columns) != len(link.parent_columns):
        yield f"link {link} pairs {len(link.child_columns)} with {len(link.parent_columns)} columns"
    for key, columns in ((link.child, link.child_columns), (link.parent, link.parent_columns)):
        if key in schema.tables:
            yield from _unknown(f"link {link}", columns, schema.tables[key].column_names)


def _task_problems(task: Task, schema: Schema) -> Iterator[str]:
    if task.entity_table not in schema.tables:
        yield f"the task's entity table '{task.entity_table}' is not among its tables"
    elif not schema.tables[task.entity_table].primary_key:
        yield f"the task's entity table '{task.entity_table}' has no key"
    else:
        entity, asked = schema.tables[task.entity_table], task.asked
        if asked.own_time and not entity.time_column:
            yield f"the task asks about rows of '{task.entity_table}' as of their own time, but they have none"
        if asked.empty:
            yield from _unknown("the task", (asked.empty,), entity.column_names)
        if {*asked.hidden} & {*entity.primary_key, entity.time_column}:
            yield f"the task hides the key or the time of '{task.entity_table}'"
    for moment in (task.val_timestamp, task.test_timestamp):
        if moment is not None and moment.tzinfo is not None:
            yield f"timestamp {moment} has a time zone"


def _path_problems(card: ModelCard) -> Iterator[str]:
    if not card.paths or card.paths[0].kind != "entity" or any(path.kind == "entity" for path in card.paths[1:]):
        yield "the first path, and no other, must be the entity"
    names = [path.name for path in card.paths]
    if len(set(names)) < len(names):
        yield "two paths have the same name"
    for path in card.paths:
        if not _PATH_NAME.fullmatch(path.name) or path.name in RESERVED_NAMES:
            yield f"'{path.name}' cannot be the name of a path"
        if not 1 <= path.fanout <= MAX_FANOUT:
            yield f"path {path.name} has fanout {path.fanout}"
        if not all(0 < days <= MAX_DAYS for days in path.count_days):
            yield f"path {path.name} counts over spans that are not from 0 to {MAX_DAYS:,} days"
        if path.data_age and (path.kind != "entity" or not card.schema.timed_tables):
            yield f"path {path.name} has data_age, which only the entity can have, and only if a table has a time"
        yield from _path_link_problems(path, card)


def _ranker_problems(card: ModelCard, ranker: Ranker) -> Iterator[str]:
    """Check the trees of a ranker, and that its way leads from the entities to the items along known links."""
    yield from ranker.problems()
    if card.paths or card.inputs or card.sha256 or card.statistics:
        yield "it has a ranker, and paths, inputs or artefacts"
    items = card.schema.tables.get(card.task.item_table or "")
    if items is None or len(items.primary_key) != 1:
        yield f"the table of the items '{card.task.item_table}' is not among its tables, or has no key"
    place = card.task.entity_table
    for hop in ranker.way:
        if not any(hop.link.same_columns(known) for known in card.schema.links):
            yield f"its way follows the link {hop.link}, which is not one of its links"
        if (hop.link.parent if hop.down else hop.link.child) != place:
            yield f"its way continues along {hop.link}, but is at {place}"
        place = hop.table
    if place != card.task.item_table:
        yield f"its way ends at {place}, not at {card.task.item_table}"
    if not any(card.schema.tables[hop.table].time_column for hop in ranker.way if hop.table in card.schema.tables):
        yield "no table on its way has a time"


def _path_link_problems(path: Path, card: ModelCard) -> Iterator[str]:
    """Check that a path starts at the entity, follows known links, and ends at its table."""
    for link in (*path.links, *path.lookups):
        if not any(link.same_columns(known) for known in card.schema.links):
            yield f"path {path.name} follows the link {link}, which is not one of its links"
    if len(path.links) != _LINKS_OF_KIND[path.kind]:
        yield f"path {path.name} is of kind {path.kind}, but has {len(path.links)} links"
        return
    place = card.task.entity_table
    for position, link in enumerate(path.links):
        forward = (position == 0 and path.kind in ("parents", "siblings")) or (position == 1 and path.kind == "hub")
        start, end = (link.child, link.parent) if forward else (link.parent, link.child)
        if start != place:
            yield f"path {path.name} continues from {start}, but is at {place}"
        place = end
    if place != path.table:
        yield f"path {path.name} ends at {place}, not at {path.table}"
    for link in path.lookups:
        if link.child != path.table:
            yield f"path {path.name} looks up {link}, which does not start at {path.table}"
    if path.kind == "hub" and not any(x.kind == "children" and x.links == path.links[:1] for x in card.paths):
        yield f"path {path.name} has no path to the rows that point at its hub"
    yield from _unknown(f"path {path.name}", (path.table, *(x.parent for x in path.lookups)), card.inputs)


def _input_problems(key: str, inputs: NodeInputs, schema: Schema) -> Iterator[str]:
    if key not in schema.tables or inputs.table != key:
        yield f"the inputs of '{key}' are of table '{inputs.table}'"
        return
    table: Table = schema.tables[key]
    yield from _unknown(f"an input of {key}", inputs.columns, table.column_names)
    for number in inputs.numbers:
        if number.kind == "data_age":
            yield f"input {key}.{number.column} is of kind data_age, which only a path can have"
        if len(set(number.categories)) < len(number.categories):
            yield f"input {key}.{number.column} names a category twice"
    if table.time_column and (not inputs.numbers or inputs.numbers[0].column != table.time_column):
        yield f"the first number of {key} is not the age of its rows"
    for category in inputs.categories:
        if len(set(category.values)) < len(category.values):
            yield f"input {key}.{category.column} names a category twice"
        if any("\x1f" in value or "\0" in value for value in category.values):
            yield f"input {key}.{category.column} has a category that SQL cannot write"


def _number_problems(card: ModelCard) -> Iterator[str]:
    for name, value, least in (
        ("channels", card.channels, 1),
        ("the encoder's width", card.encoder.width, 0),
        ("the encoder's max_tokens", card.encoder.max_tokens, 2),
    ):
        if not least <= value <= MAX_WIDTH:
            yield f"{name} is {value}"
    if not all(1 <= window <= MAX_WIDTH for window in card.windows):
        yield f"the windows are {', '.join(map(str, card.windows))}"
    if card.stale_after_days is not None and not math.isfinite(card.stale_after_days):
        yield f"stale_after_days is {card.stale_after_days}"
    if card.trained_until.tzinfo is not None or card.created.tzinfo is not None:
        yield "its times have a time zone"


def _statistic_problems(card: ModelCard) -> Iterator[str]:
    paths = {path.name: path for path in card.paths}
    yield from _unknown("a statistic", card.statistics, paths)
    for name in card.statistics.keys() & paths.keys():
        positions = card.statistics[name]
        [layout] = layouts_of((paths[name],), card.inputs)
        count = len(path_statistics(layout, card.windows))
        if not positions or list(positions) != sorted(set(positions)) or not 0 <= positions[0] <= positions[-1] < count:
            yield f"the statistics of path {name} are not ascending positions below {count}"


def _unknown(where: str, names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    missing = sorted(set(names) - set(known))
    if missing:
        yield f"{where} names '{missing[0]}', which it does not describe"
