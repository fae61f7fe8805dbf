"""`relsql publish`, `selftest` and `unpublish` as commands: what they print, and the storage of the file."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from relsql.cli import cli
from relsql.publishing.database_copy import OLDER_STORAGE, newer_storage, newer_version


def test_the_sql_can_be_read_before_it_is_written(shop: Path) -> None:
    before = shop.read_bytes()
    result = CliRunner().invoke(cli, ["publish", str(shop), "churn", "--show-sql"])
    assert result.exit_code == 0 and shop.read_bytes() == before
    assert len(duckdb.extract_statements(result.stdout)) == result.stdout.count(";\n") > 10
    assert all(f'MACRO "main"."{name}"' in result.stdout for name in ("predict_churn", "predict_churn_full"))
    assert max(map(len, result.stdout.splitlines())) < 400


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("v2.0.0+", "v2.0.0"),
        ("v1.10.0", "v1.10.0"),
        ("v1.5.0+", None),
        ("v1.5.2", "v1.5.2"),
        ("v1.0.0 - v1.1.3", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_storage_that_older_clients_cannot_open(text: str, found: str | None) -> None:
    assert newer_version(text) == found


def test_commands(shop: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    result = run(cli, ["publish", str(shop), "churn"])
    assert result.exit_code == 0 and result.stdout.startswith("churn\t1\tseeds=")
    with duckdb.connect(str(shop), read_only=True) as con:
        version = newer_storage(con)
    advice = f"--into COPY --storage-version {OLDER_STORAGE}"
    assert (advice in result.stderr) == (version is not None)
    old = tmp_path / "old.duckdb"
    copied = run(cli, ["publish", str(shop), "churn", "--into", str(old), "--storage-version", OLDER_STORAGE])
    assert copied.exit_code == 0 and "storage version" not in copied.stderr
    result = run(cli, ["selftest", str(shop), "churn", "--json"])
    assert result.exit_code == 0 and '"onnx_sql"' in result.stdout
    result = run(cli, ["unpublish", str(shop), "churn"])
    assert result.exit_code == 0 and "no longer published" in result.stderr
    result = run(cli, ["selftest", str(shop), "churn"])
    assert result.exit_code == 1 and f"relsql publish {shop} churn" in result.stderr
    assert run(cli, ["publish", str(shop), "churn", "--storage-version", "v1.5.0"]).exit_code == 2
    existing = tmp_path / "existing.duckdb"
    existing.touch()
    result = run(cli, ["publish", str(shop), "churn", "--into", str(existing)])
    assert result.exit_code == 1 and "exists" in result.stderr and existing.stat().st_size == 0
    result = run(cli, ["publish", str(shop), "churn", "--into", str(tmp_path / "new"), "--storage-version", "v9"])
    assert result.exit_code == 1 and "cannot be copied" in result.stderr and not (tmp_path / "new").exists()
