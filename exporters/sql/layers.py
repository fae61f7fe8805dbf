"""Layers of the network as SQL expressions over lists, with one list element per channel.

Lists have the element type of the weights: where FLOAT and DOUBLE are mixed, DuckDB converts one of them for each row.

DuckDB evaluates the body of a lambda again for each element. Arguments that are used inside a lambda are therefore
column names, not expressions. List columns enter a lambda at no cost; arrays are copied once per element.
"""

from __future__ import annotations

from itertools import combinations

from relsql.nn.scaling import CLIP
from relsql.sql_text import Cte

EPSILON = 1e-5
"""Added to the variance in every layer norm."""


def linear_sql(weight: str, inputs: str) -> str:
    """A linear map: the inner product of each row of a matrix with the column `inputs`."""
    return f"list_transform({weight}, lambda m: list_inner_product(m, {inputs}))"


def element_sql(value: str, position: str | int) -> str:
    """One element of a list, or of a tuple of `list_zip`; as a call, because `value[position]` cannot be sealed."""
    return f"array_extract({value}, {position})"


def twice_relu_sql(values: str) -> str:
    """Twice the ReLU of each element, as v + |v|: ten times faster than greatest(). The next weights are halved."""
    return f"list_transform({values}, lambda v: v + abs(v))"


def sum_sql(*lists: str) -> str:
    """The element-wise sum of lists; faster than a lambda with an index."""
    if len(lists) == 1:
        return lists[0]
    terms = " + ".join(element_sql("v", i + 1) for i in range(len(lists)))
    return f"list_transform(list_zip({', '.join(lists)}), lambda v: {terms})"


def known_sql(values: str) -> str:
    """Replace NULL elements of a list with 0."""
    return f"list_transform({values}, lambda v: coalesce(v, 0))"


def scaled_sql(numbers: str, scaling: str, *, logarithmic: bool) -> str:
    """Standardise and clip numbers; NULL stays NULL. `logarithmic`: at least one number is on the log scale."""
    number, scale = element_sql("x", 1), element_sql("x", 2)
    value = number
    if logarithmic:
        value = f"CASE WHEN ({scale}).logarithmic THEN sign({number}) * ln(1 + abs({number})) ELSE {number} END"
    standard = f"CAST(({value} - ({scale}).center) / ({scale}).scale AS FLOAT)"
    scaled = f"list_transform(list_zip({numbers}, {scaling}), lambda x: {standard})"
    # An integer literal keeps the result FLOAT; a decimal literal would not.
    most = f"{CLIP:g}"
    clipped = f"CASE WHEN v > {most} THEN {most} WHEN v < -{most} THEN -{most} ELSE v END"
    return f"list_transform({scaled}, lambda v: {clipped})"


def distances_sql(edges: str, scaled: str) -> str:
    """Distances of the numbers in the column `scaled` from the edges of their bins; 0 where a number is missing."""
    return f"list_transform({edges}, lambda e: coalesce(abs({element_sql(scaled, 'e.number')} - e.edge), 0))"


def means_sql(rows: str, width: int, window: int, share: str | None = None) -> str:
    """Element-wise mean over the lists in the column `rows`: at most `window` lists, each `width` long.

    `share` names a column with the weight of each list in the mean. It halves the time where there are many lists.
    """
    if window == 1:
        return element_sql(rows, 1)
    elements = f"list_transform({rows}, lambda r: {element_sql('r', 'i')})"
    mean = f"list_inner_product({elements}, {share})" if share else f"list_aggregate({elements}, 'avg')"
    return f"list_transform(range(1, {width + 1}), lambda i: {mean})"


def norm_steps(
    source: str, inverse: str, state: str, *parts: str, norm: str, channels: int, kind: str = "DOUBLE"
) -> list[Cte]:
    """CTEs `inverse` and `state`: layer norm and ReLU of the sum of the columns `parts`; other columns are kept.

    The sum must have mean 0 over the channels. Only the norm's bias is applied here: the norm's weights and the factor
    1/2 are folded into the maps before and after, see `exporters.sql.weights.fold_norm`. `kind` is the element type of
    the columns.
    """
    squares = [f"list_inner_product({a}, {a})" for a in parts]
    squares += [f"2 * list_inner_product({a}, {b})" for a, b in combinations(parts, 2)]
    total = " + ".join(element_sql("c", i + 1) for i in range(len(parts)))
    normed = (
        f"list_transform(list_zip({', '.join(parts)}, {norm}.norm_bias), "
        f"lambda c: ({total}) * inverse + {element_sql('c', len(parts) + 1)})"
    )
    return [
        Cte(
            inverse,
            f"SELECT *, CAST(1 / sqrt(({' + '.join(squares)}) / {channels} + {EPSILON}) AS {kind}) AS inverse\n"
            f"FROM {source}",
            "One over the standard deviation of the layer's output.",
        ),
        Cte(
            state,
            f"SELECT * EXCLUDE ({', '.join(parts)}, inverse),\n    {twice_relu_sql(normed)} AS state\nFROM {inverse}",
            "Layer norm, then ReLU.",
        ),
    ]
