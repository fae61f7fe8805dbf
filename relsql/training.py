"""Train a model: from tables and a task to a version in the registry, phase by phase.

Nothing is written until the last phase, which is one transaction: an interrupted or failed run leaves the database as
it was, but for its record in `relsql.runs`.
"""

from __future__ import annotations

import datetime
import hashlib
import platform
import re
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version

import duckdb
import numpy as np
import torch

import relsql
from exporters.onnx import export_encoder, export_graph, export_head
from relsql.blocks import FloatArray, newest_evidence_days
from relsql.card import CARD_FORMAT, ModelCard
from relsql.encoder_training import TrainedEncoder, embed_database, train_encoder, with_no_text
from relsql.errors import ModelError
from relsql.fit import Batches, FitConfig, SeedSet, fit, predict, refit
from relsql.head import Head
from relsql.network import GraphNetwork, NetworkConfig
from relsql.plan import Plan, make_plan
from relsql.regime import check_regime
from relsql.registry import next_version, save_model
from relsql.runs import Run, TrainProgress, interrupted
from relsql.schema import current_catalog
from relsql.splits import task_cursor
from relsql.store import require_writable, transaction
from relsql.task import Task, read_task
from relsql.tokenizer import dump_tokenizer
from relsql.train_options import TrainOptions
from relsql.training_data import gather_labels, row_count, training_labels

FEW_LABELS = ((8, 80), (16, 24))
"""Training takes up to so many epochs to make so many steps."""
MODEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The outcome of training.

    Attributes:
        name: of the model.
        version: of the model.
        task: name of the task.
        metrics: on the validation split, of the model before `refit`.
        seconds: in all.
        phases: seconds by phase.
        validation_scores: scores of the validation labels by the model before `refit`, float32 [labels whose entity is
            visible at as_of], sorted by (as_of, entity).
        network, head: the torch modules that were exported.
    """

    name: str
    version: int
    task: str
    metrics: dict[str, float]
    seconds: float
    phases: dict[str, float]
    validation_scores: FloatArray = field(compare=False, repr=False)
    network: GraphNetwork = field(compare=False, repr=False)
    head: Head = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FittedNetwork:
    """Trained network and head, with metrics and scores on the validation split."""

    network: GraphNetwork
    head: Head
    metrics: dict[str, float]
    validation_scores: FloatArray


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
    check_regime(options.regime)
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
        plan = make_plan(con, catalog, task, fanout=options.fanout, regime=options.regime)
        metrics.update(tables=len(plan.inputs), paths=len(plan.paths))
    with run.phase("labels") as metrics:
        labels = training_labels(con, catalog, plan, regime=options.regime, density=options.density, seed=options.seed)
        metrics.update({f"{split}_labels": table.num_rows for split, table in labels.items()})
    with run.phase("gather") as metrics:
        texts, seeds = gather_labels(con, catalog, plan, labels, run)
        metrics.update({f"{split}_rows": row_count(part) for split, part in seeds.items()})
    encoder = train_encoder(con, catalog, plan, options, run)
    with run.phase("embed") as metrics:
        cached, cache = embed_database(con, catalog, plan, encoder, texts.texts, run)
        # The texts met in training come first, in the order of their ids.
        embeddings = with_no_text(cache[: len(texts)])
        metrics.update(texts=len(cached))
    with run.phase("network") as metrics:
        fitted = _train_network(plan, seeds, embeddings, encoder.module.widths, options, run)
        metrics.update(fitted.metrics)
    with run.phase("export") as metrics:
        artifacts, parity = _export(fitted, encoder, cached)
        metrics.update({f"{component}_difference": value for component, value in parity.items()})
    with run.phase("store"):
        run.version = next_version(con, catalog, name)
        card = _card(plan, name, run.version, options, encoder, fitted, seeds, parity, artifacts)
        with transaction(con):
            save_model(con, catalog, card, artifacts, cached, cache)
            run.save(con, catalog)
    phases = {phase.name: phase.seconds for phase in run.phases}
    return TrainedModel(
        name,
        run.version,
        plan.task.name,
        fitted.metrics,
        sum(phases.values()),
        phases,
        fitted.validation_scores,
        fitted.network,
        fitted.head,
    )


def _train_network(
    plan: Plan,
    seeds: dict[str, SeedSet],
    embeddings: FloatArray,
    text_widths: tuple[int, ...],
    options: TrainOptions,
    run: Run,
) -> FittedNetwork:
    """Choose the epoch on validation, then train on all labels; the metrics are those on validation."""
    batches = {split: Batches(seeds[split], plan.layouts, embeddings) for split in ("train", "val")}
    config = fit_config(len(seeds["train"]), plan.task, options)
    share = 0.5 if options.refit else 1.0

    def report(fraction: float, values: dict[str, float], start: float = 0.0) -> None:
        run.report("network", min(start + share * fraction, 0.999), values)

    network, head = new_modules(plan, text_widths, options)
    found = fit(network, head, batches["train"], batches["val"], config, report)
    with torch.inference_mode():
        scores = head.scores(torch.from_numpy(predict(network, head, batches["val"]))).numpy()
    if options.refit:
        everything = seeds["train"].joined(seeds.get("closing", seeds["val"]), plan.layouts)
        network, head = new_modules(plan, text_widths, options)
        refit(
            network,
            head,
            Batches(everything, plan.layouts, embeddings),
            config,
            found,
            lambda f, v: report(f, v, share),
        )
    metrics = {f"val_{found.metric_name}": found.validation_metric, "temperature": found.temperature}
    metrics |= {"epochs": found.epochs, "best_epoch": found.best_epoch}
    return FittedNetwork(network, head, metrics, scores)


def fit_config(train_seeds: int, task: Task, options: TrainOptions) -> FitConfig:
    """Hyper-parameters of task training for a number of training seeds."""
    steps_per_epoch = max(1, -(-train_seeds // options.batch_size))
    # The absolute error pulls with the same force however small it is, and settles later than the log loss. In the
    # frozen regime every label stands there up to three times.
    fewest = 4 if task.is_classification or options.regime == "frozen" else 8
    enough = [min(epochs, -(-steps // steps_per_epoch)) for epochs, steps in FEW_LABELS]
    return FitConfig(
        epochs=options.epochs or max(fewest, *enough),
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )


def new_modules(plan: Plan, text_widths: tuple[int, ...], options: TrainOptions) -> tuple[GraphNetwork, Head]:
    """Untrained network and head; equal for equal options."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        # The absolute error is blurred by what is hidden: a mean of medians is no median. Old rows blur it more.
        hidden = 0.3 if plan.task.is_classification or options.regime == "frozen" else 0.1
        config = NetworkConfig(options.channels, text_widths, dropout=hidden, hidden_rows=hidden)
        return GraphNetwork(plan.layouts, config), Head(config, classification=plan.task.is_classification)


