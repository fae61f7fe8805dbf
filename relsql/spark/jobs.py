"""A job: all scores of a model at a moment, as a folder of Parquet files that is complete or absent."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relsql.bundles.bundle import read_bundle
from relsql.database.drafts import drafted_folder, is_taken
from relsql.errors import DatabaseError, RelsqlError, ScoringError
from relsql.shards.table_files import find_files
from relsql.spark.models import register
from relsql.spark.sessions import open_session
from relsql.spark.supported import require_supported

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class SparkScores:
    """Result of a job.

    Attributes:
        model, version: the model that scored, with the version of the file that it was exported from.
        path: the folder of the scores.
        rows: their number.
        engine: the version that the engine reports.
    """

    model: str
    version: int
    path: str
    rows: int
    engine: str


def spark_score(
    bundle: str | Path,
    into: str,
    *,
    as_of: datetime.datetime,
    tables: str | Path | None = None,
    catalog: str | None = None,
    remote: str | None = None,
) -> SparkScores:
    """Score every entity of a model into a folder of Parquet files.

    Args:
        bundle: the folder that `relsql.export_model` wrote.
        into: the folder of the scores, new; or an address such as `s3a://bucket/scores`.
        as_of: score as of this time (inclusive, zone-less).
        tables: a folder with `TABLE.parquet` or `TABLE/*.parquet` for each table, seen from here and by the engine.
        catalog: a catalogue or schema of the engine, in place of `tables`.
        remote: the address of a server of Spark Connect; default: an engine on this machine, see `open_session`.

    Raises:
        ArtifactError: the bundle is damaged or of a newer relsql. TaskError: Spark cannot score the model.
            DatabaseError: files are missing, or the folder exists. SchemaDriftError, SchemaError: the tables are not
            those of the model. ScoringError: there is no engine, or it failed. MissingExtraError: it is not installed.
    """
    if (tables is None) == (catalog is None):
        raise ScoringError("a job reads files or a catalogue", expected="one of the two", fix="--tables DIR")
    card = read_bundle(Path(bundle)).card
    require_supported(card)
    files = find_files(Path(tables), card).files if tables is not None else {}
    with _written(into) as target, open_session(remote) as session, _explained():
        frames = {key: session.read.parquet(*(str(file.resolve()) for file in found)) for key, found in files.items()}
        model = register(session, bundle, tables=frames, catalog=catalog)
        model.score(as_of).write.mode("append").parquet(target)
        rows = session.read.parquet(target).count()
        return SparkScores(card.name, card.version, into, rows, session.version)


@contextmanager
def _written(into: str) -> Iterator[str]:
    """The folder to write into, which gets its name when the block ends; an address is written to directly."""
    if _ADDRESS.match(into):
        yield into
        return
    folder = Path(into).absolute()

    def require_free() -> None:
        if is_taken(folder):
            raise DatabaseError(f"'{into}' exists", expected="a new folder", fix="--into ANOTHER")

    require_free()
    try:
        with drafted_folder(folder, require_free) as draft:
            yield str(draft)
    except OSError as error:
        raise DatabaseError(f"folder '{into}' cannot be written: {error.strerror}", fix="--into ANOTHER") from error


@contextmanager
def _explained() -> Iterator[None]:
    """Turn an error of the engine into one line."""
    try:
        yield
    except RelsqlError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith(("pyspark", "py4j", "grpc")):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # The error that a Python worker raised comes last.
        raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
        raise ScoringError(f"Spark failed: {(raised or lines or [type(error).__name__])[-1][:500]}") from error
