"""Measure how fast row texts are embedded: `python -m benchmarks.speed.encoder`.

The row encoder of a data set is trained and exported here; every row of the table has its weights.

    transformers loop    torch, all rows in the order of the tables, 64 at a time, padded to the longest
    exported             the same loop on onnxruntime
    + length buckets     texts of like length together, as `udfs.encoder` does
    + identical once     each distinct text of the database once, including the time to deduplicate: `relsql refresh`
    int8                 the same with 8-bit weights and activations

The first three use a sample of the rows, the last two the whole database. Ratios are taken within one run; run it on an
idle machine.
"""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import duckdb
import numpy as np
import torch

from benchmarks.data.problems import DEFAULT_CACHE, database_file, list_tasks
from benchmarks.speed.report import Target, target_lines, write_formatted
from exporters.onnx.export import export_encoder
from relsql.database.connections import open_database
from relsql.database.cursors import task_cursor
from relsql.database.names import current_catalog
from relsql.gather.sql.row_texts import distinct_texts, row_text_queries
from relsql.registry.components.onnx_runtime import onnxruntime
from relsql.registry.runs import Run
from relsql.tasks.stored_tasks import read_task
from relsql.training.encoder.fit_encoder import TrainedEncoder, train_encoder
from relsql.training.options import TrainOptions
from relsql.training.plan import Plan, make_plan
from relsql.typing import FloatArray
from udfs.components import create_session
from udfs.encoder import RowTextEncoder

BATCH = 64
TARGET = 5
PARITY = 1e-4
"""Largest difference between embeddings that are considered equal."""


@dataclass(frozen=True, slots=True)
class Speed:
    """One row of the table.

    Attributes:
        dataset, name: what was measured.
        rows: rows that got an embedding.
        encoded: texts that were encoded for them.
        seconds: median wall time.
        ratio: rows per second, as a multiple of the first row's.
        difference: largest absolute difference of an embedding from torch's.
    """

    dataset: str
    name: str
    rows: int
    encoded: int
    seconds: float
    ratio: float
    difference: float

    @property
    def rows_per_second(self) -> float:
        """Throughput."""
        return self.rows / self.seconds


@contextmanager
def trained(path: Path, task: str, options: TrainOptions) -> Iterator[tuple[duckdb.DuckDBPyConnection, Plan]]:
    """A connection to a database, and the plan of a task on it."""
    with open_database(path, read_only=True) as con:
        catalog = current_catalog(con)
        with task_cursor(con, catalog) as cursor:
            yield cursor, make_plan(cursor, catalog, read_task(cursor, catalog, task), fanout=options.fanout)


def measure(
    dataset: str, path: Path, task: str, options: TrainOptions, *, sample: int, threads: int, repeats: int
) -> list[Speed]:
    """All rows of one data set.

    Raises:
        AssertionError: a float32 embedding differs from torch's.
    """
    torch.set_num_threads(threads)
    with trained(path, task, options) as (cursor, plan):
        encoder = train_encoder(cursor, current_catalog(cursor), plan, options, Run("encoder", task))
        every_row = " UNION ALL ".join(row_text_queries(current_catalog(cursor), plan.rows))
        [(total,)] = cursor.execute(f"SELECT count(*) FROM ({every_row})").fetchall()
        texts = [text for (text,) in cursor.execute(sampled(every_row, sample)).fetchall()]

        def distinct() -> list[str]:
            return distinct_texts(cursor, current_catalog(cursor), plan.schema, plan.inputs)

        return list(_speeds(dataset, encoder, texts, int(total), distinct, threads, repeats))


def sampled(query: str, rows: int) -> str:
    """A query for a sample of a query's rows, in the same order."""
    numbered = f"SELECT text, row_number() OVER () AS number FROM ({query})"
    return f"SELECT text FROM (FROM ({numbered}) ORDER BY hash(number) LIMIT {rows}) ORDER BY number"


