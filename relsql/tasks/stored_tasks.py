"""Tasks in the table `tasks` of relsql's schema."""

from __future__ import annotations

from dataclasses import asdict, fields

import duckdb

from relsql.database.names import stored_name
from relsql.database.relsql_tables import ensure_table, has_relsql_table, rows_sql
from relsql.errors import TaskError, nearest
from relsql.hints import in_manifest
from relsql.tasks.predict.compile import is_line
from relsql.tasks.task import Task


def save_task(con: duckdb.DuckDBPyConnection, catalog: str, task: Task) -> None:
    """Write `task` to `relsql.tasks`, replacing one of the same name. The caller owns the transaction.

    Raises:
        TaskError: a task exists whose name differs only in the case of its letters.
    """
    other = stored_name(task.name, read_tasks(con, catalog))
    if other not in (None, task.name):
        raise TaskError(
            f"task '{task.name}' differs from task '{other}' in the case of its letters only",
            expected="the same name, to replace it, or another one",
            fix=in_manifest(f"name: {other}", "name"),
        )
    table = ensure_table(con, catalog, "tasks")
    con.execute(f"DELETE FROM {table} WHERE name = ?", [task.name])
    values = asdict(task) | {"remove_columns": [list(pair) for pair in task.remove_columns]}
    columns = ", ".join(values)
    con.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})", list(values.values()))


def read_tasks(con: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, Task]:
    """Read all rows of `relsql.tasks`, by name."""
    if not has_relsql_table(con, catalog, "tasks"):
        return {}
    names = [field.name for field in fields(Task)]
    rows = con.execute(f"SELECT {', '.join(names)} FROM {rows_sql(con, catalog, 'tasks')} ORDER BY name ASC").fetchall()
    tasks = [Task.from_fields(dict(zip(names, row, strict=True))) for row in rows]
    return {task.name: task for task in tasks}


def find_task(con: duckdb.DuckDBPyConnection, catalog: str, text: str, name: str) -> Task:
    """The task that a line asks, called `name`; or the one that `text` refers to, see `read_task`.

    Raises:
        TaskError: the line does not parse, or no task has this name.
    """
    if is_line(text) and text not in read_tasks(con, catalog):
        return Task.from_line(text, name)
    return read_task(con, catalog, text)


def read_task(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> Task:
    """Read the task that `name` refers to, in upper or lower case.

    Raises:
        TaskError: no task has this name.
    """
    tasks = read_tasks(con, catalog)
    found = stored_name(name, tasks)
    if found is None:
        raise TaskError(
            f"task '{name}' does not exist in database '{catalog}'",
            expected=nearest(name, tasks),
            fix="relsql init FILE --task manifest.yaml, or ask in one line: PREDICT ... FOR EACH ...",
        )
    return tasks[found]
