"""The command line without models: streams, exit codes, help, import, init, inspect, sql."""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import duckdb
import pytest
from click.testing import CliRunner, Result

from relsql.cli import cli
from relsql.cli.output import note_findings
from relsql.cli.reference import reference
from relsql.errors import MissingExtraError, RelsqlError
from relsql.integrations.new_database import ImportReport
from relsql.schema.finding import Finding
from relsql.tasks.task import read_tasks

ROOT = Path(__file__).parents[3]
COMMANDS = [
    *("demo", "init", "import", "inspect", "task", "train", "evaluate", "refresh", "score", "sql", "shell", "serve"),
    *("models", "promote", "drop", "publish", "unpublish", "selftest"),
]

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    def invoke(*args: object, stdin: str = "") -> Result:
        result = CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin, prog_name="relsql")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Customers and orders without any constraint."""
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE customers AS SELECT i AS customer_id, 'name ' || i AS name FROM range(50) t(i)")
        con.execute(
            """CREATE TABLE orders AS SELECT i AS order_id, i % 50 AS customer_id, i % 7 AS referrer,
               TIMESTAMP '2020-01-01' + to_days(i::INTEGER) AS ordered_at FROM range(400) t(i)"""
        )
    return path


MANIFEST = """
name: churn
task_type: binary_classification
entity_table: {table}
entity_col: {column}
target_col: y
time_col: t
timedelta: 30 days
sql: SELECT 1
"""


def relsql_schemas(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as con:
        return len(con.execute("SELECT 1 FROM duckdb_schemas() WHERE schema_name = 'relsql'").fetchall())


def process(*args: object, script: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-c", script] if script else ["-m", "relsql"]
    command = [sys.executable, *start, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


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
def test_light_commands_do_not_load_torch(shop: Path, args: tuple[str, ...]) -> None:
    script = """
import sys
from relsql.cli import main
try:
    main()
except SystemExit:
    pass
