"""The end of the head of a forecast in steps in SQL: from its hidden layer to the values of all windows."""

from __future__ import annotations

from exporters.sql.classes import mixed_outputs
from relsql.gather.sql.latest_rows import SEED
from relsql.sql_text import Cte

VALID_VALUES = "list_aggregate(raw.raw, 'max') <= 1e308 AND list_aggregate(raw.raw, 'min') >= -1e308"
"""The condition that all values are valid; DuckDB orders NaN above every number."""


def value_steps(value: str, *, trees: bool) -> list[Cte]:
    """CTEs from the hidden layer, or from `boosted` if there are trees, to the values: `raw`, column `raw`.

    `value` is an output `v` in the unit of the labels, by the columns of `constants`.
    """
    network, outputs, source = mixed_outputs(trees=trees)
    return [
        *network,
        Cte(
            "outputs",
            f"SELECT {SEED}, head.constants AS constants,\n    {outputs} AS outputs\nFROM {source}",
            "The head's outputs, one a window.",
        ),
        Cte(
            "raw",
            f"SELECT {SEED},\n    list_transform(outputs, lambda v: {value}) AS raw\nFROM outputs",
            "The value of each window, in the unit of the labels.",
        ),
    ]
