"""The end of a head with classes in SQL: from its hidden layer to the probabilities of all classes.

Classes, their outputs and shares are columns of the weights, so the length of the SQL does not depend on their number.
"""

from __future__ import annotations

from exporters.sql.layers import element_sql, linear_sql
from relsql.gather.sql.latest_rows import SEED
from relsql.sql_text import Cte
from relsql.tasks.kinds.classes import Classes


def boosted_sql(paired: str) -> str:
    """The query of the CTE `boosted`: the sum of all trees for each output; `paired` is the product of each pair."""
    output = {name: element_sql("o", i) for i, name in enumerate(("constant", "shares", "pairs"), start=1)}
    weights = "list_zip(head.tree_constants, head.share_weights, head.pair_weights)"
    total = (
        f"{output['constant']} + list_inner_product(shares, {output['shares']})"
        f" + coalesce(list_inner_product(paired, {output['pairs']}), 0)"
    )
    return (
        f"SELECT * EXCLUDE (shares, paired),\n    list_transform({weights}, lambda o: {total}) AS boosted\n"
        f"FROM (\n    SELECT *, {paired} AS paired\n    FROM shares\n)"
    )


def label_steps() -> list[Cte]:
    """CTEs from the hidden layer to the probabilities of a multilabel task: `raw`, column `raw`."""
    output = element_sql("outputs", element_sql("c", 1))
    of_class = f"{element_sql('c', 2)} / (1 + exp(-{output} / temperature))"
    return [
        Cte(
            "outputs",
            f"SELECT {SEED}, head, head.constants.temperature AS temperature,\n"
            f"    {linear_sql('head.out', 'hidden')} AS outputs\nFROM hidden",
            "The head's outputs, before calibration.",
        ),
        Cte(
            "raw",
            f"SELECT {SEED}, head.classes AS classes, head.class_threshold AS thresholds,\n"
            f"    list_transform(list_zip(head.class_output, head.class_share), lambda c: {of_class}) AS raw\n"
            "FROM outputs",
            "The probability of each class: its share of the probability of its output.",
        ),
    ]


def mixed_outputs(*, trees: bool) -> tuple[list[Cte], str, str]:
    """All outputs of a head as an expression, the CTE that it reads, and the CTEs before: mixed with trees, if any."""
    linear = linear_sql("head.out", "hidden")
    if not trees:
        return [], linear, "hidden"
    network, boosted = element_sql("o", 1), element_sql("o", 2)
    mixed = f"{network} + tree_share * ({boosted} - {network})"
    first = f"SELECT *, head.constants.tree_share AS tree_share,\n    {linear} AS network\nFROM boosted"
    outputs = f"list_transform(list_zip(network, boosted), lambda o: {mixed})"
    return [Cte("network", first, "The network's outputs.")], outputs, "network"


def raw_steps(*, trees: bool) -> list[Cte]:
    """CTEs from the hidden layer, or from `boosted` if there are trees, to the probabilities: `raw`, column `raw`."""
    network, outputs, source = mixed_outputs(trees=trees)
    power = "exp((v - largest) / temperature)"
    class_output, share = element_sql("c", 1), element_sql("c", 2)
    of_class = f"{element_sql('powers', class_output)} / total * {share}"
    return [
        *network,
        Cte(
            "outputs",
            f"SELECT {SEED}, head, head.constants.temperature AS temperature,\n    {outputs} AS outputs\nFROM {source}",
            "The head's outputs, before calibration.",
        ),
        Cte(
            "powers",
            f"SELECT *, list_transform(outputs, lambda v: {power}) AS powers\n"
            "FROM (\n    SELECT *, list_aggregate(outputs, 'max') AS largest\n    FROM outputs\n)",
            "The softmax of the calibrated outputs, before it is divided by its sum.",
        ),
        Cte(
            "raw",
            f"SELECT {SEED}, head.classes AS classes,\n"
            f"    list_transform(list_zip(head.class_output, head.class_share), lambda c: {of_class}) AS raw\n"
            "FROM (\n    SELECT *, list_aggregate(powers, 'sum') AS total\n    FROM powers\n)",
            "The probability of each class: its share of the probability of its output.",
        ),
    ]


VALID = "list_aggregate(raw.raw, 'max') BETWEEN 0 AND 1"
"""The condition that probabilities are valid; DuckDB orders NaN above every number."""


def score_sql(classes: Classes) -> str:
    """The likeliest class, the first one if several are; of a multilabel task the classes above their thresholds."""
    if classes.many:
        above = f"{element_sql('c', 2)} >= {element_sql('c', 3)}"
        kept = f"list_filter(list_zip(raw.classes, raw.raw, raw.thresholds), lambda c: {above})"
        return f"CAST(list_transform({kept}, lambda c: {element_sql('c', 1)}) AS {classes.type}[])"
    likeliest = element_sql("raw.classes", "list_position(raw.raw, list_aggregate(raw.raw, 'max'))")
    return f"CAST({likeliest} AS {classes.type})"


def probabilities_sql(classes: Classes) -> str:
    """The map from classes to probabilities."""
    return f"map(CAST(raw.classes AS {classes.type}[]), raw.raw)"
