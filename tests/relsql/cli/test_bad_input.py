"""Bad input on the command line: one line on stderr and exit code 1, or a wrong usage and 2; never a traceback."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relsql.cli import cli

MODEL_COMMANDS = {
    "evaluate": ("evaluate", "{file}", "{model}"),
    "refresh": ("refresh", "{file}", "{model}"),
    "score": ("score", "{file}", "{model}"),
    "score into": ("score", "{file}", "{model}", "--into", "risk"),
    "promote": ("promote", "{file}", "{model}", "1"),
    "drop": ("drop", "{file}", "{model}", "--yes"),
    "export": ("export", "{file}", "{model}", "--output", "{file}.model"),
    "publish": ("publish", "{file}", "{model}"),
    "unpublish": ("unpublish", "{file}", "{model}"),
    "selftest": ("selftest", "{file}", "{model}"),
    "sql": ("sql", "{file}", "SELECT 1", "--model", "{model}"),
}
FILE_COMMANDS = {
    **MODEL_COMMANDS,
    "inspect": ("inspect", "{file}"),
    "init": ("init", "{file}", "--yes"),
    "init without writing": ("init", "{file}"),
    "train": ("train", "{file}", "{model}", "--name", "x"),
    "sql that writes": ("sql", "{file}", "CREATE TABLE t (a INTEGER)"),
    "shell": ("shell", "{file}", "-c", "FROM orders"),
    "models": ("models", "{file}"),
    "serve": ("serve", "{file}"),
    "demo": ("demo", "{file}"),
    "import": ("import", "{file}", "{file}"),
}

LONG = "x" * 300
ODD_NAMES = (
    "",
    " ",
    "it's",
    'a"b',
    "a\nb",
    "a; DROP TABLE orders",
    "--",
    "\udcff",
    "\x1b[31m",
    "表",
    "a.b.c",
    "..",
    LONG,
    "@",
    "m@",
    "m@0",
)


def refused(*arguments: object) -> str:
    """Run a command that has to fail, and return its message."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="relsql")
    what = f"{arguments!r}: {result.exception!r}\n{result.stderr}"
    assert isinstance(result.exception, SystemExit), what
    assert result.exit_code in (1, 2), what
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith(("relsql: error: ", "Error: "))]
    assert errors == lines[-1:], what
    assert result.exit_code == 1 or lines[0].startswith("Usage: "), what
    assert "\x1b" not in result.stderr and "Traceback" not in result.stderr
    return errors[0]


def filled(command: tuple[str, ...], file: object, model: object = "churn") -> list[str]:
    return [part.format(file=file, model=model) for part in command]


def _damaged(path: Path) -> None:
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE t AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(100000)")
    content = bytearray(path.read_bytes())
    content[12_388:16_000] = bytes(3_612)
    path.write_bytes(content)


def _sqlite(path: Path) -> None:
    con = sqlite3.connect(path)
    con.execute("CREATE TABLE orders (a INTEGER)")
    con.commit()
    con.close()


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", "b")


def _cut(path: Path) -> None:
    duckdb.connect(str(path)).close()
    path.write_bytes(path.read_bytes()[:4096])


def _loop(path: Path) -> None:
    path.symlink_to(path)


FILES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "loop": _loop,
    "empty": Path.touch,
    "text": lambda path: path.write_text("hello"),
    "parquet": lambda path: path.write_bytes(b"PAR1" + bytes(100) + b"PAR1"),
    "zip": _zip,
    "sqlite": _sqlite,
    "damaged": _damaged,
    "cut": _cut,
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_not_databases(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f.duckdb"
    FILES[kind](path)
    for name, command in FILE_COMMANDS.items():
        # If there is no file, `demo` and `import` create one.
        if kind not in ("nothing", "loop") or name not in ("demo", "import"):
            assert "f.duckdb" in refused(*filled(command, path)), name


@pytest.mark.parametrize(
    "name", ["no'such\n\"file", LONG, "\udcff.duckdb", "a/b", "md:x", ":memory:", "\u202e", "\x1b[31m"]
)
def test_files_with_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for command in FILE_COMMANDS.values():
        if command[0] not in ("demo", "import"):
            refused(*filled(command, name))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["md:x", ":memory:", "s3:x", 'it\'s "a" 表.duckdb'])
