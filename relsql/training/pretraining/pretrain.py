"""Pre-train row encoder and graph network on several databases: `relsql pretrain A.duckdb B.duckdb --output weights`.

The row encoder learns by denoising, the graph network by masked features, the databases in turn. Both read all rows,
also those after the split timestamps of tasks: a database whose tasks are to be measured must not be among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import BartForConditionalGeneration

from relsql.database.connections import open_database
from relsql.database.cursors import task_cursor
from relsql.database.interrupts import keyboard_interrupts
from relsql.database.names import current_catalog
from relsql.errors import TrainingError
from relsql.gather.paths import DEFAULT_FANOUT
from relsql.gather.sql.row_texts import distinct_texts
from relsql.nn.row_encoder import RowEncoder, compact_config, embed_texts, new_model
from relsql.registry.runs import Run
from relsql.text.tokenizer import RowTokenizer
from relsql.training.encoder.denoise import train_denoising
from relsql.training.encoder.fit_encoder import prepend_zero_row
from relsql.training.encoder.fit_tokenizer import train_tokenizer
from relsql.training.fingerprint import library_versions
from relsql.training.fitting.fit_network import torch_settings
from relsql.training.options import TrainOptions
from relsql.training.pretraining.masked_rows import MaskedRows, MaskedTable, chosen_seeds, masked_tables, usable_schema
from relsql.training.pretraining.shared import share, shared_weights
from relsql.training.pretraining.weights import WEIGHTS_FORMAT, Manifest, Weights, require_free_folder, write_weights
from relsql.typing import PhaseProgress
from relsql.version import __version__

MAX_TEXTS_PER_TABLE = 5_000
BATCH_SIZE = 256
LEARNING_RATE = 3e-3


@dataclass(frozen=True, slots=True)
class PretrainOptions:
    """Options of a pre-training run.

    Attributes:
        seed: seed of all random numbers.
        encoder_steps: steps of denoising training.
        steps: steps of the graph network; each one reads rows of one table.
        channels: width of the graph network; a training run that starts from the weights has the same.
        max_tokens: longer row texts are truncated.
        fanout: maximum number of rows per seed and link path.
        threads: number of torch threads; None: torch's default.
    """

    seed: int = 0
    encoder_steps: int = 600
    steps: int = 1_000
    channels: int = 64
    max_tokens: int = 64
    fanout: int = DEFAULT_FANOUT
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    """What is read of one database: its row texts, and rows of its tables."""

    name: str
    texts: list[str]
    tables: list[MaskedTable]


def pretrain(
    databases: Sequence[str | Path],
    output: str | Path,
    *,
    options: PretrainOptions | None = None,
    overwrite: bool = False,
    progress: PhaseProgress | None = None,
) -> Manifest:
    """Pre-train on databases, which are opened read-only, and write the weights to a new folder.

    Args:
        databases: DuckDB files with keys and links; a file that is given twice counts once.
        output: the folder.
        options: see `PretrainOptions`.
        overwrite: replace weights that exist.
        progress: called with the progress of every phase.

    Returns:
        The manifest of the weights.

    Raises:
        TrainingError: there are no databases, one has no links, or the folder exists.
        RelsqlError: a database cannot be read.
    """
    options, output = options or PretrainOptions(), Path(output)
    files = list(dict.fromkeys(Path(path).resolve() for path in databases))
    if not files:
        raise TrainingError("there are no databases to pre-train on", fix="relsql pretrain A.duckdb --output weights")
    require_free_folder(output, overwrite=overwrite)
    run = Run("", "", progress)
    with keyboard_interrupts(), torch_settings(TrainOptions(seed=options.seed, threads=options.threads)):
        with run.phase("gather") as metrics:
            sources = [_read(path, options) for path in files]
            tables = [table for source in sources for table in source.tables]
            if not tables:
                raise TrainingError("no table has rows to learn from", expected="linked tables with keys and numbers")
            metrics.update(databases=len(sources), tables=len(tables), seeds=sum(len(table.seeds) for table in tables))
        weights = _fit(sources, options, run)
        with run.phase("store"):
            return write_weights(output, weights, overwrite=overwrite)


def _read(path: Path, options: PretrainOptions) -> _Source:
    with closing(open_database(path, read_only=True)) as con:
        catalog = current_catalog(con)
        with task_cursor(con, catalog) as cursor:
            schema, inputs = usable_schema(cursor, catalog, str(path))
            texts = distinct_texts(cursor, catalog, schema, inputs, limit_per_table=MAX_TEXTS_PER_TABLE)
            return _Source(path.stem, texts, masked_tables(cursor, catalog, schema, inputs, fanout=options.fanout))


def _fit(sources: list[_Source], options: PretrainOptions, run: Run) -> Weights:
    losses: dict[str, float] = {}
    model, tokenizer = _fit_encoder([text for source in sources for text in source.texts], options, run, losses)
    encoder = RowEncoder(model)
    parts: dict[str, nn.Module] = {}
    with run.phase("embed"):
        rows = [
            [_masked_rows(table, encoder, tokenizer, options) for table in source.tables]
            for source in sources
            if source.tables
        ]
        for each in (each for of_source in rows for each in of_source):
            share(each.network, parts)
    with run.phase("network") as metrics:
        metrics.update(_fit_network(rows, options, run))
        losses.update({f"network_{name}": value for name, value in metrics.items()})
    manifest = Manifest(
        format=WEIGHTS_FORMAT,
        relsql_version=__version__,
        versions=library_versions(),
        sources=tuple(source.name for source in sources),
        channels=options.channels,
        vocabulary=tokenizer.size,
        width=encoder.dimension,
        options={key: value for key, value in asdict(options).items() if key not in ("channels", "threads")},
        metrics=losses,
        sha256={},
    )
    return Weights(model, tokenizer, shared_weights(parts), manifest)


def _fit_encoder(
    texts: list[str], options: PretrainOptions, run: Run, losses: dict[str, float]
) -> tuple[BartForConditionalGeneration, RowTokenizer]:
    """Train tokenizer and BART on the texts of all databases, whose tables take turns; adds to `losses`."""
    with run.phase("tokenizer") as metrics:
        tokenizer = train_tokenizer(texts)
        metrics.update(texts=len(texts), vocabulary=tokenizer.size)
    with run.phase("encoder") as metrics:
        model = new_model(compact_config(tokenizer.size), options.seed)
        report = train_denoising(
            model,
            tokenizer,
            texts,
            max_steps=options.encoder_steps,
            seed=options.seed,
            max_tokens=options.max_tokens,
            progress=lambda fraction, values: run.report("encoder", min(fraction, 0.999), values),
        )
        # Databases without texts give no loss.
        found = {"loss_before": report.validation_loss_before, "loss": report.validation_loss}
        known = {name: value for name, value in found.items() if value is not None}
        metrics.update(known | {"steps": report.steps})
        losses.update({f"encoder_{name}": value for name, value in known.items()})
    return model, tokenizer


def _masked_rows(
    table: MaskedTable, encoder: RowEncoder, tokenizer: RowTokenizer, options: PretrainOptions
) -> MaskedRows:
    embedded = embed_texts(encoder, tokenizer, table.texts, max_tokens=options.max_tokens)
    return MaskedRows(table, prepend_zero_row(embedded), options.channels)


def _fit_network(sources: list[list[MaskedRows]], options: PretrainOptions, run: Run) -> dict[str, float]:
    """Train the networks of all tables, whose shared parts are the same modules; returns the loss at start and end."""
    if options.steps == 0:
        return {}
    every = nn.ModuleList(rows for source in sources for rows in source)
    optimizer = torch.optim.AdamW(every.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    # With fewer steps the schedule has no warm-up step, and it divides by the number of warm-up steps.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=max(20, options.steps), pct_start=0.1
    )
    random = np.random.default_rng(options.seed)
    every.train()
    losses = []
    for step in range(options.steps):
        tables = sources[step % len(sources)]
        rows = tables[step // len(sources) % len(tables)]
        loss = rows.loss(chosen_seeds(rows, BATCH_SIZE, random))
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss of masked features is {float(loss)} at step {step + 1}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(every.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        run.report("network", min((step + 1) / options.steps, 0.999), {"loss": losses[-1]})
    share_of_run = math.ceil(len(losses) / 10)
    return {
        "loss_before": float(np.mean(losses[:share_of_run])),
        "loss": float(np.mean(losses[-share_of_run:])),
    }
