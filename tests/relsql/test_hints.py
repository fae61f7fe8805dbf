"""Messages that name a field of a task link to its documentation (relsql.hints)."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import fields
from pathlib import Path

import duckdb
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from relsql.cli import cli
from relsql.database.connections import open_database
from relsql.errors import DatabaseError, ModelError, SchemaError, TaskError
from relsql.hints import FIELDS_PAGE, command, correct, in_manifest, remove_column
from relsql.schema.checks import check_time_type
from relsql.schema.declared.text import columns_text, parse_columns
from relsql.schema.reading import read_schema
from relsql.sql_text import ident
from relsql.tasks.task import Task
from tests.docs.test_pages import anchors
from tests.relsql.tasks.test_task_errors import MANIFEST

ROOT = Path(__file__).parents[2]
FIELDS = [field.name for field in fields(Task)]
BY_HAND = re.compile(r"""in the task manifest(?! \()""")


def test_every_field_is_documented_with_a_heading_of_its_name() -> None:
    found = anchors((ROOT / FIELDS_PAGE).read_text(encoding="utf-8"))
    assert set(FIELDS) <= found


def test_a_hint_links_to_the_field() -> None:
    assert correct("sql", "timedelta") == "correct sql or timedelta in the task manifest (docs/tasks.md#sql)"
    assert in_manifest("a shorter timedelta", "timedelta").endswith("(docs/tasks.md#timedelta)")


@pytest.mark.parametrize("name", ["orders", "true", "2024", "a: b", "a, b", 'say "hi"', "it's", "- x", "ünï", " a "])
def test_yaml_reads_the_names_of_a_column_to_remove(name: str) -> None:
    written = re.search(r"write (remove_columns: .*) in the task", remove_column(name, name))
    assert written and yaml.safe_load(written.group(1)) == {"remove_columns": [[name, name]]}


def test_no_message_sends_to_the_manifest_without_a_link() -> None:
    by_hand = [path.name for path in SOURCES if BY_HAND.search(path.read_text(encoding="utf-8"))]
    assert by_hand == ["hints.py"] or by_hand == []


HOSTILE = (
    "it's",
    'say "hi"',
    "two  spaces",
    " a b ",
    "$HOME",
    "`id`",
    "a;b",
    "a\\b",
    "a>b",
    "*",
    "#",
    "a(b",
    "ünï",
    "a.b",
)
"""Names that a shell would read as something else."""

SOURCES = [path for room in ("relsql", "udfs", "exporters") for path in (ROOT / room).rglob("*.py")]
COMMANDS = "|".join(sorted(cli.commands.keys() - {"serve"}))
WITHOUT_QUOTES = re.compile(rf"\brelsql ({COMMANDS})\b[^;,]*\{{")
"""A command with a value in it, written as text. `relsql serve` stands in messages as the subject only."""


def arguments(message: str) -> list[str]:
    """The arguments of the command at the end of a message, as a shell reads them."""
    return shlex.split(message[message.rindex("relsql ") :])


@given(st.text(st.characters(exclude_categories=("C",)), min_size=1) | st.sampled_from(HOSTILE))
def test_a_shell_finds_every_name_in_a_command(name: str) -> None:
    assert shlex.split(command("train", "FILE", name, "--name", name)) == [
        "relsql",
        "train",
        "FILE",
        name,
        "--name",
        name,
    ]
    error = ModelError("no such model", fix=command("promote", "FILE", name, "VERSION"))
    words = shlex.split(str(error).partition("Fix: ")[2])
    assert words == ["relsql", "promote", "FILE", name, "VERSION"] or _has_line_break(name)


def _has_line_break(name: str) -> bool:
    return len(name.splitlines()) > 1 or name.strip("\r\n") != name


@given(st.text(st.characters(exclude_categories=("C",)), min_size=1) | st.sampled_from(HOSTILE))
def test_a_declaration_reads_the_names_that_were_written(name: str) -> None:
    assume(name.strip())
    words = arguments(command("init", "FILE", "--known-column", columns_text("orders", name)))
    assert parse_columns(words[-1]) == ("orders", (name,))
    assert parse_columns(columns_text(name, "a"))[1] == ("a",)


@pytest.mark.parametrize("name", HOSTILE)
def test_messages_show_commands_that_a_shell_can_read(name: str, con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"CREATE TABLE {ident(name)} (a INTEGER)")
    schema = read_schema(con)
    with pytest.raises(SchemaError) as caught:
        check_time_type(next(iter(schema.tables.values())), "gone")
    key, _ = parse_columns(arguments(str(caught.value))[-1])
    assert schema.table(key).name == name
    with pytest.raises(DatabaseError) as refused:
        open_database(Path(f"{name}.duckdb"), read_only=True)
    assert arguments(str(refused.value))[-1] == f"{name}.duckdb"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_command_is_written_around_a_name_by_hand(path: Path) -> None:
    texts = [ast.unparse(each) for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if is_text(each)]
    assert [text for text in texts if WITHOUT_QUOTES.search(text)] == []


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"task_type": "ranking"}, "task_type"),
        ({"num_eval_timestamps": 0}, "num_eval_timestamps"),
        ({"val_timestamp": "soon"}, "val_timestamp"),
        ({"remove_columns": "born"}, "remove_columns"),
        ({"timedelta": None}, "timedelta"),
        ({"sql": 5}, "sql"),
        ({"name": "a\0b"}, "name"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_place_in_the_page(changes: dict[str, object], field: str) -> None:
    with pytest.raises(TaskError, match=re.escape(f"({FIELDS_PAGE}#{field})")):
        Task.from_manifest(MANIFEST | changes)
