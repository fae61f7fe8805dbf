"""The command line without models: help, imports, streams, exit codes, import and inspect."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import duckdb
import pytest
from click.testing import CliRunner

from relsql.cli import cli
from relsql.cli.reference import reference
from relsql.errors import MissingExtraError
from relsql.integrations.new_database import ImportReport
from tests.relsql.cli.commands import MANIFEST, ROOT, Run, process

COMMANDS = [
    *("demo", "init", "import", "inspect", "task", "pretrain", "train", "evaluate", "backtest"),
    *("leakcheck", "refresh", "score"),
    *("explain", "importance", "threshold", "outcomes", "drift", "card", "report", "sql", "shell", "serve"),
    *("models", "promote", "drop", "export", "shard-score", "spark-score", "publish", "unpublish", "selftest"),
]


# Help, imports and the page


def test_help_lists_all_commands_in_order_of_use(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    listed = [line.split()[0] for line in result.stdout.split("Commands:\n")[1].splitlines()]
    assert listed == COMMANDS == list(cli.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_complete_help(run: Run, name: str) -> None:
    assert run(name, "--help").exit_code == 0
    command = cli.commands[name]
    assert command.short_help and len(command.short_help) < 60
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, f"{name} {param.name}"


def test_page_is_current() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference(), (
        "run: python -m relsql.cli.reference > docs/cli.md"
    )


def test_help_loads_nothing_but_click() -> None:
    script = """
import sys
from relsql.cli import main
try:
    main()
except SystemExit:
    pass
heavy = {"duckdb", "numpy", "pyarrow", "torch", "tqdm", "yaml", "onnxruntime"} & set(sys.modules)
print("loaded", *sorted(heavy), file=sys.stderr)
"""
    result = process("--help", script=script)
    assert result.stderr == "loaded\n"


@pytest.mark.parametrize("args", [("inspect",), ("models",), ("sql", "SELECT 1"), ("score", "m")])
def test_light_commands_do_not_load_torch(bare_shop: Path, args: tuple[str, ...]) -> None:
    script = """
import sys
from relsql.cli import main
try:
    main()
except SystemExit:
    pass
