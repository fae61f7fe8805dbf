"""The plugin for dbt-duckdb under the name that profiles use: `module: relsql.dbt`. See `relsql.integrations.dbt`."""

from __future__ import annotations

from relsql.integrations.dbt import Plugin, train

__all__ = ["Plugin", "train"]
