"""The commands that write, each with the folder that it starts from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import yaml

from tests.children import value_of
from tests.shop import TASK, create_shop
from tests.torture.running import run

FILE = "shop.duckdb"
TRAIN = ("train", FILE, "customer-churn", "--name", "churn", "--fanout", "4", "--channels", "16", "--batch-size", "64")
CHANGES = """
    UPDATE orders SET note = 'note number ' || order_id WHERE order_id % 5 = 0;
    UPDATE customers SET name = 'somebody ' || customer_id WHERE customer_id % 3 = 0;
    CHECKPOINT"""
"""New texts, and others that no row has any more."""


@dataclass(frozen=True, slots=True)
class Base:
    """A folder that commands start from: a copy of another one with changes.

    Attributes:
        name: name of the folder.
        start: the base that it is a copy of.
        prepare: called with the folder, in a child.
        runs: commands to run in it afterwards.
        change: a statement to run at the end.
    """

    name: str
    start: str | None = None
    prepare: Callable[[Path], None] | None = None
    runs: tuple[tuple[str, ...], ...] = ()
    change: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line with file names relative to its folder; `base` is the state of the folder before it runs."""

    name: str
    base: str
    arguments: tuple[str, ...]

    def in_folder(self, folder: Path) -> list[str]:
        """The arguments, with the paths of the files that they name."""
        files = {FILE, "data", "copy.duckdb", "demo.duckdb", "churn.yaml", "risk.parquet", "risk.csv"}
        files |= {"model", "lake", "scores"}
        return [str(folder / argument) if argument in files else argument for argument in self.arguments]


def _empty(folder: Path) -> None:
    """Nothing."""


def _tables(folder: Path) -> None:
    """The shop as a user's database, without anything written by relsql."""
    _shop(folder)
    with duckdb.connect(str(folder / FILE)) as con:
        con.execute("DROP SCHEMA relsql CASCADE; CHECKPOINT")


def _shop(folder: Path) -> None:
    create_shop(folder / FILE)
    (folder / "churn.yaml").write_text(yaml.safe_dump(_manifest()))


def _manifest() -> dict[str, object]:
    fields = ("name", "task_type", "entity_table", "entity_col", "target_col", "time_col", "timedelta", "sql")
    return {"kind": "forecast", **{name: getattr(TASK, name) for name in fields}}