print("loaded", *sorted({"torch", "transformers", "scipy", "sklearn"} & set(sys.modules)), file=sys.stderr)
"""
    result = process(args[0], bare_shop, *args[1:], script=script)
    assert result.stderr.endswith("loaded\n")


def test_module_is_the_command_line() -> None:
    result = process("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("relsql, version ")


# Failures


def test_an_error_is_one_line_on_stderr(run: Run, tmp_path: Path) -> None:
    result = run("inspect", tmp_path / "none.duckdb")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("relsql: error: file ") and result.stderr.count("\n") == 1


def test_a_wrong_command_line_exits_with_2(run: Run, bare_shop: Path) -> None:
    assert run("train", bare_shop, "churn").exit_code == 2
    assert run("sql", bare_shop, "SELECT 1; SELECT 2").exit_code == 2
    assert run("sql", bare_shop, "").exit_code == 2
    assert run("score", bare_shop, "m", "--as-of", "yesterday").exit_code == 2


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        duckdb.InterruptException("INTERRUPT Error: Interrupted!"),
        RuntimeError("Query interrupted"),
        duckdb.InvalidInputException("Invalid Input Error: Python exception occurred: KeyboardInterrupt"),
    ],
)
def test_an_interruption_exits_with_130(
    run: Run, bare_shop: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def interrupt(*_: object) -> None:
        raise error

    monkeypatch.setattr("relsql.cli.inspection.inspect", interrupt)
    result = run("inspect", bare_shop)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.strip() == "relsql: interrupted: nothing was changed"


def test_a_bug_keeps_its_traceback(bare_shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("relsql.cli.inspection.inspect", fail)
    result = CliRunner().invoke(cli, ["inspect", str(bare_shop)])
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_closed_pipe_causes_no_traceback(bare_shop: Path) -> None:
    command = [sys.executable, "-m", "relsql", "sql", str(bare_shop), "FROM range(300000)", "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.readline() == "range\n"
        running.stdout.close()
        assert running.stderr.read() == ""


def test_missing_training_libraries_are_named(run: Run, bare_shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name == "relsql.training.fitting.fit_network"]:
        monkeypatch.delitem(sys.modules, name)
    manifest = bare_shop.with_name("churn.yaml")
    manifest.write_text(MANIFEST.format(table="customers", column="customer_id"))
    result = run("train", bare_shop, manifest, "--name", "m")
    assert result.exit_code == 1
    expected = MissingExtraError.for_extra("train", "training")
    assert result.stderr.splitlines()[-1] == f"relsql: error: {expected}"


# import and inspect


def test_import_prints_what_it_wrote(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(source: str, path: Path, *, overwrite: bool, progress: Callable[[str, int, int], None]) -> ImportReport:
        assert (source, overwrite) == ("folder", True)
        progress("results", 0, 1)
        progress("", 1, 1)
        links = ("results(d) -> drivers(d)",)
        return ImportReport(str(path), (("results", 26280),), links, (), ("dnf",), (("top", "no sql"),), ("odd",))

    monkeypatch.setattr("relsql.integrations.import_relbench.import_dataset", fake)
    result = run("import", "folder", tmp_path / "f.duckdb", "--overwrite")
    assert result.exit_code == 0
    for text in ("26,280", "results(d) -> drivers(d)", "dnf", "top: no sql", "odd"):
        assert text in result.stdout
    assert result.stderr.startswith("1/1 results\n") and "relsql train" in result.stderr


def test_import_of_a_sqlite_file_names_the_next_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("north wind.sqlite") as con:
        con.executescript("CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (a INTEGER REFERENCES a);")
    con.close()
    refused = run("inspect", "north wind.sqlite")
    assert refused.stderr == (
        "relsql: error: file 'north wind.sqlite' is a SQLite file, not a DuckDB database. "
        "Fix: relsql import 'north wind.sqlite' 'north wind.duckdb'\n"
    )
    result = run("import", "north wind.sqlite")
    assert result.exit_code == 0 and "b(a) -> a(id)" in result.stdout
    assert result.stderr.endswith("next: relsql init 'north wind.duckdb'\n")
    assert run("inspect", "north wind.duckdb").exit_code == 0


@pytest.mark.parametrize("command", [("init", "--yes"), ("inspect",), ("train", "t", "--name", "m"), ("sql", "FROM t")])
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"a,b\n1,2\n", "is a CSV file, not a DuckDB database. Fix: relsql import {path} t.duckdb"),
        ("t.json", b'{"a": 1}', "is a JSON file, not a DuckDB database. Fix: relsql import {path} t.duckdb"),
        ("t.pq", b"PAR1", "is a Parquet file, not a DuckDB database. Fix: relsql import {path} t.duckdb"),
        ("t.db", b"SQLite format 3\0", "is a SQLite file, not a DuckDB database. Fix: relsql import {path} t.duckdb"),
        ("t.doc", b"hello", "is not a DuckDB database. Fix: relsql import SOURCE t.duckdb"),
        ("none.duckdb", None, "does not exist. Fix: relsql import SOURCE {path}"),
    ],
)
def test_a_file_of_another_kind_is_named_with_the_command_that_imports_it(
    run: Run, tmp_path: Path, command: tuple[str, ...], name: str, content: bytes | None, said: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    result = run(command[0], path, *command[1:])
    assert result.exit_code == 1 and result.stderr == f"relsql: error: file '{path}' {said.format(path=path)}\n"


def test_import_of_a_folder_without_data_set_fails(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("relbench")
    result = run("import", tmp_path, tmp_path / "f.duckdb")
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert not (tmp_path / "f.duckdb").exists()


def test_inspect_text_and_json(run: Run, bare_shop: Path) -> None:
    assert "orders" in run("inspect", bare_shop).stdout
    report = json.loads(run("inspect", bare_shop, "--json").stdout)
    assert [table["name"] for table in report["tables"]] == ["customers", "orders"]
    assert "ordered_at" in run("inspect", bare_shop, "orders").stdout
    assert json.loads(run("inspect", bare_shop, "orders", "--json").stdout)["rows"] == 400
    failed = run("inspect", bare_shop, "order")
    assert failed.exit_code == 1 and "did you mean 'orders'" in failed.stderr


def test_models_of_a_file_without_models(run: Run, bare_shop: Path) -> None:
    result = run("models", bare_shop)
    assert result.stdout.startswith("model") and "relsql train" in result.stderr
    assert json.loads(run("models", bare_shop, "--json").stdout) == []