def test_a_file_is_opened_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with duckdb.connect(str(tmp_path / "a.duckdb")) as con:
        con.execute("CREATE TABLE orders AS SELECT 7 AS a")
    (tmp_path / "a.duckdb").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["sql", name, "FROM orders", "--format", "csv"])
    assert result.stdout == "a\n7\n"


@pytest.mark.parametrize("model", ODD_NAMES)
def test_models_and_tasks_with_odd_names(shop: Path, model: str) -> None:
    before = shop.read_bytes()
    for command in MODEL_COMMANDS.values():
        refused(*filled(command, shop, model))
    refused("train", shop, model, "--name", "x")
    refused("inspect", shop, model if model not in ("", "--") else "x")
    for suffix in (".yaml", ".YML"):
        refused("train", shop, f"{model}{suffix}", "--name", "x")
    assert shop.read_bytes() == before


def test_model_names_that_cannot_be_function_names(shop: Path) -> None:
    for name in ODD_NAMES[:-3]:
        refused("train", shop, "customer-churn", "--name", name)


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "2020-13-45", "10000-01-01", "0000-01-01", "0001-01-01T00:00+05:00", "9999-12-31T23:59-05:00"),
        *("infinity", "1e308", "\udcff", "'; DROP TABLE orders; --", LONG, "2020-01-01 25:00", "\x1b[31m"),
    ],
)
def test_odd_times(shop: Path, value: str) -> None:
    refused("score", shop, "churn", f"--as-of={value}")


@pytest.mark.parametrize(
    "option",
    [
        *("--primary-key", "--time-column", "--no-time-column", "--link", "--remove-link", "--task"),
    ],
)
@pytest.mark.parametrize("value", [*ODD_NAMES, "orders", "orders(", "orders()", "orders(x) ->", "x(y) -> z", "(()"])
def test_odd_declarations(shop: Path, option: str, value: str) -> None:
    if (option, value) in (("--primary-key", "orders()"), ("--no-time-column", "orders")):
        pytest.skip("says that there is none")
    refused("init", shop, f"{option}={value}")


@pytest.mark.parametrize("options", [("--epochs", "0"), ("--seed", "x"), ("--max-paths", "0"), ("--fanout", "1e3")])
def test_odd_options(shop: Path, options: tuple[str, str]) -> None:
    refused("train", shop, "customer-churn", "--name", "x", *options)


@pytest.mark.parametrize(
    "statement", ["", ";", "SELEC", "\udcff", "SELECT 1; SELECT 2", "(" * 5000, "SELECT '\0", "FROM x"]
)
def test_odd_statements(shop: Path, statement: str) -> None:
    refused("sql", shop, statement)


@pytest.mark.parametrize("size", ["", "lots", "\udcff", "1 parsec"])
def test_odd_sizes(shop: Path, size: str) -> None:
    refused("score", shop, "churn", f"--memory-limit={size}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=st.sampled_from(sorted(set(FILE_COMMANDS) - {"demo", "serve", "import"})),
    model=st.text(st.characters(exclude_characters="\0"), max_size=12).filter(lambda text: not text.startswith("-")),
)
def test_any_name_of_a_model(tmp_path_factory: pytest.TempPathFactory, command: str, model: str) -> None:
    path = tmp_path_factory.mktemp("any") / "a.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE orders (a INTEGER)")
    if "{model}" in FILE_COMMANDS[command]:
        refused(*filled(FILE_COMMANDS[command], path, model))
    else:
        result = CliRunner().invoke(cli, filled(FILE_COMMANDS[command], path, model))
        assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("RENAME COLUMN amount TO price", "column orders.amount is missing"),
        ("DROP COLUMN note", "column orders.note is missing"),
        ("RENAME TO sales", "table orders is missing"),
    ],
)
def test_the_shell_says_which_table_changed_under_a_function(shop: Path, change: str, what: str) -> None:
    for call in ("SELECT predict_churn(1)", "FROM predict_churn_batch()"):
        message = refused("shell", shop, "-c", f"BEGIN; ALTER TABLE orders {change}; {call};")
        assert what in message and f"Fix: relsql train {shop} customer-churn --name churn" in message
    # Errors that have nothing to do with a model are DuckDB's.
    assert "nowhere" in refused("shell", shop, "-c", "FROM nowhere")
