"""The kinds of databases that can be sources: how each is recognised, attached, and written down without a password.

| kind | location |
| --- | --- |
| DuckDB, SQLite | the path of a file |
| DuckLake | `ducklake:` and a path, or another catalog that DuckLake can have |
| Postgres | `postgresql://...`, or `postgres:` and `key=value` pairs, as libpq and DuckDB read them |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from relsql.database.sources.file_kinds import file_kind
from relsql.sql_text import ident, literal

_LAKE = re.compile(r"ducklake:", re.IGNORECASE)
_POSTGRES_URL = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
_POSTGRES_PAIRS = re.compile(r"postgres:(?!//)", re.IGNORECASE)

_PATH = re.compile(r"(?P<prefix>(?:ducklake:)?(?:sqlite:|duckdb:)?)(?P<path>.+)", re.IGNORECASE | re.DOTALL)

_URL = re.compile(r"(?:\w+:)+//")
"""A URL, possibly after prefixes such as `ducklake:`. It must be matched at the start of a location, because the values
of `key=value` pairs may contain `://`."""

_USER_PASSWORD = re.compile(r"(//[^:@/]*):[^?]*@")
_URL_OPTION = re.compile(r"\b(?:ssl)?password=[^&]*&?", re.IGNORECASE)
_PAIR = re.compile(r"\b(?:ssl)?password\s*=\s*(?:'(?:\\.|[^'\\])*'|(?:\\.|[^\s\\])*)\s*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind of database.

    Attributes:
        name: what people call it.
        extensions: DuckDB's extensions that read it.
        type_option: the TYPE option that ATTACH needs.
        local: the source is one file on this machine. Any other source may call a server or read other files.
        alternative: what to do where the extensions are missing.
    """

    name: str
    extensions: tuple[str, ...] = ()
    type_option: str | None = None
    local: bool = False
    alternative: str = "its tables as a folder of Parquet files: relsql import FOLDER NEW.duckdb"


DUCKDB = SourceKind("DuckDB file", local=True)
SQLITE = SourceKind("SQLite file", ("sqlite_scanner",), "sqlite", local=True)
POSTGRES = SourceKind("Postgres database", ("postgres_scanner",), "postgres")
_LAKE_CATALOGS = {name: f"{name}_scanner" for name in ("sqlite", "postgres", "mysql")}
"""The extension for a lake's catalog that is not a DuckDB file, by the prefix of its location."""


def source_kind(location: str) -> SourceKind | None:
    """The kind of a source; None if it cannot be attached.

    Raises:
        OSError: it is a file that cannot be read.
    """
    if _LAKE.match(location):
        catalog = location.partition(":")[2].partition(":")[0].lower()
        extra = (_LAKE_CATALOGS[catalog],) if catalog in _LAKE_CATALOGS else ()
        return SourceKind("DuckLake", ("ducklake", *extra))
    if _POSTGRES_URL.match(location) or _POSTGRES_PAIRS.match(location):
        return POSTGRES
    path = Path(location)
    return {"DuckDB": DUCKDB, "SQLite": SQLITE}.get(file_kind(path) or "") if path.is_file() else None


def names_file(location: str) -> bool:
    """True if a location is the path of a file, whether or not there is one."""
    return not any(form.match(location) for form in (_LAKE, _POSTGRES_URL, _POSTGRES_PAIRS))


def attach_sql(name: str, location: str, kind: SourceKind) -> str:
    """The statement that attaches a source read-only."""
    options = f"TYPE {kind.type_option}, READ_ONLY" if kind.type_option else "READ_ONLY"
    return f"ATTACH {literal(_POSTGRES_PAIRS.sub('', location, count=1))} AS {ident(name)} ({options})"


def source_name(location: str) -> str:
    """The default name of a source: the name of its file, or of its database on the server."""
    if _POSTGRES_URL.match(location):
        return urlsplit(location).path.strip("/")
    if pair := re.search(r"\bdbname\s*=\s*'?([^\s']+)", location):
        return pair.group(1)
    return Path(location.rpartition(":")[2] if _LAKE.match(location) else location).stem


def absolute(location: str) -> str:
    """A location that does not depend on the current folder, if it names a path that exists."""
    found = _PATH.fullmatch(location)
    path = Path(found["path"]) if found else None
    return f"{found['prefix']}{path.absolute()}" if found and path and path.exists() else location


def without_password(location: str) -> str:
    """A location as it may be stored and printed."""
    if Path(location).exists():
        return location
    if _URL.match(location):
        return _URL_OPTION.sub("", _USER_PASSWORD.sub(r"\1@", location)).rstrip("?&")
    return _PAIR.sub("", location).rstrip()


def scrubbed(message: str, location: str) -> str:
    """A message of DuckDB's, which may quote a location, without its password."""
    for text in (location, _POSTGRES_PAIRS.sub("", location), _LAKE.sub("", location)):
        message = message.replace(text, without_password(text))
    return message
