"""Tests of kinds of sources: what is attached how, and that no password is stored or printed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relsql.database.sources.source_kinds import (
    DUCKDB,
    POSTGRES,
    SQLITE,
    absolute,
    attach_sql,
    names_file,
    scrubbed,
    source_kind,
    source_name,
    without_password,
)


def test_files_are_recognised_by_their_first_bytes(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "a.db")).close()
    with sqlite3.connect(tmp_path / "b.db") as con:
        con.execute("CREATE TABLE t (x)")
    (tmp_path / "c.csv").write_text("x\n1\n")
    assert source_kind(str(tmp_path / "a.db")) is DUCKDB
    assert source_kind(str(tmp_path / "b.db")) is SQLITE
    assert source_kind(str(tmp_path / "c.csv")) is None
    assert source_kind(str(tmp_path)) is None
    assert source_kind(str(tmp_path / "none.db")) is None


@pytest.mark.parametrize(
    ("location", "extensions"),
    [
        ("ducklake:meta.ducklake", ("ducklake",)),
        ("ducklake:sqlite:meta.sqlite", ("ducklake", "sqlite_scanner")),
        ("ducklake:postgres:dbname=lake", ("ducklake", "postgres_scanner")),
        ("postgresql://host/shop", ("postgres_scanner",)),
        ("Postgres://host/shop", ("postgres_scanner",)),
        ("postgres:dbname=shop host=h", ("postgres_scanner",)),
    ],
)
def test_extensions_of_what_is_no_file(location: str, extensions: tuple[str, ...]) -> None:
    kind = source_kind(location)
    assert kind is not None and kind.extensions == extensions and not kind.local and not names_file(location)


def test_attach_statements() -> None:
    lake = source_kind("ducklake:/x/m.ducklake")
    assert lake is not None
    assert attach_sql("m", "ducklake:/x/m.ducklake", lake) == """ATTACH 'ducklake:/x/m.ducklake' AS "m" (READ_ONLY)"""
    assert attach_sql('a"b', "/x/o'b.db", SQLITE) == """ATTACH '/x/o''b.db' AS "a""b" (TYPE sqlite, READ_ONLY)"""
    assert attach_sql("s", "/x/s.duckdb", DUCKDB) == """ATTACH '/x/s.duckdb' AS "s" (READ_ONLY)"""
    url = """ATTACH 'postgresql://h/s' AS "s" (TYPE postgres, READ_ONLY)"""
    assert attach_sql("s", "postgresql://h/s", POSTGRES) == url
    pairs = """ATTACH 'dbname=s host=h' AS "s" (TYPE postgres, READ_ONLY)"""
    assert attach_sql("s", "postgres:dbname=s host=h", POSTGRES) == pairs


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("/data/northwind.sqlite", "northwind"),
        ("ducklake:/data/meta.ducklake", "meta"),
        ("ducklake:sqlite:/data/lake.sqlite", "lake"),
        ("postgresql://ada:x@host:5432/shop?sslmode=require", "shop"),
        ("postgres:host=h dbname='shop' user=u", "shop"),
        ("postgresql://host", ""),
    ],
)
def test_default_names(location: str, name: str) -> None:
    assert source_name(location) == name


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.ducklake").touch()
    assert absolute("m.ducklake") == str(tmp_path / "m.ducklake")
    assert absolute("ducklake:m.ducklake") == f"ducklake:{tmp_path / 'm.ducklake'}"
    assert absolute("ducklake:postgres:dbname=m") == "ducklake:postgres:dbname=m"
    assert absolute("postgresql://host/m.ducklake") == "postgresql://host/m.ducklake"


PASSWORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), min_size=1).map(
    lambda text: f"pw{text}wp"
)
"""No password is a part of the rest of a location."""


@given(PASSWORDS)
def test_no_password_is_left_in_a_url(password: str) -> None:
    safe = quote(password, safe="")
    assert without_password(f"postgresql://ada:{safe}@h:1/shop?a=b") == "postgresql://ada@h:1/shop?a=b"
    assert without_password(f"postgresql://ada@h/shop?password={safe}&a=b") == "postgresql://ada@h/shop?a=b"
    assert without_password(f"postgresql://ada@h/shop?a=b&sslpassword={safe}") == "postgresql://ada@h/shop?a=b"


@given(PASSWORDS)
@example("pw://wp")
def test_no_password_is_left_in_pairs(password: str) -> None:
    quoted = "'" + password.replace("\\", "\\\\").replace("'", "\\'") + "'"
    escaped = "".join(f"\\{c}" if c in " \\'" else c for c in password)
    for value in (quoted, escaped):
        for prefix in ("postgres:", "ducklake:postgres:"):
            location = f"{prefix}dbname=shop password = {value} host=h"
            assert without_password(location) == f"{prefix}dbname=shop host=h"
            assert "pw" not in scrubbed(f"cannot connect to {location.removeprefix('postgres:')}!", location)


@pytest.mark.parametrize(
    "location", ["postgresql://ada@[::1]:5432/shop", "postgresql://h:5432/shop", "ducklake:/x/m.ducklake"]
)
def test_what_has_no_password_stays(location: str) -> None:
    assert without_password(location) == location


def test_a_path_has_no_password(tmp_path: Path) -> None:
    path = tmp_path / "password=1"
    path.touch()
    assert without_password(str(path)) == str(path)
