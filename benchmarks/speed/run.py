"""Measure the speed of scoring, and compare it with the joins that it needs: `python -m benchmarks.speed`.

Every figure is measured in a separate process. Ratios are taken within one run; run it on an idle machine.

    gather             the gather query alone, which computes all arguments of the score function
    onnxruntime        the ONNX components alone, on prepared tensors, on one thread
    network            the score function alone, on rows gathered before, on one thread
    batch              SELECT ... FROM predict_churn_batch(as_of := ...), one as_of for all
    score into         relsql score --into: all entities into a table, in chunks of 250,000
    own as_of          SELECT predict_churn(id, as_of := ...), a different as_of per row; 250,000 customers a statement
    hundred, one       the same call for 100 entities, and for one
    one by index       one entity, with an index on every foreign key
    attach             opening the model's file and attaching: cold is the first time in a process, warm the next ones
    query in function  a Python function over ids that runs its own query to gather their rows
    torch loop         tables to pandas, a HeteroData, a loop over batches of 512 entities in torch, same weights, on
                       one torch thread

On rel-f1, if its data are available: all drivers, by the scalar function and as a batch; one driver; the gather query
for every (driver, date of a race); attach.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import click

from benchmarks.data.problems import DEFAULT_CACHE, cache_folder, list_datasets
from benchmarks.data.shop import CHURN, VARIANTS, Size, create
from benchmarks.speed.formula1 import DATASET, measure_formula1
from benchmarks.speed.report import Measured, plot, table, target_lines, targets, threads_table, write_json
from benchmarks.speed.rows import rows
from benchmarks.speed.shop_model import MODEL
from benchmarks.speed.timing import timed
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.errors import DatabaseError
from relsql.registry.models import read_models
from relsql.training.options import TrainOptions

TRAINED_ON = 10_000
DATABASES = (*VARIANTS, DATASET)


def measure(model: Path, folder: Path, size: Size, threads: Sequence[int], repeats: int) -> Iterator[Measured]:
    """All rows of one generated database, with each number of threads."""
    data = folder / size.file_name
    create(data, size)
    for count in threads:
        for name, row in rows(size).items():
            often = max(1, round(repeats * row.share))
            timing = timed(row.prepare, model, data, count, *row.arguments, repeats=often)
            yield Measured(size.variant, size.customers, count, name, timing)


def train_model(folder: Path, size: Size, options: TrainOptions | None = None) -> Path:
    """The file with the model of a variant, trained on a database of `size`; its torch weights are in the same folder.

    An existing model is reused.
    """
    # Imported here, so that the timed processes do not load torch.
    from benchmarks.speed.torch_loop import Modules, save_modules, weights_file
    from relsql.training.train import train

    path = folder / f"model-{size.file_name}"
    create(path, size)
    with closing(open_database(path)) as con:
        if not weights_file(path).exists() or not read_models(con, current_catalog(con)):
            trained = train(con, CHURN.name, name=MODEL, options=options, force=True)
            assert trained.network and trained.head
            save_modules(weights_file(path), Modules(trained.network, trained.head))
    return path


def measure_all(
    folder: Path, variants: Sequence[str], sizes: Sequence[int], threads: Sequence[int], repeats: int
) -> Iterator[Measured]:
    """All rows of all databases."""
    for variant in variants:
        if variant == DATASET:
            yield from measure_formula1(folder, threads, repeats)
            continue
        model = train_model(folder, Size(TRAINED_ON, variant))
        for customers in sizes:
            yield from measure(model, folder, Size(customers, variant), threads, repeats)


def has_formula1() -> bool:
    """True if the data of rel-f1 are available."""
    try:
        return DATASET in list_datasets()
    except DatabaseError:
        return False


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--sizes", default="10000,100000,1000000", help="Numbers of customers, with commas between.")
@click.option("--variants", help=f"{', '.join(DATABASES)}; with commas between. Default: all there are.")
@click.option("--threads", default="2", help="DuckDB threads; several numbers with commas between are compared.")
@click.option(
    "--repeats", default=5, type=click.IntRange(min=1), help="Warm runs, fewer of what is slow; the median counts."
)
@click.option("--out", default=DEFAULT_CACHE / "speed.json", type=click.Path(path_type=Path), help="Results file.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Draw cost per entity: docs/speed.svg.")
@click.option("--cache", default=DEFAULT_CACHE, type=click.Path(path_type=Path), help="Folder of the databases.")
def main(
    sizes: str, variants: str | None, threads: str, repeats: int, out: Path, plot_file: Path | None, cache: Path
) -> None:
    """Time scoring, print ratios and targets, and store the figures."""
    chosen = variants.split(",") if variants else [v for v in DATABASES if v != DATASET or has_formula1()]
    for variant in chosen:
        if variant not in DATABASES:
            raise click.BadParameter(f"there is no '{variant}', only {', '.join(DATABASES)}", param_hint="--variants")
    customers, counts = numbers(sizes, "--sizes"), numbers(threads, "--threads")
    results = []
    for measured in measure_all(cache_folder(cache) / "speed", chosen, customers, counts, repeats):
        results.append(measured)
        timing = f"{measured.timing.warm_seconds:.4f} s"
        print(f"{measured.database}, {measured.threads} threads, {measured.row}: {timing}", file=sys.stderr)
        write_json(out, results)
    parts = [table(results), threads_table(results), target_lines(targets(results))]
    click.echo("\n\n".join(part for part in parts if part))
    if plot_file:
        plot(plot_file, results)


def numbers(text: str, option: str) -> list[int]:
    """Numbers separated by commas, in ascending order."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise click.BadParameter(f"'{text}' is not a list of numbers", param_hint=option) from error
    if found[0] < 1:
        raise click.BadParameter(f"{found[0]} is not positive", param_hint=option)
    return found
