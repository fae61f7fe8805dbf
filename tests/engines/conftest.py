"""Models, their tables as Parquet files, the scores of their databases, and a session of the engine that is here."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql.spark
from relsql.bundles.bundle import card_of
from relsql.bundles.folder import open_bundle
from relsql.database.names import current_catalog
from relsql.demo.league import create_league
from relsql.integrations.import_relbench import import_dataset
from relsql.schema.declared.restate import stored_tables
from relsql.spark import SparkModel
from relsql.spark.sessions import open_session
from relsql.sql_text import ident, literal
from relsql.tasks.stored_tasks import read_task
from relsql.training.train import train
from tests.odd_data import CHURN, FAST, create_market
from tests.shop import QUICK, create_shop, train_quickly

SHOP_MOMENTS = (datetime.datetime(2022, 6, 1), datetime.datetime(2022, 12, 20, 8))


@dataclass(frozen=True, slots=True)
class Exported:
    """A model that was exported, and what its database says at some moments: key, score, status, evidence, .."""

    database: Path
    bundle: Path
    tables: Path
    key: str
    expected: dict[datetime.datetime, list[tuple[Any, ...]]]

    def frames(self, session: Any) -> dict[str, Any]:
        """The tables as data frames."""
        return {file.stem: session.read.parquet(str(file)) for file in sorted(self.tables.iterdir())}

    def registered(self, session: Any) -> SparkModel:
        return relsql.spark.register(session, self.bundle, tables=self.frames(session))


def exported(
    con: duckdb.DuckDBPyConnection, folder: Path, model: str, moments: tuple[datetime.datetime, ...]
) -> Exported:
    relsql.export_model(con, model, folder / "model")
    card = card_of(open_bundle(folder / "model"))
    tables = folder / "tables"
    tables.mkdir()
    for key in stored_tables(card.schema):
        con.execute(f"COPY {ident(key)} TO {literal(str(tables / f'{key}.parquet'))} (FORMAT parquet)")
    relsql.attach(con)
    [key] = card.entity.primary_key
    query = f"FROM predict_{model}_batch(as_of := $1) ORDER BY {ident(key)}"
    expected = {moment: con.execute(query, [moment]).fetchall() for moment in moments}
    [(database,)] = con.execute(
        "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchall()
    return Exported(Path(database), folder / "model", tables, key, expected)


@pytest.fixture(scope="session")
def session() -> Iterator[Any]:
    """Sail, if it is installed; else Spark on this machine."""
    with open_session() as found:
        yield found


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Every kind of path."""
    folder = tmp_path_factory.mktemp("market")
    with duckdb.connect(str(folder / "market.duckdb")) as con:
        create_market(con)
        # Neither Spark nor Sail reads nanoseconds.
        con.execute("ALTER TABLE visits ALTER seen TYPE TIMESTAMP")
        train(con, CHURN, name="churn", options=FAST)
        return exported(con, folder, "churn", SHOP_MOMENTS)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("shop")
    create_shop(folder / "shop.duckdb")
    with duckdb.connect(str(folder / "shop.duckdb")) as con:
        train_quickly(con, "churn")
        return exported(con, folder, "churn", SHOP_MOMENTS)


@pytest.fixture(scope="session")
def league(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The demo."""
    folder = tmp_path_factory.mktemp("league")
    create_league(folder / "league.duckdb", seasons=4)
    with duckdb.connect(str(folder / "league.duckdb")) as con:
        [(last,)] = con.execute("SELECT max(date)::TIMESTAMP FROM races").fetchall()
        task = read_task(con, current_catalog(con), "driver-dnf")
        train(con, task, name="dnf", options=QUICK)
        return exported(con, folder, "dnf", (last - datetime.timedelta(days=400), last))


@pytest.fixture(scope="session")
def f1(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """rel-f1 with the races of results as hubs."""
    folder = tmp_path_factory.mktemp("f1")
    import_dataset(str(data_dir / "rel-f1"), folder / "f1.duckdb")
    with duckdb.connect(str(folder / "f1.duckdb")) as con:
        task = read_task(con, current_catalog(con), "driver-dnf")
        train(con, task, name="dnf", options=replace(QUICK, event_hubs=True, epochs=1))
        return exported(con, folder, "dnf", (datetime.datetime(2005, 6, 1), datetime.datetime(2010, 3, 1)))
