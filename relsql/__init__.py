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
    from relsql.backtests.backtest import Backtest, backtest
    from relsql.bundles.export_model import ExportedModel, export_model
    from relsql.bundles.import_model import ImportedModel, import_model
    from relsql.errors import RelsqlError
    from relsql.evaluation.evaluate import Evaluation, evaluate
    from relsql.evaluation.leaks.leakcheck import LeakCheck, leakcheck
    from relsql.evaluation.threshold import Threshold, ThresholdCriterion, choose_threshold
    from relsql.monitoring.drift import Drift, drift
    from relsql.monitoring.outcomes import Outcomes, outcomes
    from relsql.monitoring.recalibrate import Recalibrated, recalibrate
    from relsql.publishing.publish import Published, publish, unpublish
    from relsql.publishing.selftest import selftest
    from relsql.registry.promote import Promotion, drop, promote
    from relsql.registry.score_jobs import ScoreJob
    from relsql.reports.material import ReportOptions
    from relsql.reports.model_card import Card, model_card
    from relsql.reports.report import report, schema_report
    from relsql.schema.reading import read_schema
    from relsql.schema.tables import Link, Schema, Table
    from relsql.scoring.refresh import Refreshed, refresh
    from relsql.scoring.score_table import score_into
    from relsql.shards.shard_score import ShardScores, shard_score
    from relsql.statements.sql import sql
    from relsql.tasks.task import Task
    from relsql.training.options import TrainOptions
    from relsql.training.pretraining.pretrain import PretrainOptions, pretrain
    from relsql.training.train import TrainedModel, train
    from udfs.attach import attach, connect, detach

_HOME = {
    "Backtest": "relsql.backtests.backtest",
    "Drift": "relsql.monitoring.drift",
    "Card": "relsql.reports.model_card",
    "Evaluation": "relsql.evaluation.evaluate",
    "ExportedModel": "relsql.bundles.export_model",
    "ImportedModel": "relsql.bundles.import_model",
    "LeakCheck": "relsql.evaluation.leaks.leakcheck",
    "Link": "relsql.schema.tables",
    "Outcomes": "relsql.monitoring.outcomes",
    "PretrainOptions": "relsql.training.pretraining.pretrain",
    "Promotion": "relsql.registry.promote",
    "Published": "relsql.publishing.publish",
    "Recalibrated": "relsql.monitoring.recalibrate",
    "Refreshed": "relsql.scoring.refresh",
    "RelsqlError": "relsql.errors",
    "ReportOptions": "relsql.reports.material",
    "Schema": "relsql.schema.tables",
    "ScoreJob": "relsql.registry.score_jobs",
    "ShardScores": "relsql.shards.shard_score",
    "Table": "relsql.schema.tables",
    "Task": "relsql.tasks.task",
    "Threshold": "relsql.evaluation.threshold",
    "TrainOptions": "relsql.training.options",
    "TrainedModel": "relsql.training.train",
    "ThresholdCriterion": "relsql.evaluation.threshold",
    "attach": "udfs.attach",
    "backtest": "relsql.backtests.backtest",
    "choose_threshold": "relsql.evaluation.threshold",
    "connect": "udfs.attach",
    "detach": "udfs.attach",
    "drift": "relsql.monitoring.drift",
    "drop": "relsql.registry.promote",
    "evaluate": "relsql.evaluation.evaluate",
    "export_model": "relsql.bundles.export_model",
    "import_model": "relsql.bundles.import_model",
    "leakcheck": "relsql.evaluation.leaks.leakcheck",
    "outcomes": "relsql.monitoring.outcomes",
    "model_card": "relsql.reports.model_card",
    "pretrain": "relsql.training.pretraining.pretrain",
    "promote": "relsql.registry.promote",
    "publish": "relsql.publishing.publish",
    "read_schema": "relsql.schema.reading",
    "recalibrate": "relsql.monitoring.recalibrate",
    "refresh": "relsql.scoring.refresh",
    "report": "relsql.reports.report",
    "schema_report": "relsql.reports.report",
    "score_into": "relsql.scoring.score_table",
    "selftest": "relsql.publishing.selftest",
    "shard_score": "relsql.shards.shard_score",
    "sql": "relsql.statements.sql",
    "train": "relsql.training.train",
    "unpublish": "relsql.publishing.publish",
}

__all__ = [
    "Backtest",
    "Card",
    "Drift",
    "Evaluation",
    "ExportedModel",
    "ImportedModel",
    "LeakCheck",
    "Link",
    "Outcomes",
    "PretrainOptions",
    "Promotion",
    "Published",
    "Recalibrated",
    "Refreshed",
    "RelsqlError",
    "ReportOptions",
    "Schema",
    "ScoreJob",
    "ShardScores",
    "Table",
    "Task",
    "Threshold",
    "ThresholdCriterion",
    "TrainOptions",
    "TrainedModel",
    "attach",
    "backtest",
    "choose_threshold",
    "connect",
    "detach",
    "drift",
    "drop",
    "evaluate",
    "export_model",
    "import_model",
    "leakcheck",
    "model_card",
    "outcomes",
    "pretrain",
    "promote",
    "publish",
    "read_schema",
    "recalibrate",
    "refresh",
    "report",
    "schema_report",
    "score_into",
    "selftest",
    "shard_score",
    "sql",
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
