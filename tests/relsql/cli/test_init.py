"""`relsql init`: proposals, questions, declarations and tasks."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import duckdb
import pytest

from relsql.cli.output import note_findings
from relsql.schema.finding import Finding
from relsql.tasks.stored_tasks import read_tasks
from tests.relsql.cli.commands import MANIFEST, Run, relsql_schemas


def test_init_without_terminal_stores_nothing(run: Run, bare_shop: Path) -> None:
    result = run("init", bare_shop)
    assert result.exit_code == 0 and relsql_schemas(bare_shop) == 0
    assert "customers(customer_id)" in result.stdout and "unique and never NULL" in result.stdout
    assert "orders(customer_id) -> customers(customer_id)" in result.stdout and "orders(ordered_at)" in result.stdout
    assert "relsql init" in result.stderr and "--yes" in result.stderr


def test_init_yes_stores_the_proposals_and_is_then_done(run: Run, bare_shop: Path) -> None:
    assert run("init", bare_shop, "--yes").exit_code == 0
    report = json.loads(run("inspect", bare_shop, "--json").stdout)
    assert [link["link"] for link in report["links"]] == ["orders(customer_id) -> customers(customer_id)"]
    assert report["tables"][1]["time_column"] == "ordered_at"
    again = run("init", bare_shop)
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
    run: Run, bare_shop: Path, monkeypatch: pytest.MonkeyPatch, answer: str, schemas: int
) -> None:
    monkeypatch.setattr("relsql.cli.commands.init.can_ask", lambda: True)
    result = run("init", bare_shop, stdin=answer)
    assert result.exit_code == 0 and relsql_schemas(bare_shop) == schemas
    assert "Store these" in result.stderr and "Store these" not in result.stdout


def test_init_stores_declarations_without_asking(run: Run, bare_shop: Path) -> None:
    result = run(
        *("init", bare_shop, "--primary-key", "customers(customer_id)", "--primary-key", "orders(order_id)"),
        *("--time-column", "orders(ordered_at)", "--no-time-column", "customers"),
        *("--link", "orders(customer_id) -> customers"),
    )
    assert result.exit_code == 0 and result.stderr.count("stored: ") == 5
    report = json.loads(run("inspect", bare_shop, "--json").stdout)
    assert [(table["primary_key"], table["time_column"]) for table in report["tables"]] == [
        (["customer_id"], None),
        (["order_id"], "ordered_at"),
    ]
    assert len(report["links"]) == 1


def test_a_wrong_declaration_stores_nothing(run: Run, bare_shop: Path) -> None:
    result = run("init", bare_shop, "--primary-key", "orders(order_id)", "--time-column", "orders(orderd_at)")
    assert result.exit_code == 1 and "did you mean 'ordered_at'" in result.stderr
    assert relsql_schemas(bare_shop) == 0
    assert run("init", bare_shop, "--time-column", "orders(a, b)").exit_code == 1


def test_a_removed_link_is_not_proposed(run: Run, bare_shop: Path) -> None:
    link = "orders(customer_id) -> customers(customer_id)"
    assert link in run("init", bare_shop).stdout
    assert link not in run("init", bare_shop, "--yes", "--remove-link", link).stdout
    assert json.loads(run("inspect", bare_shop, "--json").stdout)["links"] == []


def test_the_hint_to_correct_a_proposal_can_be_run(run: Run, bare_shop: Path) -> None:
    hint = run("init", bare_shop).stderr.partition("to correct one first: relsql ")[2].splitlines()[0]
    options = shlex.split(hint)
    assert options[2:] == ["--remove-link", "orders(customer_id) -> customers(customer_id)"]
    assert run(*options).exit_code == 0


def test_a_proposed_link_is_removed_by_its_short_form(run: Run, bare_shop: Path) -> None:
    result = run("init", bare_shop, "--remove-link", "orders(customer_id) -> customers", "--yes")
    assert result.exit_code == 0
    assert "stored: orders(customer_id) -> customers(customer_id) is not a link" in result.stderr
    assert json.loads(run("inspect", bare_shop, "--json").stdout)["links"] == []


def test_a_table_without_a_likely_time_is_refused_and_not_proposed(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "people.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, birth_date DATE)")
        con.execute("INSERT INTO people SELECT i, DATE '1950-01-01' + i::INTEGER FROM range(50) r(i)")
    short, long = run("init", path), run("init", path, "-v")
    assert short.stdout == "" and "refused: 1 time; to see why" in short.stderr and "nothing to add" in short.stderr
    assert "time people  'birth_date' looks like a birth or death date" in long.stdout


def test_messages_name_the_file_that_the_command_was_given(run: Run, bare_shop: Path) -> None:
    run("init", bare_shop, "--primary-key", "customers(customer_id)", "--link", "orders(customer_id) -> customers")
    run("init", bare_shop, "--time-column", "orders(ordered_at)")
    for command in ("inspect", "init"):
        result = run(command, bare_shop)
        assert " FILE " not in result.output, command
    assert f"relsql init {bare_shop} --no-time-column customers" in run("inspect", bare_shop).stdout
    failed = run("init", bare_shop, "--primary-key", "orders(referrer)")
    assert failed.exit_code == 1 and f"Fix: relsql init {bare_shop}, which proposes a key" in failed.stderr
    known = run("init", bare_shop, "--known-column", "customers(name)")
    assert f"Fix: store the proposals first, if they have its time: relsql init {bare_shop} --yes" in known.stderr


def test_a_file_that_exists_is_overwritten_only_if_asked(run: Run, bare_shop: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    failed = run("import", tmp_path / "items.csv", bare_shop)
    assert failed.exit_code == 1 and f"Fix: relsql import SOURCE {bare_shop} --overwrite" in failed.stderr


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


def test_init_checks_tasks(run: Run, bare_shop: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "churn.yaml"
    manifest.write_text(MANIFEST.format(table="custmers", column="customer_id"))
    wrong = run("init", bare_shop, "--task", manifest)
    assert wrong.exit_code == 1 and "did you mean 'customers'" in wrong.stderr
    manifest.write_text(MANIFEST.format(table="customers", column="id"))
    assert run("init", bare_shop, "--task", manifest).exit_code == 1
    manifest.write_text(MANIFEST.format(table="customers", column="customer_id"))
    assert run("init", bare_shop, "--task", manifest).exit_code == 0
    with duckdb.connect(str(bare_shop), read_only=True) as con:
        assert list(read_tasks(con, "shop")) == ["churn"]
