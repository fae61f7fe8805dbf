"""Options of the commands that run label queries, and the restriction that keeps other files out."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest
from click.testing import CliRunner, Result

from relsql.cli import cli, label_options
from relsql.cli.label_options import open_for_labels
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS
from relsql.tasks.stored_tasks import save_task
from tests.shop import TASK, contents, create_shop


def invoke(*args: object) -> Result:
    result = CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="relsql")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def plain_shop(tmp_path: Path) -> Path:
    """A shop without a model, with tasks that do something forbidden."""
    path = tmp_path / "shop.duckdb"
    create_shop(path)
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    reads = f"SELECT l.* FROM ({TASK.sql}) l, '{secret}'"
    endless = f"SELECT l.* FROM ({TASK.sql}) l WHERE (SELECT sum(i) FROM range(1000000000000) t(i)) > 0"
    with duckdb.connect(str(path)) as con:
        for name, sql in {"reads": reads, "endless": endless, "writes": "DELETE FROM orders"}.items():
            save_task(con, "shop", replace(TASK, name=name, sql=sql))
    return path


def rows(path: Path) -> dict[str, Any]:
    """Digests of all tables except the record of training runs."""
    with duckdb.connect(str(path), read_only=True) as con:
        return contents(con, without="runs")


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("reads", (), r"secret.csv', which is not a relation of the database"),
        ("writes", (), r"is not one SELECT"),
        ("writes", ("--allow-external",), r"is not one SELECT"),
        ("endless", ("--label-timeout", "0.5"), r"took more than 0.5 seconds and were stopped"),
    ],
)
def test_train_refuses_a_hostile_task_in_one_line(
    plain_shop: Path, task: str, options: tuple[str, ...], message: str
) -> None:
    before = rows(plain_shop)
    result = invoke("train", plain_shop, task, "--name", "m", *options)
    assert result.exit_code == 1
    [line] = [line for line in result.stderr.splitlines() if line.startswith("relsql: error:")]
    assert message in line
    assert rows(plain_shop) == before


def test_evaluate_checks_the_task_of_the_model(shop: Path, tmp_path: Path) -> None:
    """A model that somebody passed on carries its label query."""
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with duckdb.connect(str(shop)) as con:
        [(card,)] = con.execute("SELECT card FROM relsql.models").fetchall()
        assert "FROM timestamps t" in card
        hostile = card.replace("FROM timestamps t", f"FROM '{tmp_path / 'secret.csv'}', timestamps t", 1)
        con.execute("UPDATE relsql.models SET card = ?", [hostile])
    result = invoke("evaluate", shop, "churn", "--json")
    assert result.exit_code == 1 and "relsql: error:" in result.stderr


def test_evaluate_works_without_access_to_other_files(shop: Path) -> None:
    for regime in ("seed-time", "frozen"):
        strict = invoke("evaluate", shop, "churn", "--json", "--regime", regime, "--memory-limit", "2GB")
        loose = invoke("evaluate", shop, "churn", "--json", "--regime", regime, "--allow-external")
        assert strict.exit_code == loose.exit_code == 0, strict.stderr
        assert strict.stdout == loose.stdout


def test_the_file_is_opened_alone(plain_shop: Path) -> None:
    secret = plain_shop.with_name("secret.csv")
    with closing(open_for_labels(plain_shop, allow_external=False, memory_limit="100MB")) as con:
        for sql in (f"FROM '{secret}'", f"COPY shops TO '{secret}'", f"ATTACH '{secret}.duckdb'", "INSTALL httpfs"):
            with pytest.raises(duckdb.Error, match="disabled"):
                con.execute(sql)
        with pytest.raises(duckdb.Error, match="Cannot"):
            con.execute("SET enable_external_access = true")
        # What training needs still works: writing, memory databases, temporary files, checkpoints.
        con.execute("CREATE TABLE big AS SELECT range i, repeat('x', 60) || range AS s FROM range(1000000)")
        con.execute("SET threads = 1; SET memory_limit = '60MB'; CREATE TABLE sorted AS FROM big ORDER BY s")
        con.execute("CHECKPOINT; DROP TABLE sorted; INSERT INTO shops VALUES (9, 'Bern')")
        con.execute("ATTACH ':memory:' AS frozen (READ_WRITE); CREATE TABLE frozen.t AS FROM shops; DETACH frozen")
    with closing(open_for_labels(plain_shop, allow_external=True, memory_limit=None)) as con:
        assert con.execute(f"FROM '{secret}'").fetchall() == [(1,)]
        assert con.execute("SELECT count(*) FROM shops").fetchall() == [(4,)]


def test_a_log_that_was_left_behind_is_replayed(plain_shop: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied.duckdb"
    with duckdb.connect(str(plain_shop)) as con:
        con.execute("SET checkpoint_threshold = '1TB'; INSERT INTO shops VALUES (9, 'Bern')")
        shutil.copy(plain_shop, copied)
        shutil.copy(f"{plain_shop}.wal", f"{copied}.wal")
    with closing(open_for_labels(copied, allow_external=False, memory_limit=None)) as con:
        assert con.execute("SELECT city FROM shops WHERE shop_id = 9").fetchall() == [("Bern",)]


def test_a_memory_limit_has_to_be_a_size(plain_shop: Path) -> None:
    with pytest.raises(click.BadParameter):
        open_for_labels(plain_shop, allow_external=False, memory_limit="much")
    duckdb.connect(str(plain_shop)).close()


def test_the_default_in_the_help_is_the_actual_default() -> None:
    assert label_options._DEFAULT_TIMEOUT_SECONDS == LABEL_TIMEOUT_SECONDS
