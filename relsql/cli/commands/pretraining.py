"""`relsql pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from relsql.cli.failures import on_interrupt
from relsql.cli.output import DatabasePath, note, number, write_json
from relsql.cli.progress import PhaseProgress
from relsql.errors import train_extra
from relsql.hints import command


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
