"""Score the proposals of `relsql init`: `python -m benchmarks.proposals`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from benchmarks.data.problems import list_datasets
from benchmarks.proposals.score import Loader, Score, add_scores, score_schema
from benchmarks.proposals.truth import KINDS, generated_schemas, load_dataset, load_generated


@click.command()
@click.option("--confidence", default=0.8, show_default=True, help="Count proposals of at least this confidence.")
@click.option("--held-out/--no-held-out", default=True, help="Score the schemas that were held out, too.")
@click.option("--datasets/--no-datasets", default=True, help="Score the RelBench data sets, too.")
@click.option("--details", is_flag=True, help="Show what is wrong and what is missing.")
def main(confidence: float, held_out: bool, datasets: bool, details: bool) -> None:
    """Print precision and recall of the proposed keys, links and time columns as a Markdown table."""
    groups: dict[str, tuple[Loader, tuple[str, ...]]] = {
        "generated": (load_generated, generated_schemas(held_out=False)),
        "held out": (load_generated, generated_schemas(held_out=True) if held_out else ()),
        "data sets": (load_dataset, list_datasets() if datasets else ()),
    }
    click.echo("| schema | keys: precision | recall | links: precision | recall | times: precision | recall |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    faults = []
    for group, (load, names) in groups.items():
        scores = {name: score_schema(load, name, confidence) for name in names}
        total = add_scores(scores.values())
        for name, each in scores.items():
            click.echo(_line(name, each))
        if names:
            click.echo(_line(f"**all {group}**", total))
        faults += [fault for kind in KINDS for fault in _faults(kind, total[kind])]
    if details:
        click.echo("\n".join(["", *faults]))


def _line(name: str, scores: dict[str, Score]) -> str:
    cells = [name]
    for kind in KINDS:
        score = scores[kind]
        cells += [
            f"{score.precision:.2f} ({score.right}/{score.proposed})",
            f"{score.recall:.2f} ({score.found}/{score.expected})",
        ]
    return f"| {' | '.join(cells)} |"


def _faults(kind: str, score: Score) -> Iterator[str]:
    yield from (f"wrong {kind}: {text}" for text in score.wrong)
    yield from (f"missed {kind}: {text}" for text in score.missed)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.proposals")
