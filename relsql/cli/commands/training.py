"""`relsql train` and `relsql pretrain`."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relsql.cli.failures import on_interrupt
from relsql.cli.label_options import label_options, open_for_labels
from relsql.cli.output import DatabasePath, note, note_findings, number, write_json
from relsql.cli.progress import PhaseProgress
from relsql.errors import RelsqlError, train_extra
from relsql.hints import command
from relsql.tasks.regime import REGIMES

MOST_CHECKED_ROWS = 1_000_000
"""The quick leak check after training copies the rows into memory, which takes too long for more rows than this."""

if TYPE_CHECKING:
    import duckdb

    from relsql.tasks.labels.label_sandbox import LabelLimits
    from relsql.tasks.task import Task
    from relsql.training.options import TrainOptions
    from relsql.training.train import TrainedModel


@click.command("train", short_help="Train a model and make it callable in SQL.")
@click.argument("file", type=DatabasePath())
@click.argument("task")
@click.option("--name", required=True, help="Name of the model: NAME dnf gives the SQL function predict_dnf.")
@click.option("--seed", type=int, help="Seed of all randomness.")
@click.option("--encoder", metavar="NAME_OR_PATH", help="Row encoder: compact, or a BART by path or hub name.")
@click.option("--encoder-steps", type=click.IntRange(min=0), help="Steps of the row encoder. Default: by its texts.")
@click.option("--pretrained", metavar="FOLDER", help="Start from weights that relsql pretrain wrote.")
@click.option("--epochs", type=click.IntRange(min=1), help="Maximum number of passes over the training labels.")
@click.option("--fanout", type=click.IntRange(min=1), help="Maximum number of rows read along each link path.")
@click.option("--max-paths", type=click.IntRange(min=1), help="Maximum number of link paths read. Default: 12.")
@click.option("--max-hub-rows", type=click.IntRange(min=0), help="Paths whose hubs have more rows are not read.")
@click.option("--event-hubs", is_flag=True, default=None, help="Also read the rest of the last events of an entity.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Learning rate of the network.")
@click.option("--channels", type=click.IntRange(min=1), help="Width of the network.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Training labels per step.")
@click.option("--regime", type=click.Choice(REGIMES), help="Data up to as_of (default), or data that ended before.")
@click.option("--density", type=click.IntRange(min=1), help="Training timestamps per horizon.")
@click.option("--refit/--no-refit", default=None, help="Finally train on validation labels too (default).")
@click.option("--trees/--no-trees", default=None, help="Mix in boosted trees (default), or the network alone.")
@click.option(
    "--coverage",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    help="Share of labels that intervals of scores are made for. Default: 0.9.",
)
@click.option("--read-scores", is_flag=True, default=None, help="Also read what models wrote into the tables.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads to use.")
@click.option("--force", is_flag=True, help="Train even if the same model was already trained.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@label_options
def train_command(
    file: Path,
    task: str,
    name: str,
    force: bool,
    as_json: bool,
    allow_external: bool,
    label_timeout: float,
    memory_limit: str | None,
    **options: Any,
) -> None:
    """Train a model on TASK and make it callable in SQL.

    TASK is the name of a task in FILE, the path of a task manifest (.yaml), or a question in one line, docs/tasks.md.
    What is printed at the end is name, version, metrics on the validation split.

    If a version of the model was already trained from the same data, task, options and code, it is made active and
    nothing is trained.

    \b
    relsql train f1.duckdb driver-dnf --name dnf
    relsql train shop.duckdb "PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.customer_id" --name churn
    """  # noqa: D301
    from relsql.database.names import current_catalog
    from relsql.tasks.labels.label_sandbox import LabelLimits
    from relsql.training.options import TrainOptions

    chosen = TrainOptions(**{key: value for key, value in options.items() if value is not None})
    with closing(open_for_labels(file, allow_external=allow_external, memory_limit=memory_limit)) as con:
        catalog = current_catalog(con)
        definition = resolve_task(con, catalog, task, name)
        limits = LabelLimits(allow_external, label_timeout)
        model = train_with_progress(con, definition, name, chosen, force=force, limits=limits)
        functions = attached_functions(con, model.name)
        example = example_line(con, catalog, definition, model.name, file)
        if not model.reused:
            _check_quickly(con, catalog, model, limits)
    note(f"functions: {', '.join(functions)}")
    note(f"try: {example}")
    if as_json:
        write_json(model_fields(model) | {"functions": functions})
    else:
        metrics = (f"{key}={number(value)}" for key, value in model.metrics.items())
        click.echo("\t".join([model.name, str(model.version), *metrics]))


def _check_quickly(con: duckdb.DuckDBPyConnection, catalog: str, model: TrainedModel, limits: LabelLimits) -> None:
    """Print what the quick form of `relsql leakcheck` finds, unless the database is too large for it."""
    import duckdb

    from relsql.evaluation.leaks.leakcheck import leakcheck
    from relsql.registry.models import active_card

    full = command("leakcheck", "FILE", model.name)
    task = active_card(con, catalog, model.name, recommendations=True).task
    if task.asked.own_time or task.is_recommendation:
        return
    query = "SELECT coalesce(sum(estimated_size), 0)::BIGINT FROM system.main.duckdb_tables() WHERE database_name = ?"
    [(rows,)] = con.execute(query, [catalog]).fetchall()
    if rows > MOST_CHECKED_ROWS:
        note(f"not checked for leaks, because that would copy {rows:,} rows; {full} does")
        return
    external, seconds = limits.allow_external, limits.timeout_seconds
    try:
        found = leakcheck(con, model.name, quick=True, allow_external=external, label_timeout_seconds=seconds)
    except (RelsqlError, duckdb.Error) as error:
        # The model is already stored, so the command must not fail because the check does, for example for lack of
        # memory.
        note(f"not checked for leaks: {str(error).splitlines()[0]}; {full} tries again")
        return
    for row in found.rows:
        if row.verdict != "ok":
            note(f"{row.verdict}: {row.table}({row.column or 'all columns'}): {row.advice}")
    outcome = "nothing leaks" if found.clean else "there is a leak"
    note(f"quick leak check at {', '.join(found.moments)}: {outcome}; {full} looks at more")


@click.command("pretrain", short_help="Pre-train weights on several databases.")
@click.argument("files", type=DatabasePath(), nargs=-1, required=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder for the weights.")
@click.option("--overwrite", is_flag=True, help="Replace the weights if the folder exists.")
@click.option("--seed", type=int, help="Seed of all randomness.")
@click.option("--encoder-steps", type=click.IntRange(min=0), help="Steps of the row encoder. Default: 600.")
@click.option("--steps", type=click.IntRange(min=0), help="Steps of the graph network. Default: 1000.")
@click.option("--channels", type=click.IntRange(min=1), help="Width of the graph network, also when training from it.")
@click.option("--fanout", type=click.IntRange(min=1), help="Maximum number of rows read along each link path.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads to use.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest of the weights as JSON.")
def pretrain_command(files: tuple[Path, ...], output: Path, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Pre-train row encoder and graph network on FILES, for `relsql train --pretrained`.

    The row encoder learns to fill gaps in row texts, the graph network learns to predict the numbers of a row from the
    rows around it. No task is needed. FILES are opened read-only. All their rows are read, also those after the
    test timestamps of tasks: leave out a database whose tasks you want to measure.

    \b
    relsql pretrain shop.duckdb clinic.duckdb --output weights
    relsql train f1.duckdb driver-dnf --name dnf --pretrained weights
    """  # noqa: D301
    on_interrupt("no weights were written; run the command again to start over")
    with PhaseProgress() as progress, train_extra("pre-training"):
        from relsql.training.pretraining.pretrain import PretrainOptions, pretrain

        chosen = PretrainOptions(**{key: value for key, value in options.items() if value is not None})
        manifest = pretrain(files, output, options=chosen, overwrite=overwrite, progress=progress)
    on_interrupt("the weights were written")
    note(f"try: {command('train', 'OTHER.duckdb', 'TASK', '--name', 'NAME', '--pretrained', output)}")
    if as_json:
        write_json(manifest)
    else:
        losses = (f"{key}={number(value)}" for key, value in manifest.metrics.items())
        click.echo("\t".join([str(output), manifest.digest[:12], *losses]))


