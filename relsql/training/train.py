"""Train a model: from tables and a task to a version in the registry, phase by phase.

Nothing is written until the last phase, which is one transaction: an interrupted or failed run leaves the database
unchanged, except for its record in `relsql.runs`. A model that was already trained from the same data, task, options
and code is not trained again. torch is loaded only if a model is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb
import numpy as np

from relsql.database.connections import require_writable, transaction
from relsql.database.cursors import task_cursor
from relsql.database.interrupts import keyboard_interrupts
from relsql.database.names import current_catalog, find_macros
from relsql.registry.cards.card import EncoderCard, ModelCard
from relsql.registry.function_names import all_names
from relsql.registry.models import STORING, activate, find_trained, read_models
from relsql.registry.publications import require_unclaimed
from relsql.registry.runs import Run, recorded_findings
from relsql.registry.versions import ACTIVE, ModelRow, model_name
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS, LabelLimits
from relsql.tasks.labels.temporary_tables import refuse_temporary_reads
from relsql.tasks.regime import check_regime
from relsql.tasks.stored_tasks import find_task
from relsql.tasks.summary import split_lines
from relsql.tasks.task import Task
from relsql.training.cards import network_card, origin
from relsql.training.fingerprint import training_fingerprint
from relsql.training.options import TrainOptions
from relsql.training.training_run import TrainingRun
from relsql.typing import FloatArray, PhaseProgress

if TYPE_CHECKING:
    from relsql.gather.paths import CrowdedPath
    from relsql.nn.graph_network import GraphNetwork
    from relsql.nn.head import Head
    from relsql.training.encoder.fit_encoder import TrainedEncoder
    from relsql.training.fitting.fit_network import FittedNetwork
    from relsql.training.path_choice import PathEvidence
    from relsql.training.validation import Lead


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The outcome of training.

    Attributes:
        name: name of the model.
        version: version of the model.
        task: name of the task.
        metrics: metrics on the validation split, of the model before `refit`.
        seconds: total wall time.
        phases: seconds by phase.
        validation_scores: scores of the validation labels by the model before `refit`, float32 [labels whose entity is
            visible at as_of], sorted by (as_of, entity); of a multiclass task the probabilities, float32 [labels,
            classes].
        network, head: the torch modules that were exported.
        splits: lines about the labels and timestamps of the training and validation splits, and why they were chosen.
        findings: what is doubtful about labels and columns, also of a version that is reused.
        lead: its lead over the best plain baseline on the validation labels; None if there is nothing to compare.
        left_out: link paths that it does not read: those beyond `max_paths`, with the evidence about them, the best
            first, and those beyond `max_hub_rows`.
        reused: True if the version existed already and nothing was trained; then `validation_scores`, `network` and
            `head` are None.
    """

    name: str
    version: int
    task: str
    metrics: dict[str, float]
    seconds: float
    phases: dict[str, float]
    validation_scores: FloatArray | None = field(default=None, compare=False, repr=False)
    network: GraphNetwork | None = field(default=None, compare=False, repr=False)
    head: Head | None = field(default=None, compare=False, repr=False)
    reused: bool = False
    left_out: tuple[PathEvidence | CrowdedPath, ...] = ()
    splits: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    lead: Lead | None = None


def train(
    con: duckdb.DuckDBPyConnection,
    task: str | Task,
    *,
    name: str,
    options: TrainOptions | None = None,
    force: bool = False,
    progress: PhaseProgress | None = None,
    allow_external: bool = False,
    label_timeout_seconds: float = LABEL_TIMEOUT_SECONDS,
) -> TrainedModel:
    """Train a model for a task of the connection's current database and make it the active version of `name`.

    If a version of `name` was already trained from the same data, task, options and code, nothing is trained: that
    version is made active and returned.

    Args:
        con: an open connection; its transaction state and settings are not changed.
        task: a question in one line, `PREDICT ... FOR EACH ...`; the name of a task in `relsql.tasks`; or a task.
        name: name of the model, and of the task if `task` is a question in one line: `dnf` gives `predict_dnf`.
        options: see `TrainOptions`.
        force: train even if such a version exists.
        progress: called with the progress of every phase.
        allow_external: let the label query read files and other databases, and call any function.
        label_timeout_seconds: stop the label query of a split after this many seconds.

    Raises:
        RelsqlError: the name, the schema, the task or the data do not allow training, see `relsql.errors`.
        KeyboardInterrupt: interrupted; nothing was changed.
    """
    options = options or TrainOptions()
    catalog = current_catalog(con)
    name = model_name(name, {model.name for model in read_models(con, catalog)})
    require_unclaimed(find_macros(con, [catalog], all_names(name)), name)
    task = task if isinstance(task, Task) else find_task(con, catalog, task, name)
    refuse_temporary_reads(con, catalog, task)
    limits = LabelLimits(allow_external, label_timeout_seconds)
    run = Run(name, task.name, progress)
    with task_cursor(con, catalog) as cursor, keyboard_interrupts():
        try:
            with run.phase("data") as metrics:
                task = task.resolved(read_schema(cursor, catalog))
                check_regime(options.regime, task)
                fingerprint = training_fingerprint(cursor, catalog, task, options)
                metrics.update(tables=fingerprint.tables, rows=fingerprint.rows)
                found = None if force else find_trained(cursor, catalog, name, fingerprint.sha256)
            if found:
                return _reuse(cursor, catalog, found, run)
            require_writable(con, catalog, "training")
            training = TrainingRun(cursor, catalog, task, name, options, limits, run, fingerprint.sha256)
            return _train_recommendation(training) if task.is_recommendation else _train_in_torch(training)
        except BaseException:
            with STORING:
                run.save_failure(cursor, catalog)
            raise


