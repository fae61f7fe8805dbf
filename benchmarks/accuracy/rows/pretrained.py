"""relsql started from pre-trained weights, leaving one database out: never the one that is measured.

The weights are pre-trained on the other data sets and on the generated databases. They are kept in the cache folder as
long as the code that makes them is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.accuracy.build import current_build
from benchmarks.accuracy.rows import DEFAULT, Scores
from benchmarks.accuracy.rows.default import Default
from benchmarks.data.generated import DATABASES
from benchmarks.data.problems import Problem, database_file, list_datasets
from relsql.training.options import TrainOptions
from relsql.training.pretraining.pretrain import PretrainOptions, pretrain


@dataclass(frozen=True)
class Pretrained:
    """The default, started from weights of other databases."""

    name: str = "relsql, pre-trained"
    options: TrainOptions = field(default_factory=TrainOptions)
    pretraining: PretrainOptions = field(default_factory=PretrainOptions)

    def scores(self, problem: Problem, seed: int) -> Scores:
        """See `Default`."""
        weights = weights_without(problem.dataset, problem.path.parent, self.pretraining)
        return Default(self.name, replace(self.options, pretrained=str(weights))).scores(problem, seed)


def weights_without(dataset: str, cache: Path, options: PretrainOptions) -> Path:
    """A folder of weights that were pre-trained on all databases but one.

    Args:
        dataset: the data set that is left out.
        cache: the folder with the imported data sets.
        options: options of the run.
    """
    output = cache / f"pretrained-without-{dataset}-{current_build(DEFAULT).code}"
    if not output.exists():
        files = [database_file(other, cache) for other in list_datasets() if other != dataset]
        pretrain([*files, *_generated(cache)], output, options=options)
    return output


def _generated(cache: Path) -> list[Path]:
    """The generated databases, written if they are not there yet."""
    files = {cache / f"{name}.duckdb": database for name, database in DATABASES.items()}
    for path, database in files.items():
        if not path.exists():
            database.create(path, 0)
    return list(files)
