"""The data behind `relsql demo`: a fictional racing league whose best attainable accuracy is known."""

from __future__ import annotations

from relsql.demo.league import create_league, league_task, truth_path
from relsql.demo.truth import attainable_auc, roc_auc

__all__ = ["attainable_auc", "create_league", "league_task", "roc_auc", "truth_path"]
