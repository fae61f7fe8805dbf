"""The command line of batch jobs: `relsql score FILE MODEL --into TABLE`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

import relsql
from relsql.cli import cli
from relsql.cli.progress import PhaseProgress
from tests.shop import CUSTOMERS


def score(shop: Path, *options: object) -> Result:
    arguments = ["score", shop, "churn", *options]
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="relsql")


def count(shop: Path, table: str = "risk") -> int:
    with duckdb.connect(str(shop), read_only=True) as con:
        return int(con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def test_a_job_reports_on_stderr_only(shop: Path) -> None:
    result = score(shop, "--into", "risk", "--as-of", "2022-12-01", "--chunk-rows", 7, "--memory-limit", "500MB")
    assert result.exit_code == 0 and result.stdout == ""
    assert result.stderr.endswith(f"\n{CUSTOMERS} rows written to risk as of 2022-12-01 00:00:00\n")
    assert "score " in result.stderr and count(shop) == CUSTOMERS
    again = score(shop, "--into", "risk")
    assert again.exit_code == 1 and "table 'risk' exists" in again.stderr and "--changed-only" in again.stderr
    assert score(shop, "--into", "risk", "--overwrite").exit_code == 0
    own = score(shop, "--output", "customers", "--overwrite")
    assert own.exit_code == 1 and f"Fix: relsql score {shop} MODEL --output ANOTHER_TABLE" in own.stderr
    own = score(shop, "--into", "customers", "--overwrite")
    assert own.exit_code == 1 and "was not written by relsql score --into customers" in own.stderr


def test_changed_only_says_how_many(shop: Path) -> None:
    options = ("--into", "risk", "--as-of", "2022-12-01")
    score(shop, *options)
    first = score(shop, *options, "--changed-only")
    assert "scoring all entities: the table has no fingerprints yet" in first.stderr
    assert f"{CUSTOMERS} rows written to risk" in first.stderr and "entities changed" not in first.stderr
    with duckdb.connect(str(shop)) as con:
        con.execute("UPDATE customers SET name = 'renamed' WHERE customer_id IN (3, 4)")
    second = score(shop, *options, "--changed-only")
    assert f"2 of {CUSTOMERS} entities changed, risk is up to date as of 2022-12-01" in second.stderr


def test_the_first_run_of_changed_only_says_that_it_scores_all(shop: Path) -> None:
    first = score(shop, "--into", "risk", "--as-of", "2022-12-01", "--changed-only")
    assert "scoring all entities: the table is new; later runs score what has changed since" in first.stderr
    assert f"{CUSTOMERS} rows written to risk" in first.stderr and "entities changed" not in first.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--into", "risk", "--output", "x.csv"), "exclude each other"),
        (("--changed-only",), "need --into"),
        (("--keep-history",), "need --into"),
        (("--chunk-rows", 5), "need --into"),
        (("--into", "risk", "--chunk-rows", 0), "--chunk-rows"),
        (("--into", "risk", "--memory-limit", "much"), "--memory-limit"),
    ],
)
def test_wrong_options_stop_before_scoring(shop: Path, options: tuple[object, ...], words: str) -> None:
    result = score(shop, *options)
    assert result.exit_code == 2 and words in result.stderr
    with duckdb.connect(str(shop)) as con, pytest.raises(duckdb.CatalogException):
        con.execute("FROM risk")


def test_a_read_only_file_is_reported(shop: Path) -> None:
    shop.chmod(0o444)
    if os.access(shop, os.W_OK):  # The superuser can write anyway.
        with relsql.connect(shop, read_only=True) as con, pytest.raises(relsql.RelsqlError, match="read-only"):
            relsql.score_into(con, "churn", "risk")
        return
    result = score(shop, "--into", "risk")
    assert result.exit_code == 1 and "cannot be written" in result.stderr


@pytest.mark.slow
def test_ctrl_c_keeps_finished_chunks_and_says_how_to_continue(shop: Path) -> None:
    command = [sys.executable, "-m", "relsql", "score", str(shop), "churn", "--into", "risk"]
    with relsql.connect(shop) as con:
        con.execute("INSERT INTO customers SELECT 1000 + i, 'x', NULL, 1 FROM range(200) t(i)")
    wal = shop.with_name("shop.duckdb.wal")
    # A shell starts what runs in the background with Ctrl-C ignored, and tests may run there.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    small = [*command, "--chunk-rows", "2"]
    running = subprocess.Popen(small, stderr=subprocess.PIPE, text=True, preexec_fn=heeds)
    deadline = time.monotonic() + 60
    # The first commits: the job has started.
    while not (wal.exists() and wal.stat().st_size > 4096) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130 and "the same command continues" in stderr, stderr
    done = count(shop)
    assert done % 2 == 0 and done < CUSTOMERS + 200
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert f"continuing after {done // 2} of 130 chunks" in finished.stderr
    assert count(shop) == CUSTOMERS + 200


def test_the_bar_of_a_resumed_job_starts_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with PhaseProgress() as progress:
        progress("score", 0.9, {"entities": 90})
        bar = progress._bar
        # The remaining time is estimated only from the chunks of this run.
        assert bar is not None and (bar.initial, bar.n) == (0.9, 0.9)
        progress("score", 0.95, {"entities": 95})
        assert bar.n == pytest.approx(0.95)


def test_a_link_that_leads_nowhere_is_replaced_only_if_asked_for(shop: Path, tmp_path: Path) -> None:
    link = tmp_path / "risk.csv"
    link.symlink_to("nowhere.csv")
    assert f"file '{link}' exists" in score(shop, "--output", link).stderr and link.is_symlink()
    assert score(shop, "--output", link, "--overwrite").exit_code == 0 and not link.is_symlink()


@pytest.mark.parametrize("output", ["risk.txt", "main.JSON", "risk.csv.gz"])
@pytest.mark.parametrize("option", ["--output", "--into"])
def test_files_of_other_formats_are_not_taken_for_tables_of_a_schema(shop: Path, output: str, option: str) -> None:
    result = score(shop, option, output)
    assert result.exit_code == 1 and f"'{output}' is the name of a file" in result.stderr
    assert result.stderr.rstrip().endswith(".csv")
    assert "CREATE SCHEMA" not in result.stderr


def test_a_table_may_be_called_like_a_file_in_quotes(shop: Path) -> None:
    assert score(shop, "--output", '"risk.txt"').exit_code == 0
    assert count(shop, '"risk.txt"') == CUSTOMERS