def _dataset(folder: Path) -> None:
    """The shop as a RelBench data set, with an existing file at the path of the import."""
    (folder / "data" / "db").mkdir(parents=True)
    _tables(folder)
    _write_tables(folder, folder / "data" / "db")
    tables = {
        "shops": {"pkey": "shop_id"},
        "customers": {"pkey": "customer_id", "fkeys": {"shop_id": "shops"}},
        "orders": {"pkey": "order_id", "time_col": "ordered_at", "fkeys": {"customer_id": "customers"}},
    }
    manifest = {"name": "shop", "val_timestamp": "2022-09-01", "test_timestamp": "2022-11-01", "tables": tables}
    (folder / "data" / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    (folder / "data" / "tasks" / "churn").mkdir(parents=True)
    (folder / "data" / "tasks" / "churn" / "manifest.yaml").write_text(yaml.safe_dump(_manifest() | {"name": "churn"}))


def _lake(folder: Path) -> None:
    """The tables as Parquet files, beside the file that has them."""
    (folder / "lake").mkdir()
    _write_tables(folder, folder / "lake")


def _write_tables(folder: Path, into: Path) -> None:
    with duckdb.connect(str(folder / FILE)) as con:
        for table in ("shops", "customers", "orders"):
            con.execute(f"COPY {table} TO '{into / table}.parquet' (FORMAT parquet)")


_SCORE = ("score", FILE, "churn", "--as-of", "2022-10-01")
_JOB = (*_SCORE, "--into", "risk", "--chunk-rows", "16")
_SHARD = ("shard-score", "model", "--tables", "lake", "--as-of", "2022-10-01", "--into", "scores", "--shard", "1/1")

BASES = {
    base.name: base
    for base in (
        Base("empty", prepare=_empty),
        Base("tables", prepare=_tables),
        Base("dataset", prepare=_dataset),
        Base("tasks", prepare=_shop),
        Base("model", "tasks", runs=(TRAIN,)),
        Base("versions", "model", runs=((*TRAIN, "--seed", "1"),)),
        Base("changed", "versions", change=CHANGES),
        Base("scored", "versions", runs=((*_JOB, "--changed-only"),), change=CHANGES),
        Base(
            "written",
            "versions",
            runs=tuple((*_SCORE, "--output", output) for output in ("risk", "risk.parquet", "risk.csv")),
            change=CHANGES,
        ),
        Base("kept", "versions", runs=((*_JOB, "--keep-history"),)),
        Base("exported", "versions", runs=(("export", FILE, "churn@1", "--output", "model"),)),
        Base("lake", "exported", prepare=_lake),
        Base("published", "versions", runs=(("publish", FILE, "churn"),)),
        Base("published and changed", "published", change=CHANGES),
        Base(
            "published and retired",
            "published",
            runs=(("promote", FILE, "churn", "previous"),),
        ),
    )
}

COMMANDS = {
    command.name: command
    for command in (
        Command(
            "init",
            "tables",
            ("init", FILE, "--time-column", "orders(ordered_at)", "--task", "churn.yaml", "--yes"),
        ),
        Command("import --overwrite", "dataset", ("import", "data", FILE, "--overwrite")),
        Command("import", "dataset", ("import", "data", "copy.duckdb")),
        Command("train, first version", "tasks", TRAIN),
        Command("train, next version", "model", (*TRAIN, "--seed", "1")),
        Command("train, known version", "versions", TRAIN),
        Command("score --output TABLE", "versions", (*_SCORE, "--output", "risk")),
        Command("score --output TABLE --overwrite", "written", (*_SCORE, "--output", "risk", "--overwrite")),
        Command("score --output .parquet", "versions", (*_SCORE, "--output", "risk.parquet")),
        Command("score --output .csv --overwrite", "written", (*_SCORE, "--output", "risk.csv", "--overwrite")),
        Command("score --into", "versions", _JOB),
        Command("score --into --changed-only", "scored", (*_JOB, "--changed-only")),
        Command("threshold", "versions", ("threshold", FILE, "churn", "--top", "10%")),
        Command("backtest", "versions", ("backtest", FILE, "customer-churn", "--model", "churn", "--cutoffs", "3")),
        Command("score --into --keep-history", "versions", (*_JOB, "--keep-history")),
        Command("outcomes", "kept", ("outcomes", FILE, "churn")),
        Command("drift", "kept", ("drift", FILE, "churn")),
        Command("refresh", "changed", ("refresh", FILE, "churn")),
        Command("refresh --prune, published", "published and changed", ("refresh", FILE, "churn", "--prune")),
        Command("promote", "versions", ("promote", FILE, "churn", "1")),
        Command("drop", "versions", ("drop", FILE, "churn@1", "--yes")),
        Command("drop --all", "published", ("drop", FILE, "churn", "--all", "--yes")),
        Command("export", "versions", ("export", FILE, "churn", "--output", "model")),
        Command("import of a model", "exported", ("import", "model", FILE)),
        Command("shard-score", "lake", _SHARD),
        Command("publish", "changed", ("publish", FILE, "churn")),
        Command("publish, another version", "published and retired", ("publish", FILE, "churn")),
        Command("publish --into", "changed", ("publish", FILE, "churn", "--into", "copy.duckdb")),
        Command("unpublish", "published", ("unpublish", FILE, "churn")),
        Command("demo", "empty", ("demo", "demo.duckdb", "--seasons", "4")),
    )
}


class Bases:
    """The folders that commands start from, made when first asked for and kept below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trained = root / "trained"
        self.trained.mkdir(parents=True, exist_ok=True)

    def folder(self, name: str) -> Path:
        """The folder of a base; AssertionError if it cannot be made."""
        folder = self.root / name.replace(" ", "-")
        if folder.exists():
            return folder
        base = BASES[name]
        draft = folder.with_name(folder.name + ".draft")
        shutil.rmtree(draft, ignore_errors=True)
        if base.start:
            shutil.copytree(self.folder(base.start), draft)
        else:
            draft.mkdir()
        if base.prepare:
            value_of(lambda: base.prepare(draft))  # type: ignore[misc]
        for arguments in base.runs:
            result = run(Command("", "", arguments).in_folder(draft), draft, self.trained)
            assert result.exit_code == 0, f"{name}: {result.stderr}"
        if base.change:
            value_of(lambda: _execute(draft / FILE, base.change))
        draft.rename(folder)
        return folder


def _execute(file: Path, statement: str) -> None:
    with duckdb.connect(str(file)) as con:
        con.execute(statement)
