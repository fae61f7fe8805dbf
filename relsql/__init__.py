"""Turn a question about the future, asked of a DuckDB database, into a SQL function.

    import relsql

    con = relsql.connect("f1.duckdb")
    con.sql("SELECT driverId, predict_dnf(driverId) AS risk FROM drivers ORDER BY risk DESC LIMIT 10")

Public names are loaded on first use, so that `import relsql` is fast and never loads torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from relsql.version import __version__ as __version__

if TYPE_CHECKING:
    from relsql.bundles.export_model import ExportedModel, export_model
    from relsql.bundles.import_model import ImportedModel, import_model
    from relsql.errors import RelsqlError
    from relsql.evaluation.evaluate import Evaluation, evaluate
    from relsql.publishing.publish import Published, publish, selftest, unpublish
    from relsql.registry.promote import Promotion, drop, promote
    from relsql.registry.score_jobs import ScoreJob
    from relsql.reports.material import ReportOptions
    from relsql.reports.model_card import Card, model_card
    from relsql.reports.report import report, schema_report
    from relsql.schema.reading import read_schema
    from relsql.schema.tables import Link, Schema, Table
    from relsql.scoring.refresh import Refreshed, refresh
    from relsql.scoring.score_table import score_into
    from relsql.tasks.task import Task
    from relsql.training.options import TrainOptions
    from relsql.training.pretraining.pretrain import PretrainOptions, pretrain
    from relsql.training.train import TrainedModel, train
    from udfs.attach import attach, connect, detach

_HOME = {
    "Card": "relsql.reports.model_card",
    "Evaluation": "relsql.evaluation.evaluate",
    "ExportedModel": "relsql.bundles.export_model",
    "ImportedModel": "relsql.bundles.import_model",
    "Link": "relsql.schema.tables",
    "PretrainOptions": "relsql.training.pretraining.pretrain",
    "Promotion": "relsql.registry.promote",
    "Published": "relsql.publishing.publish",
    "Refreshed": "relsql.scoring.refresh",
    "RelsqlError": "relsql.errors",
    "ReportOptions": "relsql.reports.material",
    "Schema": "relsql.schema.tables",
    "ScoreJob": "relsql.registry.score_jobs",
    "Table": "relsql.schema.tables",
    "Task": "relsql.tasks.task",
    "TrainOptions": "relsql.training.options",
    "TrainedModel": "relsql.training.train",
    "attach": "udfs.attach",
    "connect": "udfs.attach",
    "detach": "udfs.attach",
    "drop": "relsql.registry.promote",
    "evaluate": "relsql.evaluation.evaluate",
    "export_model": "relsql.bundles.export_model",
    "import_model": "relsql.bundles.import_model",
    "model_card": "relsql.reports.model_card",
    "pretrain": "relsql.training.pretraining.pretrain",
    "promote": "relsql.registry.promote",
    "publish": "relsql.publishing.publish",
    "read_schema": "relsql.schema.reading",
    "refresh": "relsql.scoring.refresh",
    "report": "relsql.reports.report",
    "schema_report": "relsql.reports.report",
    "score_into": "relsql.scoring.score_table",
    "selftest": "relsql.publishing.publish",
    "train": "relsql.training.train",
    "unpublish": "relsql.publishing.publish",
}

__all__ = [
    "Card",
    "Evaluation",
    "ExportedModel",
    "ImportedModel",
    "Link",
    "PretrainOptions",
    "Promotion",
    "Published",
    "Refreshed",
    "RelsqlError",
    "ReportOptions",
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
    "export_model",
    "import_model",
    "model_card",
    "pretrain",
    "promote",
    "publish",
    "read_schema",
    "refresh",
    "report",
    "schema_report",
    "score_into",
    "selftest",
    "train",
    "unpublish",
]


_HOOKS = {"load_ipython_extension": "relsql.integrations.jupyter"}
"""Functions that other programs look for by their names."""


def __getattr__(name: str) -> Any:
    home = _HOME.get(name) or _HOOKS.get(name)
    if home is None:
        raise AttributeError(f"module 'relsql' has no attribute '{name}'")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
