"""Turn a question about the future, asked of a DuckDB database, into a SQL function.

    import relsql

    con = relsql.connect("f1.duckdb")
    con.sql("SELECT driverId, predict_dnf(driverId) AS risk FROM drivers ORDER BY risk DESC LIMIT 10")

Public names are loaded when first used: `import relsql` costs little and never loads torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relsql.errors import RelsqlError
    from relsql.evaluation import Evaluation, evaluate
    from relsql.job_store import ScoreJob
    from relsql.publishing import Published, publish, selftest, unpublish
    from relsql.refreshing import Refreshed, refresh
    from relsql.schema import Link, Schema, Table, read_schema
    from relsql.score_job import score_into
    from relsql.task import Task
    from relsql.train_options import TrainOptions
    from relsql.training import TrainedModel, train
    from relsql.versions import Promotion, drop, promote
    from udfs.attach import attach, connect, detach

__version__ = "0.1.0"

_HOME = {
    "Evaluation": "relsql.evaluation",
    "Link": "relsql.schema",
    "Promotion": "relsql.versions",
    "Published": "relsql.publishing",
    "Refreshed": "relsql.refreshing",
    "RelsqlError": "relsql.errors",
    "Schema": "relsql.schema",
    "ScoreJob": "relsql.job_store",
    "Table": "relsql.schema",
    "Task": "relsql.task",
    "TrainOptions": "relsql.train_options",
    "TrainedModel": "relsql.training",
    "attach": "udfs.attach",
    "connect": "udfs.attach",
    "detach": "udfs.attach",
    "drop": "relsql.versions",
    "evaluate": "relsql.evaluation",
    "promote": "relsql.versions",
    "publish": "relsql.publishing",
    "read_schema": "relsql.schema",
    "refresh": "relsql.refreshing",
    "score_into": "relsql.score_job",
    "selftest": "relsql.publishing",
    "train": "relsql.training",
    "unpublish": "relsql.publishing",
}

__all__ = [
    "Evaluation",
    "Link",
    "Promotion",
    "Published",
    "Refreshed",
    "RelsqlError",
    "Schema",
    "ScoreJob",
    "Table",
    "Task",
    "TrainOptions",
    "TrainedModel",
    "attach",
    "connect",
    "detach",
    "drop",
    "evaluate",
    "promote",
    "publish",
    "read_schema",
    "refresh",
    "score_into",
    "selftest",
    "train",
    "unpublish",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'relsql' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
