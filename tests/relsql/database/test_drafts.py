"""Only complete files get their name."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from relsql.database.connections import open_database
from relsql.database.drafts import complete_draft, draft_path, is_taken, log_path, remove_draft
from relsql.errors import DatabaseError


def test_a_completed_draft_holds_everything_and_has_no_log(tmp_path: Path) -> None:
    target = tmp_path / "shop.duckdb"
    log_path(target).write_bytes(b"of an earlier file")
    draft = draft_path(target)
    con = open_database(draft, must_exist=False)
    con.execute("CREATE TABLE t AS SELECT range AS i FROM range(1000)")
    assert log_path(draft).exists()
    complete_draft(con, draft, target)
    assert [file.name for file in tmp_path.iterdir()] == ["shop.duckdb"]
    with duckdb.connect(str(target)) as read:
        assert read.execute("SELECT sum(i) FROM t").fetchall() == [(499_500,)]


def test_a_draft_that_cannot_be_checkpointed_is_not_renamed(tmp_path: Path) -> None:
    target = tmp_path / "shop.duckdb"
    draft = draft_path(target)
    con = open_database(draft, must_exist=False)
    con.execute("CREATE TABLE t (i INTEGER)")
    con.execute("BEGIN; INSERT INTO t VALUES (1)")
    with pytest.raises(duckdb.Error, match="CHECKPOINT"):
        complete_draft(con, draft, target)
    con.close()
    assert not target.exists()
    remove_draft(draft)
    assert not any(tmp_path.iterdir())


def test_a_log_that_remains_is_noticed(tmp_path: Path) -> None:
    target = tmp_path / "shop.duckdb"
    draft = draft_path(target)
    con = open_database(draft, must_exist=False)
    con.execute("SET GLOBAL checkpoint_threshold = '1TB'")
    with con.cursor() as other:
        other.execute("CREATE TABLE t (i INTEGER)")
        con.execute("CHECKPOINT")
        other.execute("INSERT INTO t VALUES (1)")

        class Lazy:
            """A connection that closes without a checkpoint, as DuckDB does where a checkpoint fails."""

            execute = close = staticmethod(lambda *_: None)

        with pytest.raises(DatabaseError, match="could not be completed"):
            complete_draft(Lazy(), draft, target)  # type: ignore[arg-type]
    con.close()
    assert not target.exists()


def test_a_link_that_leads_nowhere_takes_its_path(tmp_path: Path) -> None:
    link = tmp_path / "risk.csv"
    assert not is_taken(link)
    link.symlink_to("nowhere")
    assert is_taken(link) and not link.exists()
