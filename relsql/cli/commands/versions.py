"""`relsql models`, `relsql promote` and `relsql drop`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.output import DatabasePath, can_ask, note, number, write_json, write_table
from relsql.hints import command

if TYPE_CHECKING:
    from relsql.registry.versions import ModelRow


@click.command("models", short_help="List the models of a file.")
@click.argument("file", type=DatabasePath())
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all metrics.")
def models_command(file: Path, as_json: bool) -> None:
    """List all versions of the models of FILE; `predict_NAME` calls the active one."""
    from relsql.database.connections import foreign_database
    from relsql.registry.models import find_damage, read_models

    with foreign_database(file) as (con, catalog):
        models = read_models(con, catalog)
        damage = find_damage(con, catalog, models)
    if as_json:
        write_json(models)
        return
    write_table(("model", "version", "status", "task", "target", "metric", "created"), map(_cells, models), right=(1,))
    for problem in damage:
        note(problem)
    if not models:
        note(f"no models yet: {command('train', file, 'TASK', '--name', 'NAME')}")


def _cells(model: ModelRow) -> tuple[str, ...]:
    created = f"{model.created:%Y-%m-%d %H:%M}" if model.created else "?"
    return model.name, str(model.version), model.status, model.task, model.target, _metric(model.metrics), created


def _metric(metrics: dict[str, float]) -> str:
    from relsql.registry.versions import main_metric

    name = main_metric(metrics)
    return f"{name} {number(metrics[name])}" if name else "-"


@click.command("promote", short_help="Make a version of a model the active one.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def promote_command(file: Path, model: str, version: str, as_json: bool) -> None:
    """Make VERSION of MODEL the one that `predict_MODEL` calls.

    VERSION is a number, `previous` for the version that was active before, or `best` for the one with the best
    validation metric among the versions that were validated on the same labels as the active one. The result is one
    line: name, version, metric.

    \b
    relsql promote f1.duckdb dnf 2
    relsql promote f1.duckdb dnf previous
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.registry.promote import promote

    with closing(open_database(file)) as con:
        done = promote(con, model, version)
    model = done.name
    if done.comparison:
        note(str(done.comparison))
    if done.version == done.replaced:
        note(f"version {done.version} of model {model} is active already")
    else:
        was = f", was version {done.replaced}" if done.replaced else ""
        note(f"version {done.version} of model {model} is active now{was}")
        note(f"to store row embeddings that it lacks: {command('refresh', file, model)}")
    if done.published not in (None, done.version):
        note(f"plain SQL still scores with version {done.published}: {command('publish', file, model)}")
    if as_json:
        write_json(done)
    else:
        click.echo("\t".join([model, str(done.version), _metric(done.metrics).replace(" ", "=")]))


@click.command("drop", short_help="Remove a version of a model, or a model.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--all", "all_versions", is_flag=True, help="Drop MODEL with all its versions.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop_command(file: Path, model: str, all_versions: bool, yes: bool) -> None:
    """Remove a version of MODEL that is not active, or with --all all versions of MODEL.

    The artefacts and row embeddings are removed too; tables of scores and records of training runs are kept.

    \b
    relsql drop f1.duckdb dnf@1
    relsql drop f1.duckdb dnf --all
    """  # noqa: D301
    from relsql.database.connections import open_database
    from relsql.database.names import current_catalog
    from relsql.registry.promote import drop, versions_to_drop

    with closing(open_database(file)) as con:
        doomed = versions_to_drop(con, current_catalog(con), model, all_versions=all_versions)
        what = ", ".join(f"{version.name}@{version.version}" for version in doomed)
        if not yes and not can_ask():
            raise click.UsageError(f"{what} would be dropped permanently; without a terminal, add --yes.")
        if not yes and not click.confirm(f"Drop {what} permanently?", err=True):
            note("nothing was dropped")
            return
        drop(con, model, all_versions=all_versions)
    note(f"dropped: {what}")
