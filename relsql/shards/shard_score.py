"""Score all entities of Parquet files in parts: one process per part, whose file is either complete or absent.

A part whose file exists is not computed again, so a stopped run continues with the missing parts, and a scheduler may
run parts on any machine that sees the folders.
"""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import pyarrow.parquet as pq

from relsql.bundles.bundle import card_of
from relsql.bundles.folder import open_bundle
from relsql.database.drafts import remove_draft
from relsql.errors import DatabaseError, ScoringError
from relsql.shards.prepare import prepare
from relsql.shards.score_part import score_part
from relsql.shards.shard_request import ShardRequest, identity_of
from relsql.shards.table_files import find_files
from relsql.tasks.kinds.supported import require_any_moment
from relsql.typing import PhaseProgress

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ShardScores:
    """Result of a run.

    Attributes:
        model, version: the model that scored, with the version of the file that it was exported from.
        path: the folder of the scores.
        shards: number of parts.
        computed: parts that this run computed.
        missing: parts that do not exist yet.
        rows: scores in the parts that exist.
    """

    model: str
    version: int
    path: str
    shards: int
    computed: int
    missing: int
    rows: int


def shard_score(
    bundle: str | Path,
    tables: str | Path,
    into: str | Path,
    *,
    as_of: datetime.datetime,
    shards: int,
    shard: int | None = None,
    threads: int | None = None,
    progress: PhaseProgress | None = None,
) -> ShardScores:
    """Score every entity of Parquet files in parts, each a Parquet file in a folder.

    Args:
        bundle: the folder that `relsql.export_model` wrote.
        tables: a folder with `TABLE.parquet` or `TABLE/*.parquet` for each table that the model reads.
        into: the folder of the scores.
        as_of: score as of this time (inclusive, zone-less).
        shards: number of parts.
        shard: compute only this part, 1 to `shards`, in this process; default: all that are missing, each in a process.
        threads: threads of each process; default: all cores for one part, the cores divided for several.
        progress: called as phases advance.

    Raises:
        DatabaseError: files are missing, cannot be read or written, or belong to another run. ArtifactError: the bundle
            is damaged. SchemaDriftError, SchemaError: the files are not the tables of the model. ScoringError: a
            process ended.
    """
    request = shard_request(Path(bundle), Path(tables), Path(into), as_of, shards)
    if shard is not None and not 1 <= shard <= shards:
        raise DatabaseError(
            f"there is no part {shard} of {shards}", expected=f"1 to {shards}", fix=f"--shard 1/{shards}"
        )
    request.require_own_folder()
    missing = request.missing()
    wanted = [part for part in missing if shard in (None, part + 1)]
    if wanted and shard is not None:
        score_part(request, wanted[0], threads)
    elif wanted:
        _run_all(request, wanted, threads, progress or (lambda *_: None))
    left = request.missing()
    if not left:
        _clean(request)
    rows = sum(pq.read_metadata(request.part_file(i)).num_rows for i in range(shards) if i not in left)
    card = request.card
    return ShardScores(card.name, card.version, str(request.into), shards, len(wanted), len(left), rows)


def shard_request(bundle: Path, tables: Path, into: Path, as_of: datetime.datetime, shards: int) -> ShardRequest:
    """The request for parts; the arguments and errors are those of `shard_score`."""
    if shards < 1:
        raise DatabaseError(f"{shards} is not a number of parts", expected="1 or more", fix="--shards 4")
    folder = open_bundle(bundle)
    card = card_of(folder)
    require_any_moment(card.task, "scoring in parts")
    files = find_files(tables, card)
    return ShardRequest(folder, card, files, as_of, shards, into, identity_of(folder, as_of, shards, files.stamps()))


def _run_all(request: ShardRequest, parts: Sequence[int], threads: int | None, progress: PhaseProgress) -> None:
    """Prepare, then compute parts in processes of their own, as many at a time as there are cores."""
    progress("prepare", 0.0, {})
    prepare(request, threads)
    progress("prepare", 1.0, {})
    cores = os.cpu_count() or 1
    at_once = max(1, min(cores // (threads or 1), len(parts)))
    waiting, done = list(parts), 0
    progress("score", 0.0, {})
    with _Processes() as running:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.start(_command(request, waiting[0], threads or max(1, cores // at_once)), waiting.pop(0))
            time.sleep(_POLL_SECONDS)
            for part, problem in running.ended():
                if problem is not None:
                    raise ScoringError(
                        f"part {part + 1} of {request.shards} failed: {problem}",
                        expected="every part to end with a file",
                        fix="run the same command again: parts that are there are kept",
                    )
                done += 1
                progress("score", done / len(parts), {"parts": done})


def _command(request: ShardRequest, part: int, threads: int) -> list[str]:
    """The command that computes one part."""
    return [
        *(sys.executable, "-m", "relsql", "shard-score", str(request.bundle.path)),
        *("--tables", str(request.tables.folder), "--into", str(request.into), "--as-of", request.as_of.isoformat()),
        *("--shards", str(request.shards), "--shard", f"{part + 1}/{request.shards}", "--threads", str(threads)),
    ]


class _Processes:
    """Processes that compute parts; any that still run when the block ends are terminated."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process, errors in self._running.values():
            process.terminate()
            process.wait()
            errors.close()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, arguments: Sequence[str], part: int) -> None:
        errors = tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=errors)  # noqa: S603
        self._running[part] = (process, errors)

    def ended(self) -> Iterator[tuple[int, str | None]]:
        """The parts whose processes have ended since the last call, and the error of each that failed."""
        for part, (process, errors) in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[part]
            with errors:
                yield part, _problem(code, errors) if code else None


def _problem(code: int, errors: IO[bytes]) -> str:
    """The last line that a failed process has written, or its code."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
    said = [line.removeprefix("relsql: error: ") for line in lines if line.strip()]
    return said[-1] if said else f"its process ended with code {code}"


def _clean(request: ShardRequest) -> None:
    """Remove what only unfinished parts need: the prepared folder, and drafts of processes that were killed."""
    for entry in request.into.iterdir():
        if entry.name.lstrip(".").startswith("prepared-") and entry.name.startswith("."):
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name.startswith(".part-"):
            remove_draft(entry)