def resolve_task(con: duckdb.DuckDBPyConnection, catalog: str, text: str, name: str) -> Task:
    """Read a task from a manifest if `text` looks like a path, from a line, or from the database.

    Args:
        con: an open connection.
        catalog: name of the database.
        text: a path that ends with .yaml or .yml, a line PREDICT ... FOR EACH ..., or the name of a task.
        name: what the task of a line is called.

    Raises:
        TaskError: there is no such task, or the manifest or line is invalid.
    """
    from relsql.tasks.stored_tasks import find_task, read_tasks
    from relsql.tasks.task import Task

    is_path = text.lower().endswith((".yaml", ".yml")) and text not in read_tasks(con, catalog)
    return Task.from_manifest(Path(text)) if is_path else find_task(con, catalog, text, name)


def train_with_progress(
    con: duckdb.DuckDBPyConnection,
    task: Task,
    name: str,
    options: TrainOptions | None = None,
    *,
    force: bool = False,
    limits: LabelLimits | None = None,
) -> TrainedModel:
    """Train a model, or reuse one that was already trained, with progress and a summary on stderr.

    Raises:
        MissingExtraError: a training library is not installed.
    """
    from relsql.tasks.labels.label_sandbox import LabelLimits
    from relsql.training.train import train

    limits = limits or LabelLimits()
    on_interrupt("no model was written; run the command again to start over")
    with PhaseProgress() as progress, train_extra("training"):
        model = train(
            con,
            task,
            name=name,
            options=options,
            force=force,
            progress=progress,
            allow_external=limits.allow_external,
            label_timeout_seconds=limits.timeout_seconds,
        )
    on_interrupt("the model was written")
    if model.reused:
        note_findings(model.findings)
        note(f"already trained: model {model.name} version {model.version} on {model.task}; --force trains it again")
        return model
    for line in model.splits:
        note(line)
    note_findings(model.findings)
    for path in model.left_out:
        note(f"left out, beyond {path.beyond}: {path}")
    note(f"trained model {model.name} version {model.version} on {model.task} in {model.seconds:.0f} s")
    if model.lead:
        note(str(model.lead))
    return model


