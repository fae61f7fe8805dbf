"""A task: a question about the future, asked as SQL.

The fields are those of a RelBench 3 task manifest (`kind: forecast`), plus the two split timestamps that RelBench
keeps with the data set. The label query sees every table of the database by name and a relation
`timestamps(timestamp)`, and returns one row per (entity, timestamp) with the label over
`(timestamp, timestamp + timedelta]`.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import duckdb

from relsql.errors import TaskError, nearest
from relsql.schema import has_relsql_table
from relsql.store import ensure_table, relsql_table

TaskType = Literal["binary_classification", "regression"]
TASK_TYPES: tuple[str, ...] = ("binary_classification", "regression")


@dataclass(frozen=True, slots=True)
class Task:
    """A forecast task over one entity table.

    Attributes:
        name: name of the task, unique in its database.
        task_type: `binary_classification` (labels 0 and 1) or `regression`.
        entity_table: the table whose rows are scored.
        entity_col: its key column; the label query returns it under this name.
        target_col: the label column of the query.
        time_col: the seed time column of the query.
        timedelta: the horizon as a DuckDB interval, `30 days`; labels lie in (time, time + timedelta].
        sql: the label query; `{timedelta}` in it is replaced by `timedelta`.
        num_eval_timestamps: number of validation and of test timestamps, one `timedelta` apart.
        val_timestamp: first validation timestamp; default: chosen from the data.
        test_timestamp: first test timestamp; default: chosen from the data.
        remove_columns: (table, column) pairs that the model must not see.
        description: one line for people.
    """

    name: str
    task_type: str
    entity_table: str
    entity_col: str
    target_col: str
    time_col: str
    timedelta: str
    sql: str
    num_eval_timestamps: int = 1
    val_timestamp: datetime.datetime | None = None
    test_timestamp: datetime.datetime | None = None
    remove_columns: tuple[tuple[str, str], ...] = ()
    description: str | None = None

    def __post_init__(self) -> None:
        if self.task_type not in TASK_TYPES:
            raise TaskError(
                f"task '{self.name}' has task_type '{self.task_type}'", expected=nearest(self.task_type, TASK_TYPES)
            )
        if self.num_eval_timestamps < 1:
            raise TaskError(f"task '{self.name}' has num_eval_timestamps {self.num_eval_timestamps}", expected=">= 1")

    @property
    def is_classification(self) -> bool:
        """True for `binary_classification`."""
        return self.task_type == "binary_classification"

    @classmethod
    def from_manifest(cls, source: str | Path | dict[str, Any]) -> Task:
        """Read a RelBench 3 task manifest (a YAML file, or its fields).

        Raises:
            TaskError: a field is missing, or the manifest is of a kind that relsql does not train.
        """
        raw = source if isinstance(source, dict) else _load_yaml(Path(source))
        name = str(raw.get("name") or "unnamed")
        kind = raw.get("kind", "forecast")
        if kind != "forecast":
            raise TaskError(
                f"task '{name}' is of kind '{kind}'", expected="kind: forecast, with a label query in 'sql'"
            )
        required = [f.name for f in fields(cls) if f.name in _REQUIRED]
        missing = [key for key in required if not raw.get(key)]
        if missing:
            raise TaskError(f"task '{name}' lacks {', '.join(missing)}", expected=f"the fields {', '.join(required)}")
        values = {f.name: raw[f.name] for f in fields(cls) if raw.get(f.name) is not None}
        values["remove_columns"] = tuple((str(t), str(c)) for t, c in raw.get("remove_columns") or ())
        for key in ("val_timestamp", "test_timestamp"):
            if key in values:
                values[key] = as_timestamp(values[key], name, key)
        return cls(**values)

    def to_manifest(self) -> dict[str, Any]:
        """The task as a RelBench 3 manifest, with the split timestamps when they are set."""
        values = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        values["remove_columns"] = [list(pair) for pair in self.remove_columns]
        for key in ("val_timestamp", "test_timestamp"):
            if key in values:
                values[key] = values[key].isoformat(sep=" ")
        if not self.remove_columns:
            del values["remove_columns"]
        return {"kind": "forecast", **values}


_REQUIRED = {"name", "task_type", "entity_table", "entity_col", "target_col", "time_col", "timedelta", "sql"}


def as_timestamp(value: object, task_name: str, field_name: str) -> datetime.datetime:
    """Read a date, datetime or ISO text as a zone-less timestamp.

    Raises:
        TaskError: it is none of these.
    """
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    try:
        return as_timestamp(datetime.datetime.fromisoformat(str(value)), task_name, field_name)
    except ValueError:
        raise TaskError(
            f"task '{task_name}': {field_name} '{value}' is no timestamp", expected="a date such as 2010-01-01"
        ) from None


def _load_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(f"task manifest '{path}' cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise TaskError(f"task manifest '{path}' is no valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, dict):
        raise TaskError(f"task manifest '{path}' is empty", expected="the fields of a RelBench 3 task manifest")
    return raw


def save_task(con: duckdb.DuckDBPyConnection, catalog: str, task: Task) -> None:
    """Write `task` to `relsql.tasks`, replacing one of the same name. The caller owns the transaction."""
    table = ensure_table(con, catalog, "tasks")
    con.execute(f"DELETE FROM {table} WHERE name = ?", [task.name])
    values = asdict(task) | {"remove_columns": [list(pair) for pair in task.remove_columns]}
    columns = ", ".join(values)
    con.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})", list(values.values()))


def read_tasks(con: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, Task]:
    """Read all rows of `relsql.tasks`, by name."""
    if not has_relsql_table(con, catalog, "tasks"):
        return {}
    names = [f.name for f in fields(Task)]
    rows = con.execute(f"SELECT {', '.join(names)} FROM {relsql_table(catalog, 'tasks')} ORDER BY name").fetchall()
    tasks = {}
    for row in rows:
        missing = [key for key, value in zip(names, row, strict=True) if key in _REQUIRED and value is None]
        if missing:
            name = row[names.index("name")]
            raise TaskError(
                f"relsql.tasks has a row {f'of task {name!r} ' if name else ''}without {missing[0]}",
                expected="the fields of a task manifest",
                fix=f"DELETE FROM relsql.tasks WHERE {missing[0]} IS NULL, then relsql init FILE --task manifest.yaml",
            )
        values = {key: value for key, value in zip(names, row, strict=True) if value is not None}
        values["remove_columns"] = tuple((pair[0], pair[1]) for pair in values.get("remove_columns", ()))
        tasks[values["name"]] = Task(**values)
    return tasks


def read_task(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> Task:
    """Read one task.

    Raises:
        TaskError: there is no task of this name.
    """
    tasks = read_tasks(con, catalog)
    if name not in tasks:
        raise TaskError(
            f"task '{name}' does not exist in database '{catalog}'",
            expected=nearest(name, tasks),
            fix="relsql init FILE --task manifest.yaml",
        )
    return tasks[name]
