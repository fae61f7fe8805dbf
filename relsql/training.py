"""Train a model: from tables and a task to a version in the registry, phase by phase.

Nothing is written until the last phase, which is one transaction: an interrupted or failed run leaves the database as
it was, but for its record in `relsql.runs`.
"""

from __future__ import annotations

import datetime
import hashlib
import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import duckdb
import numpy as np
import pyarrow as pa
import torch
from tokenizers import Tokenizer

import relsql
from exporters.onnx import export_encoder, export_graph, export_head
from relsql.blocks import BlockLayout, FloatArray, newest_evidence_days
from relsql.card import CARD_FORMAT, EncoderCard, ModelCard, layouts_of
from relsql.corpus import distinct_texts
from relsql.declare import check_schema
from relsql.denoise import train_denoising
from relsql.encoder import RowEncoder, compact_config, embed_texts, load_pretrained, new_model
from relsql.errors import ModelError, SchemaError, TrainingError
from relsql.features import NodeInputs, fit_node_inputs
from relsql.fit import Batches, FitConfig, SeedSet, fit
from relsql.gather import Gather
from relsql.labels import default_splits, label_table
from relsql.network import GraphNetwork, Head, NetworkConfig
from relsql.paths import DEFAULT_FANOUT, Path, plan_paths
from relsql.registry import next_version, save_model, used_schema
from relsql.runs import Run, TrainProgress, interrupted
from relsql.schema import Schema, current_catalog, read_schema
from relsql.seeds import gather_seeds
from relsql.splits import task_cursor
from relsql.store import require_writable, transaction
from relsql.task import Task, read_task
from relsql.tokenizer import dump_tokenizer, train_tokenizer
from udfs.functions import create_arrow_function
from udfs.texts import TextTable