def _reuse(con: duckdb.DuckDBPyConnection, catalog: str, found: ModelRow, run: Run) -> TrainedModel:
    """Make an existing version the active one, as training would do; nothing is written if it already is."""
    if found.status != ACTIVE:
        require_writable(con, catalog, "making another version active")
        with transaction(con):
            activate(con, catalog, found.name, found.version)
    seconds = run.seconds_by_phase()
    return TrainedModel(
        found.name,
        found.version,
        found.task,
        found.metrics,
        sum(seconds.values()),
        seconds,
        reused=True,
        findings=recorded_findings(con, catalog, found.name, found.version),
    )


def _train_in_torch(training: TrainingRun) -> TrainedModel:
    """Train with torch's settings for the run; if LightGBM is missing, an error says so before any work is done."""
    from relsql.training.fitting.fit_network import torch_settings
    from relsql.training.fitting.fit_trees import load_lightgbm

    if training.options.trees:
        load_lightgbm()
    with torch_settings(training.options):
        return _train(training)


def _train(training: TrainingRun) -> TrainedModel:
    from relsql.training.encoder.fit_encoder import embed_database, prepend_zero_row, train_encoder
    from relsql.training.examples import training_examples
    from relsql.training.fitting.fit_network import train_network
    from relsql.training.validation import lead_on_validation, metric_ends

    con, catalog, options, run = training.con, training.catalog, training.options, training.run
    examples = training_examples(training)
    plan, texts, seeds = examples.plan, examples.texts, examples.seeds
    encoder = train_encoder(con, catalog, plan, options, run)
    with run.phase("embed") as metrics:
        cached, cache = embed_database(con, catalog, plan, encoder, texts.texts, run)
        # The texts that training reads come first, in the order of their ids.
        embeddings = prepend_zero_row(cache[: len(texts)])
        metrics.update(texts=len(cached))
    with run.phase("network") as metrics:
        lists = examples.sets.rows if examples.sets else None
        fitted = train_network(plan, seeds, embeddings, encoder.module.widths, options, run, examples.classes, lists)
        fitted.metrics.update(metric_ends(plan.task, fitted, seeds["val"], examples.labels["val"], examples.splits[-1]))
        lead = lead_on_validation(plan, seeds, examples.labels, fitted.validation_scores, examples.classes)
        metrics.update(fitted.metrics)
    with run.phase("export") as metrics:
        artifacts, parity = _export(fitted, encoder, cached)
        metrics.update({f"{component}_difference": value for component, value in parity.items()})

    def card_of(version: int) -> ModelCard:
        return network_card(
            training.name, version, options, plan, seeds, examples.classes, encoder, fitted, parity, artifacts
        )

    version, phases = training.store(card_of, artifacts, cached, cache)
    return TrainedModel(
        training.name,
        version,
        plan.task.name,
        fitted.metrics,
        sum(phases.values()),
        phases,
        fitted.validation_scores,
        fitted.network,
        fitted.head,
        left_out=plan.left_out,
        splits=tuple(split_lines(plan.task, examples.splits, plan.split_reasons)),
        findings=examples.findings,
        lead=lead,
    )


def _train_recommendation(training: TrainingRun) -> TrainedModel:
    """Train a recommendation, whose model consists only of the ranker in its card."""
    from relsql.training.recommendation import train_ranker

    options, run = training.options, training.run
    trained = train_ranker(training.con, training.catalog, training.task, options, training.limits, run)
    task, fitted, until = trained.task, trained.fitted, trained.task.val_timestamp
    assert until is not None

    def card_of(version: int) -> ModelCard:
        return ModelCard(
            **origin(training.name, options, version),
            task=task,
            schema=trained.schema,
            fingerprint=trained.schema.fingerprint(),
            paths=(),
            inputs={},
            encoder=EncoderCard("none", 1, 2, {}),
            channels=1,
            windows=(),
            trained_until=until,
            stale_after_days=None,
            metrics=fitted.metrics,
            parity={"ranker": fitted.parity},
            sha256={},
            ranker=fitted.ranker,
        )

    version, phases = training.store(card_of, {}, [], np.zeros((0, 1), dtype=np.float32))
    total = sum(phases.values())
    return TrainedModel(
        training.name,
        version,
        task.name,
        fitted.metrics,
        total,
        phases,
        splits=trained.splits,
        findings=trained.findings,
    )


def _export(
    fitted: FittedNetwork, encoder: TrainedEncoder, texts: list[str]
) -> tuple[dict[str, bytes], dict[str, float]]:
    from exporters.onnx.export import export_encoder, export_graph, export_head

    parity = {}
    artifacts = {"tokenizer.json": encoder.tokenizer.json.encode()}
    artifacts["encoder.onnx"], parity["encoder"] = export_encoder(
        encoder.module, encoder.tokenizer, texts, encoder.card.max_tokens
    )
    components, parity["graph"] = export_graph(fitted.network, encoder.module.dimension)
    artifacts |= components
    artifacts["head.onnx"], parity["head"] = export_head(fitted.head, fitted.network.state_width)
    return artifacts, parity
