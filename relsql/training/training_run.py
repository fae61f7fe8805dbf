"""What a training run works with, and how it stores the trained version.

There is a run only if no version with the same fingerprint exists, or if training is forced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from relsql.database.connections import transaction
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import STORING, next_version, save_model
from relsql.registry.runs import Run
from relsql.tasks.labels.label_sandbox import LabelLimits
from relsql.tasks.task import Task
from relsql.training.fingerprint import training_fingerprint
from relsql.training.options import TrainOptions
from relsql.typing import FloatArray


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What is trained, from what, and how.

    Attributes:
        con: a cursor on the database, for this run alone.
        catalog: the database.
        task: the task.
        name: the name of the model.
        options: the options of training.
        limits: what the label query may do.
        run: the record of the run, with its phases.
        fingerprint: the fingerprint of data, task, options and code when the run began.
    """

    con: duckdb.DuckDBPyConnection
    catalog: str
    task: Task
    name: str
    options: TrainOptions
    limits: LabelLimits
    run: Run
    fingerprint: str

    def store(
        self,
        card_of: Callable[[int], ModelCard],
        artifacts: dict[str, bytes],
        texts: list[str],
        embeddings: FloatArray,
    ) -> tuple[int, dict[str, float]]:
        """Write a version in one transaction; `card_of` returns its card for its number.

        Returns:
            The version's number, and seconds by phase.
        """
        con, catalog, run = self.con, self.catalog, self.run
        with run.phase("store"), STORING:
            version = run.version = next_version(con, catalog, self.name)
            card = card_of(version)
            # If rows were changed meanwhile, the model may or may not include them, so it must not be reused.
            now = training_fingerprint(con, catalog, self.task, self.options).sha256
            with transaction(con):
                same = now if now == self.fingerprint else None
                save_model(con, catalog, card, artifacts, texts, embeddings, trained_from=same)
                run.save(con, catalog)
        return version, run.seconds_by_phase()