def _export(
    fitted: FittedNetwork, encoder: TrainedEncoder, texts: list[str]
) -> tuple[dict[str, bytes], dict[str, float]]:
    parity = {}
    artifacts = {"tokenizer.json": dump_tokenizer(encoder.tokenizer).encode()}
    artifacts["encoder.onnx"], parity["encoder"] = export_encoder(
        encoder.module, encoder.tokenizer, texts, encoder.card.max_tokens
    )
    components, parity["graph"] = export_graph(fitted.network, encoder.module.dimension)
    artifacts |= components
    artifacts["head.onnx"], parity["head"] = export_head(fitted.head, fitted.network.config.channels)
    return artifacts, parity


def _card(
    plan: Plan,
    name: str,
    model_version: int,
    options: TrainOptions,
    encoder: TrainedEncoder,
    fitted: FittedNetwork,
    seeds: dict[str, SeedSet],
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
        channels=fitted.network.config.channels,
        windows=fitted.network.config.windows,
        trained_until=plan.task.val_timestamp,
        stale_after_days=_oldest_evidence_days(plan, seeds),
        metrics=fitted.metrics,
        parity=parity,
        versions=_versions(),
        sha256={key: hashlib.sha256(content).hexdigest() for key, content in sorted(artifacts.items())},
        regime=options.regime,
        seed=options.seed,
        options={key: value for key, value in asdict(options).items() if key not in ("seed", "regime")},
    )


def _oldest_evidence_days(plan: Plan, seeds: dict[str, SeedSet]) -> float | None:
    """Age of the newest linked row, for the seed of train and validation where it is oldest."""
    oldest = -np.inf
    for part in seeds.values():
        newest = newest_evidence_days(part.blocks, plan.paths, plan.schema)
        finite = newest[np.isfinite(newest)]
        oldest = max(oldest, float(finite.max())) if len(finite) else oldest
    return float(oldest) if np.isfinite(oldest) else None


def _versions() -> dict[str, str]:
    """Versions of what decides the result."""
    found = {"python": platform.python_version()}
    for package in ("duckdb", "torch", "transformers", "torch-geometric", "onnxruntime", "tokenizers", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
