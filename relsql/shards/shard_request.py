"""A request for scores in parts: what it reads, where it writes, and which of its parts exist already."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from relsql.bundles.folder import BundleFolder
from relsql.errors import DatabaseError
from relsql.registry.cards.card import ModelCard
from relsql.shards.table_files import TableFiles
from relsql.version import __version__

MARK = "relsql_shards"
"""The metadata key under which a Parquet file names the request that it belongs to."""


@dataclass(frozen=True, slots=True)
class ShardRequest:
    """Scores of a model at a moment, in parts.

    Attributes:
        bundle: the folder of the model.
        card: its card.
        tables: the files of its tables.
        as_of: the moment, zone-less in UTC.
        shards: number of parts.
        into: the folder of the scores.
        identity: 16 hex digits, the same only for the same model, data, moment and number of parts.
    """

    bundle: BundleFolder
    card: ModelCard
    tables: TableFiles
    as_of: datetime.datetime
    shards: int
    into: Path
    identity: str

    def part_file(self, part: int) -> Path:
        """The file of a part, 0 to shards - 1."""
        return self.into / f"part-{part + 1:05}-of-{self.shards:05}.parquet"

    @property
    def prepared(self) -> Path:
        """The hidden folder with what the parts share."""
        return self.into / f".prepared-{self.identity}"

    def missing(self) -> list[int]:
        """The parts that do not exist yet."""
        return [part for part in range(self.shards) if not self.part_file(part).exists()]

    def require_own_folder(self) -> None:
        """Create the folder of the scores, or check that nothing else is in it.

        Raises:
            DatabaseError: it cannot be created, or holds other files or scores of another request.
        """
        try:
            self.into.mkdir(exist_ok=True)
            entries = sorted(entry for entry in self.into.iterdir() if not entry.name.startswith("."))
        except OSError as error:
            raise DatabaseError(
                f"folder '{self.into}' cannot be used: {error.strerror}",
                expected="a new folder in an existing one",
                fix="--into ANOTHER",
            ) from error
        own = {self.part_file(part) for part in range(self.shards)}
        for entry in entries:
            if _mark(entry) is None:
                raise DatabaseError(
                    f"'{entry}' is not a part that relsql shard-score wrote",
                    expected="a new folder, or one of parts",
                    fix="--into ANOTHER",
                )
            if entry not in own or _mark(entry) != self.identity:
                raise DatabaseError(
                    f"'{entry}' has scores of another run: another model, as_of, number of shards, or files changed",
                    expected="the folder of the same run, or a new one",
                    fix=f"rm -r '{self.into}', or --into ANOTHER",
                )


def _mark(file: Path) -> str | None:
    """The request that a file names; None if it is not a part."""
    try:
        found = (pq.read_metadata(file).metadata or {}).get(MARK.encode())
    except (pa.ArrowException, OSError):
        return None
    return found.decode(errors="replace") if found else None


def identity_of(bundle: BundleFolder, as_of: datetime.datetime, shards: int, stamps: Sequence[object]) -> str:
    """See `ShardRequest.identity`. Files with the same names, sizes and times of change count as the same data."""
    content = [__version__, bundle.manifest.digest, as_of.isoformat(), shards, stamps]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
