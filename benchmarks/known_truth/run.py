"""Measure how much of the attainable gain over the entity's own columns relsql recovers on data with a known truth.

    python -m benchmarks.known_truth [--databases league,clinics,tickets] [--seeds 1] [--out FILE.json]

Every database is generated, a model is trained with default options, and all ROC-AUCs are taken on the test split:

    own columns   `relsql.evaluation.baseline`: gradient boosting on the entity table alone
    told: ...     linear model or gradient boosting, whichever is better on validation, on the planted features: what
                  this number of labels allows if a learner knows the right features
    relsql        the trained model, through its SQL function
    attainable    the best forecast from all rows up to as_of, given the process that generates the data
    known state   the same if the hidden states at as_of are known as well, which no model can reach

    share recovered = (relsql - own columns) / (attainable - own columns)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data.generated import DATABASES
from benchmarks.data.problems import DEFAULT_CACHE, cache_folder
from benchmarks.known_truth.measure import Outcome, measure, train_relsql
from benchmarks.known_truth.report import progress_line, table, verdict, write_json
from relsql.errors import DatabaseError, nearest


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.known_truth", description=__doc__.splitlines()[0])
    parser.add_argument("--databases", default=",".join(DATABASES), help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=1, help="number of draws of each database")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="folder for the databases")
    parser.add_argument("--references-only", action="store_true", help="train no relsql model")
    options = parser.parse_args(arguments)
    folder = cache_folder(options.cache) / "known_truth"
    outcomes: list[Outcome] = []
    for name in options.databases.split(","):
        if name not in DATABASES:
            raise DatabaseError(f"there is no generated database '{name}'", expected=nearest(name, DATABASES))
        for seed in range(1, options.seeds + 1):
            outcomes.append(measure(DATABASES[name], seed, folder, None if options.references_only else train_relsql))
            print(progress_line(outcomes[-1]), file=sys.stderr)
    print("\n".join(filter(None, (table(outcomes), "", verdict(outcomes)))))
    if options.out:
        write_json(options.out, outcomes)
