"""The command line: `relsql COMMAND`. Results go to stdout, everything else to stderr.

Each module contains a few commands, which call the Python API. At the top, modules import only click, so that
`relsql --help` is fast; a command imports what it needs when it runs, and only commands that train import torch.
"""

from __future__ import annotations

import os

import click

from relsql.cli.commands.bundles import export_command
from relsql.cli.commands.database import import_command, inspect_command
from relsql.cli.commands.demo import demo_command
from relsql.cli.commands.init import init_command
from relsql.cli.commands.prompts.query import sql_command
from relsql.cli.commands.prompts.serving import serve_command
from relsql.cli.commands.prompts.shell import shell_command
from relsql.cli.commands.publishing import publish_command, selftest_command, unpublish_command
from relsql.cli.commands.refreshing import refresh_command
from relsql.cli.commands.scoring import evaluate_command, score_command
from relsql.cli.commands.sharding import shard_score_command
from relsql.cli.commands.spark import spark_score_command
from relsql.cli.commands.task import task_command
from relsql.cli.commands.training import pretrain_command, train_command
from relsql.cli.commands.trust.backtest import backtest_command
from relsql.cli.commands.trust.explaining import explain_command, importance_command
from relsql.cli.commands.trust.leakcheck import leakcheck_command
from relsql.cli.commands.trust.monitoring import drift_command, outcomes_command
from relsql.cli.commands.trust.reporting import card_command, report_command
from relsql.cli.commands.trust.threshold import threshold_command
from relsql.cli.commands.versions import drop_command, models_command, promote_command
from relsql.cli.failures import reported
from relsql.version import __version__

__all__ = ["cli", "main"]


class _Group(click.Group):
    """A group that lists its commands in the order in which they are used, and reports errors on one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Python decodes bytes that are not valid UTF-8 to lone surrogates, which DuckDB does not accept.
        for argument in args:
            if any("\ud800" <= character <= "\udfff" for character in argument):
                raise click.UsageError(f"the argument {argument!r} is not valid UTF-8.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        with reported(ctx):
            return super().invoke(ctx)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relsql")
def cli() -> None:
    """Turn a question about the future, asked of a DuckDB database, into a SQL function.

    Results go to stdout; progress, notes and errors to stderr. The exit code is 0 on success, 1 on an error, 2 on a
    wrong command line and 130 after Ctrl-C.
    """


for _command in (
    demo_command,
    init_command,
    import_command,
    inspect_command,
    task_command,
    pretrain_command,
    train_command,
    evaluate_command,
    backtest_command,
    leakcheck_command,
    refresh_command,
    score_command,
    explain_command,
    importance_command,
    threshold_command,
    outcomes_command,
    drift_command,
    card_command,
    report_command,
    sql_command,
    shell_command,
    serve_command,
    models_command,
    promote_command,
    drop_command,
    export_command,
    shard_score_command,
    spark_score_command,
    publish_command,
    unpublish_command,
    selftest_command,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line of this process."""
    # Let idle torch threads sleep instead of spin: if the cores also do other work, spinning makes training several
    # times slower, and on idle cores it gains little.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cli(prog_name="relsql")
