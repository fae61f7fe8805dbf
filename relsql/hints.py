"""What a message says to do: a command of relsql for the shell, or a change to a field of a task."""

from __future__ import annotations

import json
import re
import shlex

FIELDS_PAGE = "docs/tasks.md"
"""The page of the task's fields; each field has a heading of its name, and so an anchor."""

_OF_A_FILE = re.compile(r"\b(relsql [a-z]+) FILE\b")
"""A command on the database that a message is about, which does not know its path."""

_PLAIN_YAML = re.compile(r"[A-Za-z_][\w.]*")
_YAML_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


def counted(number: int, thing: str) -> str:
    """How many there are of a thing, as in `1 row` and `1,204 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def command(*arguments: object) -> str:
    """A command of relsql as it is typed in a shell, with all that a name needs: `relsql promote FILE 'my model' 2`."""
    return shlex.join(["relsql", *map(str, arguments)])


def with_file(message: str, file: object) -> str:
    """A message whose commands name the database: `relsql init FILE --yes` becomes `relsql init shop.duckdb --yes`."""
    return _OF_A_FILE.sub(lambda found: f"{found[1]} {shlex.quote(str(file))}", message)


def correct(*fields: str) -> str:
    """The fix of a message that is about one field or several: `correct sql in the task manifest (docs/tasks.md#sql)`.

    The link goes to the first field.
    """
    return in_manifest(f"correct {' or '.join(fields)}", fields[0])


def remove_column(table: str, column: str) -> str:
    """The fix of a message about a column that the model should not read."""
    return in_manifest(f"write remove_columns: [[{_yaml_text(table)}, {_yaml_text(column)}]]", "remove_columns")


def in_manifest(doing: str, field: str) -> str:
    """The fix of a message, something to do to the task manifest, with a link to the field that it is about."""
    return f"{doing} in the task manifest ({see(field)})"


def see(field: str) -> str:
    """Where a field is documented: `docs/tasks.md#sql`."""
    return f"{FIELDS_PAGE}#{field}"


def _yaml_text(name: str) -> str:
    """A name as an item of a list in YAML, quoted where YAML would read something else."""
    plain = _PLAIN_YAML.fullmatch(name) and name.lower() not in _YAML_WORDS
    return name if plain else json.dumps(name, ensure_ascii=False)