MAX_TRAIN_SEEDS = 60_000
MAX_TEXTS_PER_TABLE = 20_000
MIN_STEPS = 250
MODEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What can be chosen about a training run.

    Attributes:
        seed: of all random numbers.
        encoder: `compact` (a small BART trained on this database) or the path or hub name of a pre-trained BART.
        encoder_steps: steps of denoising training; None: by the number of texts. 0 leaves a pre-trained BART as it is.
        max_tokens: longer row texts are cut.
        fanout: rows per seed and link path.
        channels: width of the graph network.
        epochs: passes over the training labels; None: 6, and up to 16 where that makes fewer than 250 steps.
        batch_size, learning_rate: of task training.
        threads: torch threads; None: as many as torch chooses.
    """

    seed: int = 0
    encoder: str = COMPACT
    encoder_steps: int | None = None
    max_tokens: int = 64
    fanout: int = DEFAULT_FANOUT
    channels: int = 64
    epochs: int | None = None
    batch_size: int = 256
    learning_rate: float = 1e-3
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The outcome of training; `metrics` are on the validation split, `phases` are seconds by phase."""

    name: str
    version: int
    task: str
    metrics: dict[str, float]
    seconds: float
    phases: dict[str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model reads, fixed before training."""

    task: Task
    schema: Schema
    paths: tuple[Path, ...]
    inputs: dict[str, NodeInputs]
    layouts: tuple[BlockLayout, ...]


@dataclass(frozen=True, slots=True)
class TrainedEncoder:
    """The row encoder with its tokenizer and everything said about it in the card."""

    module: RowEncoder
    tokenizer: Tokenizer
    card: EncoderCard


def train(
    con: duckdb.DuckDBPyConnection,
    task: str | Task,
    *,
    name: str,
    options: TrainOptions | None = None,
    progress: TrainProgress | None = None,
) -> TrainedModel:
    """Train a model for a task of the connection's current database and make it the active version of `name`.

    Args:
        con: an open connection; its transaction state and settings are left alone.
        task: name of a task in `relsql.tasks`, or a task.
        name: of the model: `dnf` gives `predict_dnf`.
        options: see `TrainOptions`.
        progress: told about every phase.

    Raises:
        RelsqlError: the name, the schema, the task or the data do not allow training, see `relsql.errors`.
        KeyboardInterrupt: interrupted; nothing was changed.
    """
    options = options or TrainOptions()
    catalog = current_catalog(con)
    if not MODEL_NAME.fullmatch(name):
        raise ModelError(
            f"model name '{name}' cannot be part of a function name",
            expected="letters, digits and underscores, at most 63",
            fix="relsql train FILE TASK --name NAME",
        )
    require_writable(con, catalog, "training")
    task = task if isinstance(task, Task) else read_task(con, catalog, task)
    run = Run(name, task.name, progress)
    threads = torch.get_num_threads()
    with task_cursor(con, catalog) as cursor:
        try:
            with torch.random.fork_rng():
                torch.manual_seed(options.seed)
                torch.set_num_threads(options.threads or threads)
                return _train(cursor, catalog, task, name, options, run)
        except BaseException as error:
            run.save_failure(cursor, catalog)
            if interrupted(error):
                raise KeyboardInterrupt from error
            raise
        finally:
            torch.set_num_threads(threads)


def _train(
    con: duckdb.DuckDBPyConnection, catalog: str, task: Task, name: str, options: TrainOptions, run: Run
) -> TrainedModel:
    with run.phase("check") as metrics:
        plan = make_plan(con, catalog, task, options)
        metrics.update(tables=len(plan.inputs), paths=len(plan.paths))
    with run.phase("labels") as metrics:
        labels = {split: label_table(con, catalog, plan.schema, plan.task, split).table for split in ("train", "val")}
        labels["train"] = _latest(labels["train"], MAX_TRAIN_SEEDS)
        metrics.update({f"{split}_labels": table.num_rows for split, table in labels.items()})
    with run.phase("gather") as metrics:
        texts, seeds = _gather(con, catalog, plan, labels, run)
        metrics.update({f"{split}_rows": _row_count(part) for split, part in seeds.items()})
    encoder = _train_encoder(con, catalog, plan, options, run)
    with run.phase("embed") as metrics:
        cached, cache = _embed(con, catalog, plan, encoder, run)
        embeddings = _embeddings_of(texts, encoder, cached, cache)
        metrics.update(texts=len(cached))
    with run.phase("network") as metrics:
        network, head, fitted = _fit(plan, seeds, embeddings, options, run)
        metrics.update(fitted)
    with run.phase("export") as metrics:
        artifacts, parity = _export(network, head, encoder, cached)
        metrics.update({f"{component}_difference": value for component, value in parity.items()})
    with run.phase("store"):
        run.version = next_version(con, catalog, name)
        card = _card(plan, name, run.version, options, encoder, network, seeds, fitted, parity, artifacts)
        with transaction(con):
            save_model(con, catalog, card, artifacts, cached, cache)
            run.save(con, catalog)
    phases = {phase.name: phase.seconds for phase in run.phases}
    return TrainedModel(name, run.version, plan.task.name, fitted, sum(phases.values()), phases)


def make_plan(con: duckdb.DuckDBPyConnection, catalog: str, task: Task, options: TrainOptions) -> Plan:
    """Check schema and task against the data and plan what the model reads.

    Raises:
        SchemaError, TaskError: they do not fit.
    """
    schema = read_schema(con, catalog).without_columns(task.remove_columns)
    schema.table(task.entity_table)
    task = default_splits(con, catalog, schema, task)
    assert task.val_timestamp is not None
    paths = plan_paths(con, catalog, schema, task.entity_table, fanout=options.fanout)
    used = {path.table for path in paths} | {link.parent for path in paths for link in path.lookups}
    used |= {table for path in paths for link in path.links for table in (link.child, link.parent)}
    read = used | {str(link) for link in schema.links if link.child in used and link.parent in used}
    for finding in check_schema(con, catalog, schema):
        if finding.severity == "error" and finding.object in read:
            raise SchemaError(finding.message)
    inputs = {key: fit_node_inputs(con, catalog, schema, key, until=task.val_timestamp) for key in sorted(used)}
    columns = {key: found.columns for key, found in inputs.items()}
    return Plan(task, used_schema(schema, sorted(used), columns), paths, inputs, layouts_of(paths, inputs))


def _latest(labels: pa.Table, limit: int) -> pa.Table:
    """The last `limit` labels; they come sorted by time, and the latest are most like what is asked next."""
    return labels.slice(max(0, labels.num_rows - limit))


def _gather(
    con: duckdb.DuckDBPyConnection, catalog: str, plan: Plan, labels: dict[str, pa.Table], run: Run
) -> tuple[TextTable, dict[str, SeedSet]]:
    """Gather the labelled seeds of each split; the texts they meet are only numbered here."""
    texts = TextTable(0)
    function = f"relsql_text_{run.run_id}"
    create_arrow_function(con, function, texts.ids, ["VARCHAR"], "INTEGER")
    try:
        gather = Gather(catalog, plan.schema, plan.paths, plan.inputs, function)
        seeds: dict[str, SeedSet] = {}
        for split, table in labels.items():
            done = sum(len(other) for other in seeds.values())
            total = sum(other.num_rows for other in labels.values())

            def report(share: float, rows: int = table.num_rows, done: int = done, total: int = total) -> None:
                run.report("gather", (done + share * rows) / total * 0.999, {})

            seeds[split] = gather_seeds(con, gather, plan.layouts, table, report)
            if not len(seeds[split]):
                raise TrainingError(
                    f"task '{plan.task.name}': no entity of the {split} labels is visible at its timestamp",
                    expected=f"rows of table '{plan.task.entity_table}' dated before the labels",
                )
    finally:
        con.remove_function(function)
    return texts, seeds


def _train_encoder(
    con: duckdb.DuckDBPyConnection, catalog: str, plan: Plan, options: TrainOptions, run: Run
) -> TrainedEncoder:
    """Tokenizer and BART, on the row texts that were visible at the end of the training time range."""
    until = plan.task.val_timestamp
    with run.phase("tokenizer") as metrics:
        texts = distinct_texts(con, catalog, plan.schema, plan.inputs, until=until, limit_per_table=MAX_TEXTS_PER_TABLE)
        if options.encoder == COMPACT:
            tokenizer = train_tokenizer(texts)
            model = new_model(compact_config(tokenizer.get_vocab_size()), options.seed)
        else:
            model, tokenizer = load_pretrained(options.encoder)
        metrics.update(texts=len(texts), vocabulary=tokenizer.get_vocab_size())
    with run.phase("encoder") as metrics:
        steps = options.encoder_steps
        if steps is None:
            steps = min(300, max(60, len(texts) // 4))
        report = train_denoising(
            model,
            tokenizer,
            texts,
            max_steps=steps,
            learning_rate=3e-3 if options.encoder == COMPACT else 1e-4,
            seed=options.seed,
            max_tokens=options.max_tokens,
            progress=lambda fraction, values: run.report("encoder", min(fraction, 0.999), values),
        )
        losses = {"loss_before": report.validation_loss_before, "loss": report.validation_loss}
        metrics.update({"steps": report.steps, **{k: v for k, v in losses.items() if v is not None}})
    module = RowEncoder(model)
    card = EncoderCard(options.encoder, module.dimension, options.max_tokens, {"steps": report.steps, **losses})
    return TrainedEncoder(module, tokenizer, card)


def _embed(
    con: duckdb.DuckDBPyConnection, catalog: str, plan: Plan, encoder: TrainedEncoder, run: Run
) -> tuple[list[str], FloatArray]:
    """Embeddings of all row texts in the database."""
    texts = distinct_texts(con, catalog, plan.schema, plan.inputs)
    embeddings = embed_texts(
        encoder.module,
        encoder.tokenizer,
        texts,
        max_tokens=encoder.card.max_tokens,
        progress=lambda fraction, values: run.report("embed", min(fraction, 0.999), values),
    )
    return texts, embeddings


def _embeddings_of(texts: TextTable, encoder: TrainedEncoder, cached: list[str], cache: FloatArray) -> FloatArray:
    """Embeddings by text id, float32 [texts + 1, width], row 0 zeros."""
    position = {text: i for i, text in enumerate(cached)}
    matrix = np.zeros((len(texts) + 1, encoder.module.dimension), dtype=np.float32)
    for i, text in enumerate(texts.texts):
        matrix[i + 1] = cache[position[text]]
    return matrix


def _fit(
    plan: Plan, seeds: dict[str, SeedSet], embeddings: FloatArray, options: TrainOptions, run: Run
) -> tuple[GraphNetwork, Head, dict[str, float]]:
    config = NetworkConfig(channels=options.channels, text_width=embeddings.shape[1])
    network = GraphNetwork(plan.layouts, config)
    head = Head(config, classification=plan.task.is_classification)
    steps_per_epoch = max(1, -(-len(seeds["train"]) // options.batch_size))
    epochs = options.epochs or min(16, max(6, -(-MIN_STEPS // steps_per_epoch)))
    fit_config = FitConfig(
        epochs=epochs, batch_size=options.batch_size, learning_rate=options.learning_rate, seed=options.seed
    )
    batches = {split: Batches(part, plan.layouts, embeddings) for split, part in seeds.items()}
    report = fit(
        network,
        head,
        batches["train"],
        batches["val"],
        fit_config,
        lambda fraction, values: run.report("network", min(fraction, 0.999), values),
    )
    metrics = {f"val_{report.metric_name}": report.validation_metric, "temperature": report.temperature}
    return network, head, metrics | {"epochs": report.epochs, "best_epoch": report.best_epoch}


def _export(
    network: GraphNetwork, head: Head, encoder: TrainedEncoder, texts: list[str]
) -> tuple[dict[str, bytes], dict[str, float]]:
    parity = {}
    artifacts = {"tokenizer.json": dump_tokenizer(encoder.tokenizer).encode()}
    artifacts["encoder.onnx"], parity["encoder"] = export_encoder(
        encoder.module, encoder.tokenizer, texts, encoder.card.max_tokens
    )
    artifacts["graph.onnx"], parity["graph"] = export_graph(network, encoder.module.dimension)
    artifacts["head.onnx"], parity["head"] = export_head(head, network.config.channels)
    return artifacts, parity


def _card(
    plan: Plan,
    name: str,
    model_version: int,
    options: TrainOptions,
    encoder: TrainedEncoder,
    network: GraphNetwork,
    seeds: dict[str, SeedSet],
    metrics: dict[str, float],
    parity: dict[str, float],
    artifacts: dict[str, bytes],
) -> ModelCard:
    assert plan.task.val_timestamp is not None
    return ModelCard(
        format=CARD_FORMAT,
        name=name,
        version=model_version,
        relsql_version=relsql.__version__,
        created=datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0),
        task=plan.task,
        schema=plan.schema,
        fingerprint=plan.schema.fingerprint(),
        paths=plan.paths,
        inputs=plan.inputs,
        encoder=encoder.card,
        channels=network.config.channels,
        windows=network.config.windows,
        trained_until=plan.task.val_timestamp,
        stale_after_days=_oldest_evidence_days(plan, seeds),
        metrics=metrics,
        parity=parity,
        versions=_versions(),
        sha256={key: hashlib.sha256(content).hexdigest() for key, content in sorted(artifacts.items())},
        seed=options.seed,
        options={key: value for key, value in asdict(options).items() if key != "seed"},
    )


def _oldest_evidence_days(plan: Plan, seeds: dict[str, SeedSet]) -> float | None:
    """Age of the newest linked row, for the seed of train and validation where it is oldest."""
    oldest = -np.inf
    for part in seeds.values():
        newest = newest_evidence_days(part.blocks, plan.paths, plan.schema)
        finite = newest[np.isfinite(newest)]
        oldest = max(oldest, float(finite.max())) if len(finite) else oldest
    return float(oldest) if np.isfinite(oldest) else None


def _row_count(seeds: SeedSet) -> int:
    return sum(len(block.slot) for block in seeds.blocks)


def _versions() -> dict[str, str]:
    """Versions of what decides the result."""
    found = {"python": platform.python_version()}
    for package in ("duckdb", "torch", "transformers", "torch-geometric", "onnxruntime", "tokenizers", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
