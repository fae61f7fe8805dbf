"""`relsql threshold`."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.label_options import label_options, open_for_labels
from relsql.cli.output import DatabasePath, note, number, write_json, write_table
from relsql.errors import train_extra
from relsql.hints import command

if TYPE_CHECKING:
    from relsql.evaluation.threshold import Threshold
    from relsql.tasks.splits import Split


def _share(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """A share: `.05` or `5%`."""
    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise click.BadParameter(f"{text!r} is not a share, such as 0.05 or 5%.")
    return share


@click.command("threshold", short_help="Choose the probability at which the answer is yes.")
@click.argument("file", type=DatabasePath())
@click.argument("model")
@click.option("--cost-fp", type=click.FloatRange(min=0), help="Cost of a false alarm; with --cost-fn.")
@click.option("--cost-fn", type=click.FloatRange(min=0), help="Cost of a case that is missed; with --cost-fp.")
@click.option("--precision", metavar="SHARE", callback=_share, help="Share of alarms that have to be right.")
@click.option("--top", metavar="SHARE", callback=_share, help="Share of the entities to act on: 5%.")
@click.option("--at", metavar="SHARE", callback=_share, help="The threshold itself.")
@click.option("--split", type=click.Choice(["val", "test", "train"]), default="val", show_default=True, help="Labels.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@label_options
def threshold_command(
    file: Path,
    model: str,
    cost_fp: float | None,
    cost_fn: float | None,
    precision: float | None,
    top: float | None,
    at: float | None,
    split: Split,
    as_json: bool,
    allow_external: bool,
    label_timeout: float,
    memory_limit: str | None,
) -> None:
    """Choose the probability at which the answer of MODEL becomes yes, on labels, and store it with the version.

    Say what mistakes cost, how precise alarms have to be, how many entities can be acted on, or the threshold itself.
    Afterwards predict_MODEL_full(id).label is true at or above the threshold, and counterfactuals cross it. The table
    has tenths of the labels, those with the highest scores first.

    \b
    relsql threshold f1.duckdb dnf --cost-fp 1 --cost-fn 20
    relsql threshold f1.duckdb dnf --precision .8
    relsql threshold f1.duckdb dnf --top 5%
    """  # noqa: D301
    if (cost_fp is None) != (cost_fn is None):
        raise click.UsageError("--cost-fp and --cost-fn belong together.")
    costs = None if cost_fp is None or cost_fn is None else (cost_fp, cost_fn)
    if sum(criterion is not None for criterion in (costs, precision, top, at)) != 1:
        raise click.UsageError("Give --cost-fp and --cost-fn, or one of --precision, --top and --at.")
    opened = open_for_labels(file, allow_external=allow_external, memory_limit=memory_limit)
    with train_extra("a threshold"), closing(opened) as con:
        from relsql.evaluation.threshold import ThresholdCriterion, choose_threshold

        criterion = ThresholdCriterion(costs, precision, top, at)
        found = choose_threshold(
            con, model, criterion, split, allow_external=allow_external, label_timeout_seconds=label_timeout
        )
    if as_json:
        write_json(dataclasses.asdict(found))
        return
    _write(found)


def _write(found: Threshold) -> None:
    rows = [
        (
            f"{nth} of {len(found.groups)}",
            " .. ".join(map(number, group.scores)),
            f"{group.labels:,}",
            f"{group.positives:,}",
            number(group.lift),
            f"{group.gain:.1%}",
        )
        for nth, group in enumerate(found.groups, start=1)
    ]
    write_table(("group", "scores", "labels", "positive", "lift", "found so far"), rows, right=(2, 3, 4, 5))
    note(
        f"{found.model}@{found.version} answers yes at or above {number(found.threshold)}: on {found.split} "
        f"{found.hits:,} of {found.hits + found.missed:,} positive labels ({found.recall:.1%}), and "
        f"{found.false_alarms:,} false alarms ({found.precision:.1%} of the alarms are right)"
    )
    note(f"a published model gets it from: {command('publish', 'FILE', found.model)}")
