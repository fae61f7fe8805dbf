"""Check a user's expression over one row, and write it so that its meaning is fixed.

Declarations hold such expressions, for example `strptime(day, '%d.%m.%Y')` as the time of a row. The same row must
always give the same value, for every caller. So an expression may read only its row, and may call only those of
DuckDB's own scalar functions whose results depend on nothing but their arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from relsql.database.names import fold, stored_name
from relsql.database.queries.sealed import parser, sealed_expression
from relsql.database.queries.syntax_tree import NotOneSelectError, Tree, nodes, parse, write
from relsql.errors import SchemaError, nearest
from relsql.sql_text import ident, literal

_CLASSES = frozenset(("BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT"))
_CLASSES |= {"FUNCTION", "OPERATOR", "TYPE"}


def row_expression(text: str, table: str, columns: Sequence[str], alias: str) -> str:
    """Check an expression over a row of a table and return it sealed, with its columns qualified by `alias`.

    Args:
        text: the expression, over the table's columns.
        table: the table's name, for messages; columns may be qualified with it.
        columns: names of the columns that the row has.
        alias: the row's alias in the query that uses the expression.

    Raises:
        SchemaError: it is not an expression, reads more than the row, or its value may differ from call to call.
    """
    try:
        tree = parse(parser(), f"SELECT {text}")
    except NotOneSelectError as error:
        raise _refused(text, table, str(error)) from error
    [statement] = tree["statements"]
    node = statement["node"]
    if node.get("type") != "SELECT_NODE" or len(node["select_list"]) != 1 or not _is_plain(node):
        raise _refused(text, table, "it is more than one expression")
    [expression] = node["select_list"]
    for part in nodes(expression):
        if "class" in part:
            _check_part(part, text, table, columns)
            if part["class"] == "COLUMN_REF":
                part["column_names"] = [alias, _column(part["column_names"], text, table, columns)]
    expression["alias"] = ""
    return sealed_expression(write(parser(), tree).removeprefix("SELECT "))


def _is_plain(node: Tree) -> bool:
    """True if a SELECT consists of a select list only."""
    empty = node.get("from_table", {}).get("type") == "EMPTY"
    clauses = ("where_clause", "having", "qualify", "sample")
    return empty and not node["modifiers"] and not any(node.get(clause) for clause in clauses)


def _check_part(part: Tree, text: str, table: str, columns: Sequence[str]) -> None:
    if part["class"] not in _CLASSES:
        raise _refused(text, table, f"it contains a {str(part['class']).lower()}")
    if part["class"] == "FUNCTION" and part["function_name"] not in pure_functions():
        name = part["function_name"]
        raise _refused(text, table, f"{name}() is not a function of DuckDB whose result depends on its arguments alone")


def _column(names: Sequence[str], text: str, table: str, columns: Sequence[str]) -> str:
    *outside, name = names
    found = stored_name(name, columns)
    if found is None or len(outside) > 1 or (outside and fold(outside[0]) != fold(table)):
        raise SchemaError(
            f"the expression {text} reads '{'.'.join(names)}', which is not a column of table '{table}'",
            expected=nearest(name, columns),
        )
    return found


def _refused(text: str, table: str, reason: str) -> SchemaError:
    return SchemaError(
        f"{text} cannot be computed for each row of table '{table}': {reason}",
        expected=f"an expression over the columns of the row, such as strptime({ident('day')}, '%d.%m.%Y')",
    )


@lru_cache(maxsize=2)
def pure_functions(*kinds: str) -> frozenset[str]:
    """Names of DuckDB's functions of some kinds, operators included, whose result depends on their arguments alone.

    The default kind is `scalar`.
    """
    of_kinds = ", ".join(map(literal, kinds or ("scalar",)))
    query = f"""SELECT function_name FROM duckdb_functions() WHERE internal GROUP BY function_name
                HAVING bool_and(function_type IN ({of_kinds}) AND stability = 'CONSISTENT')"""
    names = (name for (name,) in parser().execute(query).fetchall())
    # These depend on the clock or on the session, although DuckDB lists them as consistent.
    return frozenset(name for name in names if not name.startswith("current_"))
