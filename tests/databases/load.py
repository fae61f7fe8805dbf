"""Write the look-alikes: tables of the shapes of public databases, with invented rows.

Rows come from digests of a fixed seed, so that they are the same in every release of DuckDB.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

FOLDER = Path(__file__).parent
NAMES = tuple(sorted(path.parent.name for path in FOLDER.glob("*/schema.sql")))

_SYLLABLES = "['ba', 'do', 'fe', 'gu', 'ki', 'lo', 'mar', 'nel', 'or', 'pa', 'quin', 'ros', 'sul', 'ta', 'vo', 'zen']"
_MACROS = f"""
    CREATE TEMP MACRO draw(a, b, c := 0, d := 0) AS
        md5_number_lower(concat_ws('/', 'seed 7', a, b, c, d))::DOUBLE / 18446744073709551616.0;
    CREATE TEMP MACRO below(n, a, b, c := 0, d := 0) AS least(n - 1, floor(n * draw(a, b, c, d)))::INTEGER;
    CREATE TEMP MACRO syllable(i) AS {_SYLLABLES}[1 + i % 16];
    CREATE TEMP MACRO word(i, kind) AS
        upper(syllable(below(16, i, kind, 1))[1]) || syllable(below(16, i, kind, 1))[2:]
        || syllable(below(16, i, kind, 2)) || syllable((i % 16)::INTEGER);
    CREATE TEMP MACRO name(i, kind) AS word(i, 'name' || kind);
"""
"""draw: a number in [0, 1) that its arguments decide. below: a whole number in [0, n). word, name: invented ones."""


def schema_text(name: str) -> str:
    """The SQL of a look-alike: its tables, and in comments the keys, links and times that they have."""
    return (FOLDER / name / "schema.sql").read_text(encoding="utf-8")


def create_tables(name: str, con: duckdb.DuckDBPyConnection) -> None:
    """Create the tables of a look-alike in an empty database."""
    con.execute(_MACROS)
    con.execute(schema_text(name))


def create_database(name: str, path: Path) -> None:
    """Write a look-alike to a new file."""
    with duckdb.connect(str(path)) as con:
        create_tables(name, con)