print("loaded", *sorted({"torch", "transformers", "scipy", "sklearn"} & set(sys.modules)), file=sys.stderr)
"""
    result = process(args[0], shop, *args[1:], script=script)
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


def test_a_wrong_command_line_exits_with_2(run: Run, shop: Path) -> None:
    assert run("train", shop, "churn").exit_code == 2
    assert run("sql", shop, "SELECT 1; SELECT 2").exit_code == 2
    assert run("sql", shop, "").exit_code == 2
    assert run("score", shop, "m", "--as-of", "yesterday").exit_code == 2


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
    run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def interrupt(*_: object) -> None:
        raise error

    monkeypatch.setattr("relsql.cli.inspection.inspect", interrupt)
    result = run("inspect", shop)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.strip() == "relsql: interrupted: nothing was changed"


def test_a_bug_keeps_its_traceback(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("relsql.cli.inspection.inspect", fail)
    result = CliRunner().invoke(cli, ["inspect", str(shop)])
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_closed_pipe_causes_no_traceback(shop: Path) -> None:
    command = [sys.executable, "-m", "relsql", "sql", str(shop), "FROM range(300000)", "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.readline() == "range\n"
        running.stdout.close()
        assert running.stderr.read() == ""


def test_missing_training_libraries_are_named(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name == "relsql.training.fit_network"]:
        monkeypatch.delitem(sys.modules, name)
    manifest = shop.with_name("churn.yaml")
    manifest.write_text(MANIFEST.format(table="customers", column="customer_id"))
    result = run("train", shop, manifest, "--name", "m")
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


def test_inspect_text_and_json(run: Run, shop: Path) -> None:
    assert "orders" in run("inspect", shop).stdout
    report = json.loads(run("inspect", shop, "--json").stdout)
    assert [table["name"] for table in report["tables"]] == ["customers", "orders"]
    assert "ordered_at" in run("inspect", shop, "orders").stdout
    assert json.loads(run("inspect", shop, "orders", "--json").stdout)["rows"] == 400
    failed = run("inspect", shop, "order")
    assert failed.exit_code == 1 and "did you mean 'orders'" in failed.stderr


def test_models_of_a_file_without_models(run: Run, shop: Path) -> None:
    result = run("models", shop)
    assert result.stdout.startswith("model") and "relsql train" in result.stderr
    assert json.loads(run("models", shop, "--json").stdout) == []


# init


def test_init_without_terminal_stores_nothing(run: Run, shop: Path) -> None:
    result = run("init", shop)
    assert result.exit_code == 0 and relsql_schemas(shop) == 0
    assert "customers(customer_id)" in result.stdout and "unique and never NULL" in result.stdout
    assert "orders(customer_id) -> customers(customer_id)" in result.stdout and "orders(ordered_at)" in result.stdout
    assert "relsql init" in result.stderr and "--yes" in result.stderr


def test_init_yes_stores_the_proposals_and_is_then_done(run: Run, shop: Path) -> None:
    assert run("init", shop, "--yes").exit_code == 0
    report = json.loads(run("inspect", shop, "--json").stdout)
    assert [link["link"] for link in report["links"]] == ["orders(customer_id) -> customers(customer_id)"]
    assert report["tables"][1]["time_column"] == "ordered_at"
    again = run("init", shop)
    assert again.stdout == "" and "nothing to add" in again.stderr


def unsure_file(tmp_path: Path) -> Path:
    """A file with one sure key, a link that is not sure, and a column that is refused."""
    path = tmp_path / "unsure.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE customers AS SELECT i AS customer_id FROM range(1000) r(i)")
        con.execute("CREATE TABLE visits AS SELECT i % 3 AS customer_id, i % 50 AS guide_id FROM range(5000) r(i)")
    return path


UNSURE = "visits(customer_id) -> customers(customer_id)"


def test_init_yes_stores_nothing_that_is_not_sure(run: Run, tmp_path: Path) -> None:
    path = unsure_file(tmp_path)
    result = run("init", path, "--yes")
    assert result.exit_code == 0 and UNSURE in result.stdout and "0.60" in result.stdout
    assert "stored: 1 inferred" in result.stderr and f"--link '{UNSURE}'" in result.stderr
    report = json.loads(run("inspect", path, "--json").stdout)
    assert report["links"] == [] and report["tables"][0]["primary_key"] == ["customer_id"]
    assert run("init", path, "--link", UNSURE).exit_code == 0
    assert json.loads(run("inspect", path, "--json").stdout)["links"][0]["link"] == UNSURE


@pytest.mark.parametrize(("answers", "links"), [("y\ny\n", 1), ("y\nn\n", 0), ("n\ny\n", 1)])
def test_init_asks_apart_for_what_is_not_sure(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: str, links: int
) -> None:
    monkeypatch.setattr("relsql.cli.commands.init.can_ask", lambda: True)
    path = unsure_file(tmp_path)
    result = run("init", path, stdin=answers)
    assert result.exit_code == 0 and "below 0.8" in result.stderr
    assert len(json.loads(run("inspect", path, "--json").stdout)["links"]) == links


def test_init_verbose_shows_what_was_refused(run: Run, tmp_path: Path) -> None:
    path = unsure_file(tmp_path)
    short, long = run("init", path), run("init", path, "-v")
    assert "guide_id" not in short.stdout and "refused: 1 link; to see why" in short.stderr
    assert "link visits(guide_id)" in long.stdout and "no table has a key of such a name" in long.stdout


@pytest.mark.parametrize(("answer", "schemas"), [("y\n", 1), ("n\n", 0)])
def test_init_asks_at_a_terminal(
    run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch, answer: str, schemas: int
) -> None:
    monkeypatch.setattr("relsql.cli.commands.init.can_ask", lambda: True)
    result = run("init", shop, stdin=answer)
    assert result.exit_code == 0 and relsql_schemas(shop) == schemas
    assert "Store these" in result.stderr and "Store these" not in result.stdout


def test_init_stores_declarations_without_asking(run: Run, shop: Path) -> None:
    result = run(
        *("init", shop, "--primary-key", "customers(customer_id)", "--primary-key", "orders(order_id)"),
        *("--time-column", "orders(ordered_at)", "--no-time-column", "customers"),
        *("--link", "orders(customer_id) -> customers"),
    )
    assert result.exit_code == 0 and result.stderr.count("stored: ") == 5
    report = json.loads(run("inspect", shop, "--json").stdout)
    assert [(table["primary_key"], table["time_column"]) for table in report["tables"]] == [
        (["customer_id"], None),
        (["order_id"], "ordered_at"),
    ]
    assert len(report["links"]) == 1


def test_a_wrong_declaration_stores_nothing(run: Run, shop: Path) -> None:
    result = run("init", shop, "--primary-key", "orders(order_id)", "--time-column", "orders(orderd_at)")
    assert result.exit_code == 1 and "did you mean 'ordered_at'" in result.stderr
    assert relsql_schemas(shop) == 0
    assert run("init", shop, "--time-column", "orders(a, b)").exit_code == 1


def test_a_removed_link_is_not_proposed(run: Run, shop: Path) -> None:
    link = "orders(customer_id) -> customers(customer_id)"
    assert link in run("init", shop).stdout
    assert link not in run("init", shop, "--yes", "--remove-link", link).stdout
    assert json.loads(run("inspect", shop, "--json").stdout)["links"] == []


def test_the_hint_to_correct_a_proposal_can_be_run(run: Run, shop: Path) -> None:
    hint = run("init", shop).stderr.partition("to correct one first: relsql ")[2].splitlines()[0]
    options = shlex.split(hint)
    assert options[2:] == ["--remove-link", "orders(customer_id) -> customers(customer_id)"]
    assert run(*options).exit_code == 0


def test_a_proposed_link_is_removed_by_its_short_form(run: Run, shop: Path) -> None:
    result = run("init", shop, "--remove-link", "orders(customer_id) -> customers", "--yes")
    assert result.exit_code == 0
    assert "stored: orders(customer_id) -> customers(customer_id) is not a link" in result.stderr
    assert json.loads(run("inspect", shop, "--json").stdout)["links"] == []


def test_a_table_without_a_likely_time_is_refused_and_not_proposed(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "people.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, birth_date DATE)")
        con.execute("INSERT INTO people SELECT i, DATE '1950-01-01' + i::INTEGER FROM range(50) r(i)")
    short, long = run("init", path), run("init", path, "-v")
    assert short.stdout == "" and "refused: 1 time; to see why" in short.stderr and "nothing to add" in short.stderr
    assert "time people  'birth_date' looks like a birth or death date" in long.stdout


def test_messages_name_the_file_that_the_command_was_given(run: Run, shop: Path) -> None:
    run("init", shop, "--primary-key", "customers(customer_id)", "--link", "orders(customer_id) -> customers")
    run("init", shop, "--time-column", "orders(ordered_at)")
    for command in ("inspect", "init"):
        result = run(command, shop)
        assert " FILE " not in result.output, command
    assert f"relsql init {shop} --no-time-column customers" in run("inspect", shop).stdout
    failed = run("init", shop, "--primary-key", "orders(referrer)")
    assert failed.exit_code == 1 and f"Fix: relsql init {shop}, which proposes a key" in failed.stderr
    known = run("init", shop, "--known-column", "customers(name)")
    assert f"Fix: store the proposals first, if they have its time: relsql init {shop} --yes" in known.stderr


def test_a_file_that_exists_is_overwritten_only_if_asked(run: Run, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    failed = run("import", tmp_path / "items.csv", shop)
    assert failed.exit_code == 1 and f"Fix: relsql import SOURCE {shop} --overwrite" in failed.stderr


def test_findings_that_inspect_shows_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    late = Finding("warning", "visits(left)", "lies after the time in 9 rows: it seems late; leave it out", True)
    copied = Finding("warning", "visits(left)", "alone predicts the labels: it may be a copy; leave it out")
    note_findings([late, copied])
    assert capsys.readouterr().err.splitlines() == [
        "warning: visits(left): lies after the time in 9 rows",
        "warning: visits(left): alone predicts the labels: it may be a copy; leave it out",
        "more on these warnings, and what to do: relsql inspect FILE",
    ]
    note_findings([copied])
    assert "relsql inspect" not in capsys.readouterr().err


def test_init_checks_tasks(run: Run, shop: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "churn.yaml"
    manifest.write_text(MANIFEST.format(table="custmers", column="customer_id"))
    wrong = run("init", shop, "--task", manifest)
    assert wrong.exit_code == 1 and "did you mean 'customers'" in wrong.stderr
    manifest.write_text(MANIFEST.format(table="customers", column="id"))
    assert run("init", shop, "--task", manifest).exit_code == 1
    manifest.write_text(MANIFEST.format(table="customers", column="customer_id"))
    assert run("init", shop, "--task", manifest).exit_code == 0
    with duckdb.connect(str(shop), read_only=True) as con:
        assert list(read_tasks(con, "shop")) == ["churn"]


# sql


def test_sql_prints_all_rows(run: Run, shop: Path) -> None:
    result = run("sql", shop, "SELECT i AS n, 'x' || i AS name FROM range(200) t(i) ORDER BY i DESC")
    lines = result.stdout.splitlines()
    assert lines[:3] == ["  n  name", "---  ----", "199  x199"] and len(lines) == 202


def test_sql_table_shows_null_control_characters_and_wide_text(run: Run, shop: Path) -> None:
    result = run("sql", shop, "SELECT NULL::VARCHAR AS a, E'two\\nlines' AS b, '日本' AS c, 1 AS d")
    assert result.stdout.splitlines() == [
        "a     b           c     d",
        "----  ----------  ----  -",
        "NULL  two\\nlines  日本  1",
    ]


def test_sql_csv_is_exact(run: Run, shop: Path) -> None:
    query = "SELECT 1 AS a, 2 AS A, 3 AS a, 'x,\"y' AS t, '' AS e, NULL AS n, 0.1::FLOAT AS f, 0.1 + 0.2::DOUBLE AS d"
    result = run("sql", shop, query, "--format", "csv")
    assert result.stdout == 'a,A,a,t,e,n,f,d\n1,2,3,"x,""y","",,0.1,0.30000000000000004\n'


def test_sql_json_is_exact(run: Run, shop: Path) -> None:
    query = """SELECT 9007199254740993 AS i, 0.1::DOUBLE AS d, 'a"b' AS t, NULL AS n, 'nan'::DOUBLE AS x,
               [1, NULL] AS l, {'k': 'NaN'} AS s, 'NaN' AS text, DATE '2020-02-29' AS day FROM range(2)"""
    rows = json.loads(run("sql", shop, query, "--format", "json").stdout)
    row = {"i": 9007199254740993, "d": 0.1, "t": 'a"b', "n": None, "x": None, "l": [1, None]}
    assert rows == [row | {"s": {"k": "NaN"}, "text": "NaN", "day": "2020-02-29"}] * 2
    assert json.loads(run("sql", shop, "SELECT 1 WHERE false", "--format", "json").stdout) == []


def test_sql_opens_for_writing_only_to_write(run: Run, shop: Path) -> None:
    shop.chmod(0o444)
    with duckdb.connect(str(shop), read_only=True):
        assert run("sql", shop, "SELECT count(*) AS n FROM orders").stdout.splitlines()[-1] == "400"
        for query in (
            "FROM orders LIMIT 1",
            "WITH a AS (SELECT 1) FROM a",
            "DESCRIBE orders",
            "VALUES (1)",
            "SHOW TABLES",
        ):
            assert run("sql", shop, query).exit_code == 0, query
    shop.chmod(0o644)
    assert run("sql", shop, "CREATE TABLE t (x INTEGER)").stdout == ""
    inserted = run("sql", shop, "INSERT INTO t VALUES (1), (2)")
    assert (inserted.stdout, inserted.stderr) == ("", "2 rows\n")
    assert run("sql", shop, "INSERT INTO t VALUES (7) RETURNING x").stdout.splitlines()[-1] == "7"
    pivoted = run("sql", shop, "PIVOT t ON x USING count(*)")
    assert pivoted.stdout.splitlines()[0] == "1  2  7"


def test_sql_read_only_refuses_to_write(run: Run, shop: Path) -> None:
    result = run("sql", "--read-only", shop, "DELETE FROM orders")
    assert result.exit_code == 1 and "--read-write" in result.stderr
    assert run("sql", shop, "SELECT count(*) AS n FROM orders").stdout.splitlines()[-1] == "400"


def test_sql_errors_are_one_line_without_excerpt(run: Run, shop: Path) -> None:
    for query in ("SELECT * FROM order_", "SELEC 1", "SELECT 'a'::INTEGER"):
        result = run("sql", shop, query)
        assert (result.exit_code, result.stdout) == (1, "") and result.stderr.count("\n") == 1
        assert result.stderr.startswith("relsql: error: ") and "LINE 1" not in result.stderr


def test_sql_explains_an_unknown_scoring_function(run: Run, shop: Path) -> None:
    for query in ("SELECT predict_dnf(1)", "FROM predict_dnf_batch()"):
        result = run("sql", shop, query)
        assert result.exit_code == 1 and f"relsql models {shop}" in result.stderr and "relsql train" in result.stderr


def test_sql_reads_stdin_and_prints_plans(run: Run, shop: Path) -> None:
    assert run("sql", shop, "-", stdin="SELECT 42 AS n -- the end\n").stdout == " n\n--\n42\n"
    assert len(run("sql", shop, "EXPLAIN SELECT 1").stdout.splitlines()) > 3


def test_all_errors_of_relsql_are_reported(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RelsqlError("what is wrong", expected="this", fix="do that")

    monkeypatch.setattr("relsql.cli.inspection.inspect", fail)
    assert run("inspect", shop).stderr == "relsql: error: what is wrong. Expected: this. Fix: do that\n"