def _speeds(
    dataset: str,
    encoder: TrainedEncoder,
    texts: list[str],
    total: int,
    distinct: Callable[[], list[str]],
    threads: int,
    repeats: int,
) -> Iterator[Speed]:
    content, _ = export_encoder(encoder.module, encoder.tokenizer, texts, encoder.card.max_tokens)
    session = create_session(content, threads)
    exported, small = (
        RowTextEncoder(each, encoder.tokenizer, encoder.card.max_tokens)
        for each in (session, create_session(quantized(content), threads))
    )
    every_text = distinct()
    works: dict[str, tuple[Callable[[], FloatArray], int, Sequence[str]]] = {
        "transformers loop": (lambda: torch_loop(encoder, texts), len(texts), texts),
        "exported": (lambda: exported_loop(session, encoder, texts), len(texts), texts),
        "+ length buckets": (lambda: exported.encode(texts), len(texts), texts),
        "+ identical once": (lambda: exported.encode(distinct()), total, every_text),
        "int8": (lambda: small.encode(distinct()), total, every_text),
    }
    expected = dict(zip(texts, torch_loop(encoder, texts), strict=True))
    first = 0.0
    for name, (work, rows, given) in works.items():
        seconds, found = _timed(work, repeats)
        pairs = [(expected[text], row) for text, row in zip(given, found, strict=True) if text in expected]
        difference = max(float(np.abs(one - other).max()) for one, other in pairs)
        assert difference < PARITY or name == "int8", (name, difference)
        first = first or rows / seconds
        yield Speed(dataset, name, rows, len(given), seconds, rows / seconds / first, difference)


def torch_loop(encoder: TrainedEncoder, texts: list[str]) -> FloatArray:
    """Embed texts as a user of transformers would, float32 [n, width]."""
    encoder.module.eval()
    parts = []
    for start in range(0, len(texts), BATCH):
        batch = encoder.tokenizer.encode_batch(texts[start : start + BATCH], encoder.card.max_tokens)
        with torch.inference_mode():
            parts.append(encoder.module(*map(torch.from_numpy, batch)).numpy())
    return np.concatenate(parts)


def exported_loop(session: onnxruntime.InferenceSession, encoder: TrainedEncoder, texts: list[str]) -> FloatArray:
    """The same on onnxruntime."""
    parts = []
    for start in range(0, len(texts), BATCH):
        ids, mask = encoder.tokenizer.encode_batch(texts[start : start + BATCH], encoder.card.max_tokens)
        parts.append(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
    return np.concatenate(parts)


def quantized(content: bytes) -> bytes:
    """The encoder with dynamic quantization to 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(content)
        quantize_dynamic(source, target, weight_type=QuantType.QInt8)
        return target.read_bytes()


def _timed(work: Callable[[], FloatArray], repeats: int) -> tuple[float, FloatArray]:
    """Median seconds after a first run, and the last result."""
    found = work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), found


def table(speeds: Sequence[Speed]) -> str:
    """A Markdown table."""
    lines = [
        "| data set | row | rows | texts encoded | rows/s | ratio | difference |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {s.dataset} | {s.name} | {s.rows:,} | {s.encoded:,} | {s.rows_per_second:,.0f} | {s.ratio:.1f} "
        f"| {s.difference:.1e} |"
        for s in speeds
    ]
    return "\n".join(lines)


def targets(speeds: Sequence[Speed]) -> list[Target]:
    """The target for these figures, for each data set."""
    return [
        Target(f"{s.dataset}, rows/s, times the transformers loop", ">=", TARGET, s.ratio)
        for s in speeds
        if s.name == "+ identical once"
    ]


def write_json(path: Path, speeds: Sequence[Speed], threads: int) -> None:
    """Write all figures."""
    environment = {"python": platform.python_version(), "duckdb": duckdb.__version__, "torch": str(torch.__version__)}
    environment |= {"onnxruntime": onnxruntime.__version__, "threads": str(threads)}
    write_formatted(path, {"environment": environment, "rows": [asdict(speed) for speed in speeds]})


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--datasets", default="rel-f1,rel-retail,rel-grants", help="Data sets, with commas between.")
@click.option("--sample", default=8_000, type=click.IntRange(min=1), help="Rows of the loops.")
@click.option("--steps", type=click.IntRange(min=0), help="Training steps of the encoder. Default: as in training.")
@click.option("--threads", default=2, type=click.IntRange(min=1), help="CPU threads.")
@click.option("--repeats", default=3, type=click.IntRange(min=1), help="Runs; their median counts.")
@click.option("--out", default=DEFAULT_CACHE / "encoder.json", type=click.Path(path_type=Path), help="Results file.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of the databases.")
def main(datasets: str, sample: int, steps: int | None, threads: int, repeats: int, out: Path, cache: Path) -> None:
    """Time the row encoder on RelBench data sets, print ratios and the target, and store the figures."""
    speeds: list[Speed] = []
    for dataset in datasets.split(","):
        path, task = database_file(dataset, cache), list_tasks(dataset, cache)[0]
        options = TrainOptions(encoder_steps=steps, threads=threads)
        speeds += measure(dataset, path, task, options, sample=sample, threads=threads, repeats=repeats)
    click.echo(f"{table(speeds)}\n\n{target_lines(targets(speeds))}")
    write_json(out, speeds, threads)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.speed.encoder")
