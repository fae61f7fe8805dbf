"""Two at once: processes that want the same file, and threads of one process that train the same model."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.database.names import current_catalog
from relsql.errors import RelsqlError
from relsql.registry.models import read_models
from tests.odd_data import store_bare_weights
from tests.shop import QUICK, contents, create_shop
from tests.torture.checks import message_problem
from tests.torture.commands import COMMANDS
from tests.torture.running import Result

ROOT = Path(__file__).parents[2]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """Start `relsql ARGUMENTS` as a separate process."""
    command = [sys.executable, "-m", "relsql", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> Result:
    _, stderr = process.communicate(timeout=300)
    return Result(process.returncode, stderr)


def test_a_file_that_another_process_has_open_is_left_alone(shop: Path, tmp_path: Path) -> None:
    names = ("promote", "drop", "score --into", "refresh", "unpublish")
    with duckdb.connect(str(shop)) as con:
        before = contents(con)
        for name in names:
            result = ended(start(COMMANDS[name].in_folder(shop.parent)))
            assert result.exit_code == 1 and "is locked by process" in result.stderr, name
            assert message_problem(result) is None, name
        assert contents(con) == before


def test_of_two_processes_that_score_into_one_table_each_succeeds_or_is_refused(shop: Path) -> None:
    arguments = ["score", str(shop), "churn", "--as-of", "2022-10-01", "--into", "risk", "--chunk-rows", "4"]
    results = [ended(process) for process in [start(arguments), start(arguments)]]
    refused = [result for result in results if result.exit_code]
    assert len(refused) < 2
    assert all(message_problem(result) is None for result in refused)
    with duckdb.connect(str(shop)) as con:
        assert con.execute("SELECT count(*), count(DISTINCT customer_id) FROM risk").fetchall() == [(60, 60)]
        assert con.execute("SELECT chunks_done = len(bounds) + 1 FROM relsql.score_jobs").fetchall() == [(True,)]


@pytest.mark.slow
def test_two_threads_that_train_one_model_leave_one_active_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_bare_weights(monkeypatch)
    create_shop(tmp_path / "shop.duckdb")
    errors: list[RelsqlError] = []
    versions: list[int] = []
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        together = threading.Barrier(2)

        def work(cursor: duckdb.DuckDBPyConnection) -> None:
            together.wait()
            try:
                versions.append(relsql.train(cursor, "customer-churn", name="churn", options=QUICK, force=True).version)
            except RelsqlError as error:
                errors.append(error)

        cursors = [con.cursor(), con.cursor()]
        threads = [threading.Thread(target=work, args=(cursor,)) for cursor in cursors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for cursor in cursors:
            cursor.close()
        models = read_models(con, current_catalog(con))
    assert len(versions) + len(errors) == 2 and versions
    assert sorted(model.version for model in models) == sorted(versions)
    assert len(set(versions)) == len(versions)
    assert [model.status for model in models].count("active") == 1


def test_a_copy_of_a_file_in_use_opens(shop: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("INSERT INTO orders SELECT 100000, 1, 1.0, 'late', TIMESTAMP '2022-12-01'")
        for suffix in ("", ".wal"):
            shutil.copy(f"{shop}{suffix}", tmp_path / f"copy.duckdb{suffix}")
    with relsql.connect(tmp_path / "copy.duckdb") as con:
        [(orders, score)] = con.execute(
            "SELECT count(*), predict_churn(1) FROM orders WHERE order_id = 100000"
        ).fetchall()
    assert orders == 1 and 0 <= score <= 1
