"""Static tasks, in which time does not matter: their answer and how their rows are split.

Rows are split at random, by a hash of their key: a row stays in its split, whatever is inserted or deleted.
Alternatively, one of their columns names the split.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relsql.database.names import fold, stored_name
from relsql.errors import TaskError, nearest
from relsql.hints import correct
from relsql.schema.tables import Schema, Table
from relsql.sql_text import ident, literal
from relsql.tasks.fields import short
from relsql.tasks.kinds.cells import answer_column, cell_fields

if TYPE_CHECKING:
    from relsql.tasks.splits import Split
    from relsql.tasks.task import Task

AT_RANDOM = "random(0)"
"""How rows are split by default."""

SHARES: dict[Split, int] = {"train": 80, "val": 10, "test": 10}
"""How many of 100 rows each split gets at random."""

_WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""The names of the splits in such a column, in upper or lower case."""

_RANDOM = re.compile(r"random\s*\(\s*(\d{1,18})\s*\)", re.IGNORECASE)


def random_seed(split: str) -> str | None:
    """The digits of N in `random(N)`; None if the text is the name of a column."""
    found = _RANDOM.fullmatch(split.strip())
    return found[1] if found else None


def split_column(split: str | None) -> tuple[str, ...]:
    """The column that names the split, if there is one."""
    return (split,) if split and random_seed(split) is None else ()


def check_static(task: Task) -> None:
    """Check that a task has the fields of static tasks only if it is one.

    Raises:
        TaskError: a field does not belong to a task of this kind.
    """
    if task.is_static:
        wrong = [name for name in ("timedelta", "time_col") if getattr(task, name)]
    else:
        # The schema decides whether a line about a column is static.
        open_ = task.predict and task.kind == "autocomplete"
        wrong = ["split"] if task.split is not None and not open_ else []
    if wrong:
        raise TaskError(
            f"task '{short(task.name)}' is of kind {task.kind} with {' and '.join(wrong)}",
            expected="timedelta and time_col only in tasks where time matters, split only in those of kind static",
            fix=correct(wrong[0], "kind"),
        )


def static_fields(
    task: str, entity: str, target: str, sql: str, split: str, schema: Schema, *, as_number: bool = False
) -> dict[str, str]:
    """The fields of a static task with names as the schema has them; without a label query it asks for a column.

    Args:
        task: the task's name, for messages.
        entity: the table, as the task names it.
        target: the column of the label; if the table has a column of this name, it is hidden in all rows.
        sql: the label query, or empty.
        split: `random(N)`, or the column that names the split.
        schema: the schema of the database.
        as_number: the task is a regression.

    Raises:
        TaskError: a name does not exist, or the column is one that cannot be hidden: a key, a link or the time.
    """
    table = schema.find(entity)
    cell = {} if sql else cell_fields(task, entity, target, schema, timed=False, as_number=as_number)
    found = {"split": split, **cell}
    if table is None:
        return found
    for column in split_column(split):
        stored = stored_name(column, table.stored_names)
        if stored is None:
            raise TaskError(
                f"task '{task}': table '{table.key}' has no column '{column}' that names the split",
                expected=f"random(N), or a column: {nearest(column, table.stored_names)}",
                fix=correct("split"),
            )
        found["split"] = stored
    for column in (target, found["split"]):
        if fold(column) in map(fold, table.stored_names):
            answer_column(task, table, column, schema)
    return {"entity_table": table.key, **found}


def part_sql(entity: Table, split: str, part: Split | None, row: str) -> str:
    """The condition that a row of the entity table is in a split, or in any."""
    if column := split_column(split):
        words = [word for name in SHARES if part in (None, name) for word in _WORDS[name]]
        return f"lower(trim(CAST({row}.{ident(column[0])} AS VARCHAR))) IN ({', '.join(map(literal, words))})"
    if part is None:
        return "true"
    parts = [f"CAST({row}.{ident(name)} AS VARCHAR)" for name in entity.primary_key]
    text = " || '|' || ".join([literal(random_seed(split) or ""), *parts])
    first = sum(SHARES[name] for name in list(SHARES)[: list(SHARES).index(part)])
    return f"md5_number({text}) % 100 BETWEEN {first} AND {first + SHARES[part] - 1}"


def split_reason(entity: str, split: str) -> str:
    """How rows are split, for people."""
    if column := split_column(split):
        return f"the column {column[0]} of {entity} names the split"
    shares = ", ".join(f"{share} % {name}" for name, share in SHARES.items())
    return f"rows of {entity} are split at random, by a hash of their key: {shares}"
