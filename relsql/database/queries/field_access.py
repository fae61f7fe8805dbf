"""Rewrite field accesses and slices in the syntax tree of a query as function calls.

DuckDB also looks up a function for `r.id`, `(call).score` and `l[1:2]`, by its unqualified name. After `CREATE MACRO
struct_extract(..)` they therefore fail. Written as calls, they can name the function in full. `x[1]` and `x['k']` are
left as they are, because their function depends on the type of x, which the tree does not contain: after `CREATE MACRO
array_extract(..)` such a query still fails. relsql's own SQL therefore calls `array_extract` to read an element;
expressions that users declare may still contain `x[1]`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from relsql.database.queries.syntax_tree import Tree, nodes
from relsql.sql_text import literal

Parse = Callable[[str], Tree]
"""Gives the syntax tree of a query, see `relsql.database.queries.syntax_tree.parse`."""

_OPERATORS = {"STRUCT_EXTRACT": "struct_extract", "ARRAY_SLICE": "array_slice"}


def call_accesses(tree: Tree, parse: Parse) -> None:
    """Turn all accesses of a tree into calls, in place."""
    _visit(tree, frozenset(), _Calls(parse))


class _Calls:
    """Builds the nodes of calls from those of example queries, because DuckDB versions write such nodes differently."""

    def __init__(self, parse: Parse) -> None:
        self._parse = parse
        self._examples: dict[str, Tree] = {}

    def call(self, function: str, arguments: list[Tree], alias: str) -> Tree:
        """A call of a function."""
        places = [f"a{i}" for i in range(len(arguments))]
        query = f"SELECT {function}({', '.join(places)})"
        if query not in self._examples:
            self._examples[query] = _select_list(self._parse(query))[0]
        found = copy.deepcopy(self._examples[query])
        for node in [node for node in nodes(found) if node.get("class") == "COLUMN_REF"]:
            _replace(node, arguments[places.index(node["column_names"][0])])
        found["alias"] = alias
        return found

    def text(self, value: str) -> Tree:
        """A constant."""
        return _select_list(self._parse(f"SELECT {literal(value)}"))[0]


def _visit(part: Any, relations: frozenset[str], calls: _Calls) -> None:
    """Rewrite the accesses in a part of a tree where the aliases `relations` are in scope."""
    if isinstance(part, list):
        for each in part:
            _visit(each, relations, calls)
    if not isinstance(part, dict):
        return
    if "from_table" in part:
        relations = relations | frozenset(_aliases(part["from_table"]))
        for column in part["select_list"]:
            if column.get("class") == "COLUMN_REF" and not column["alias"]:
                column["alias"] = column["column_names"][-1]
    for each in part.values():
        _visit(each, relations, calls)
    if part.get("class") == "OPERATOR" and part["type"] in _OPERATORS:
        _replace(part, calls.call(_OPERATORS[part["type"]], part["children"], part["alias"]))
    elif part.get("class") == "COLUMN_REF":
        _access_fields(part, relations, calls)


def _access_fields(node: Tree, relations: frozenset[str], calls: _Calls) -> None:
    """Turn `relation.column.field` and `column.field` into calls; `relation.column` stays."""
    names, alias = node["column_names"], node["alias"]
    first = 2 if names[0].casefold() in relations else 1
    if len(names) <= first:
        return
    found = {**node, "column_names": names[:first], "alias": ""}
    for name in names[first:]:
        found = calls.call("struct_extract", [found, calls.text(name)], "")
    _replace(node, {**found, "alias": alias})


def _aliases(source: Tree) -> Iterator[str]:
    """The names by which the relations of a FROM clause are called."""
    if source.get("type") == "JOIN":
        yield from _aliases(source["left"])
        yield from _aliases(source["right"])
    elif name := source.get("alias") or source.get("table_name"):
        yield name.casefold()


def _select_list(tree: Tree) -> list[Tree]:
    found: list[Tree] = tree["statements"][0]["node"]["select_list"]
    return found


def _replace(node: Tree, other: Tree) -> None:
    node.clear()
    node.update(other)
