"""Look-alikes of public databases go from file to a published model, and rows after as_of never count.

Which rows those are is written a second time beside each schema, in plain SQL (`later.sql`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

import relsql
from relsql.cli import cli
from relsql.database.names import current_catalog
from relsql.schema.tables import Schema
from relsql.tasks.task import Task
from tests.databases.load import FOLDER, NAMES, create_database
from tests.shop import QUICK

OPTIONS = replace(QUICK, max_paths=5)
MODEL = "model"
SHOWN = 6


@dataclass(frozen=True)
class Database:
    """A look-alike: its folder, a file with a trained and published model, and its task."""

    folder: Path
    path: Path
    task: Task


def run(*arguments: object) -> str:
    """The output of a command, which must succeed."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], prog_name="relsql")
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module", params=NAMES)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Database:
    folder, path = FOLDER / request.param, tmp_path_factory.mktemp("databases") / f"{request.param}.duckdb"
    create_database(request.param, path)
    run("init", path, "--yes")
    run("init", path, "--task", folder / "task.yaml")
    task = Task.from_manifest(folder / "task.yaml")
    with duckdb.connect(str(path)) as con:
        relsql.train(con, task.name, name=MODEL, options=OPTIONS)
    run("publish", path, MODEL)
    return Database(folder, path, task)


@pytest.fixture
def opened(database: Database, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with relsql.connect(shutil.copy(database.path, tmp_path)) as con:
        yield con