def attached_functions(con: duckdb.DuckDBPyConnection, name: str) -> tuple[str, ...]:
    """Attach one model and return its SQL functions."""
    from udfs.attach import attach

    return attach(con, models=[name])


def example_line(con: duckdb.DuckDBPyConnection, catalog: str, task: Task, name: str, file: Path) -> str:
    """A shell command that lists the entities with the highest scores."""
    from relsql.database.names import DEFAULT_SCHEMA
    from relsql.registry.function_names import batch_name, predict_name
    from relsql.schema.reading import read_schema
    from relsql.tasks.entity import entity_table

    table = entity_table(read_schema(con, catalog), task)
    if table.values_of or task.is_recommendation:
        # No table lists the values of a column, and items are ranked faster for all entities at once than one by one.
        query = f"FROM {_plain(con, batch_name(name))}()"
    else:
        key = ", ".join(_plain(con, name) for name in table.primary_key)
        source = _plain(con, table.name)
        if table.schema_name != DEFAULT_SCHEMA:
            source = f"{_plain(con, table.schema_name)}.{source}"
        query = f"SELECT {key}, {_plain(con, predict_name(name))}({key}) AS score FROM {source}"
    # Classes have no order, so the likeliest class of some entities is shown.
    query += " LIMIT 10" if task.has_classes or task.is_recommendation else " ORDER BY score DESC LIMIT 10"
    quoted = shlex.quote(query) if set(query) & set('"$`\\!') else f'"{query}"'
    return f"{command('sql', file)} {quoted}"


def _plain(con: duckdb.DuckDBPyConnection, name: str) -> str:
    """An identifier, quoted only if SQL needs it."""
    from relsql.sql_text import ident

    query = """SELECT system.main.count_star() FROM system.main.duckdb_keywords()
               WHERE keyword_name = ? AND keyword_category <> 'unreserved'"""
    row = con.execute(query, [name]).fetchall()[0]
    plain = name.isascii() and name.isidentifier() and name == name.lower() and row == (0,)
    return name if plain else ident(name)


def model_fields(model: TrainedModel) -> dict[str, object]:
    """A trained model as the JSON object that `relsql train --json` prints."""
    return {
        "name": model.name,
        "version": model.version,
        "task": model.task,
        "metrics": model.metrics,
        "reused": model.reused,
        "left_out": list(map(str, model.left_out)),
        "splits": list(model.splits),
        "findings": list(model.findings),
        "lead": asdict(model.lead) if model.lead else None,
        "seconds": round(model.seconds, 3),
        "phases": {phase: round(seconds, 3) for phase, seconds in model.phases.items()},
    }
