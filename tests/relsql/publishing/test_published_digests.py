"""Published plain SQL is compared with its digests: what was changed since is noticed by the selftest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from relsql.errors import ModelError, ParityError
from relsql.publishing.publish import publish
from relsql.publishing.selftest import selftest
from relsql.registry.models import active_card
from relsql.scoring.refresh import refresh
from relsql.sql_text import literal


@pytest.fixture
def published(shop: Path) -> Path:
    with duckdb.connect(str(shop)) as con:
        publish(con, "churn")
    return shop


CHANGES: dict[str, Callable[[str], str]] = {
    "weights": lambda identity: f"UPDATE relsql.weights_{identity} SET head = struct_update(head, norm_bias := [0.5])",
    "a text": lambda identity: (
        f"UPDATE relsql.texts_{identity} SET text_state = list_reverse(text_state) WHERE rowid = 3"
    ),
    "a lost text": lambda identity: f"DELETE FROM relsql.texts_{identity} WHERE rowid = 3",
    "a doubled text": lambda identity: f"INSERT INTO relsql.texts_{identity} FROM relsql.texts_{identity} LIMIT 1",
    "a macro": lambda identity: "CREATE OR REPLACE MACRO predict_churn(id, as_of := NULL) AS 0.5",
    "a view": lambda identity: f"CREATE OR REPLACE VIEW relsql.shops_{identity} AS FROM shops WHERE shop_id > 1",
    "its record": lambda identity: "UPDATE relsql.publications SET relsql_version = '9'",
}


@pytest.mark.parametrize("change", CHANGES)
def test_selftest_notices_what_was_changed(published: Path, change: str) -> None:
    with duckdb.connect(str(published)) as con:
        con.execute(CHANGES[change](active_card(con, "shop", "churn").identity))
        with pytest.raises(ModelError, match="the plain SQL of model 'churn' was changed.*relsql publish FILE churn"):
            selftest(con, "churn")
        con.execute("DROP MACRO IF EXISTS predict_churn")
        publish(con, "churn")
    with duckdb.connect(str(published)) as con:
        assert selftest(con, "churn").without_digest == ()


def test_selftest_notices_swapped_parameters_and_an_added_view(published: Path) -> None:
    with duckdb.connect(str(published)) as con:
        [(body,)] = con.execute(
            "SELECT macro_definition FROM duckdb_functions() WHERE function_name = 'predict_churn'"
        ).fetchall()
        con.execute(f"CREATE OR REPLACE MACRO predict_churn(as_of, id := NULL) AS {body}")
        with pytest.raises(ModelError, match="predict_churn is not as it was written"):
            selftest(con, "churn")
        con.execute("DROP MACRO predict_churn")
        publish(con, "churn")
        identity = active_card(con, "shop", "churn").identity
        con.execute(f"CREATE VIEW relsql.lines_{identity} AS SELECT 1 AS line")
        with pytest.raises(ModelError, match=f"lines_{identity} is not as it was written"):
            selftest(con, "churn")


def test_selftest_notices_another_default_of_a_parameter(published: Path) -> None:
    """The catalog shows the body and the parameters of a macro, but no default."""
    with duckdb.connect(str(published)) as con:
        query = "SELECT macro_definition FROM duckdb_functions() WHERE function_name = 'predict_churn_full'"
        [(body,)] = con.execute(query).fetchall()
        [(comment,)] = con.execute(query.replace("macro_definition", "comment")).fetchall()
        early = "TIMESTAMP '2020-01-01'"
        con.execute(f"CREATE OR REPLACE MACRO predict_churn_full(id, as_of := {early}) AS {body}")
        con.execute(f"COMMENT ON MACRO predict_churn_full IS {literal(comment)}")
        with pytest.raises(ParityError):
            selftest(con, "churn")


def test_new_and_pruned_texts_keep_the_digest_right(published: Path) -> None:
    with duckdb.connect(str(published)) as con:
        con.execute("INSERT INTO customers VALUES (997, 'a new name', NULL, NULL)")
        assert refresh(con, "churn").new == 1
        assert selftest(con, "churn").without_digest == ()
        con.execute("DELETE FROM customers WHERE customer_id = 997")
        assert refresh(con, "churn", prune=True).pruned == 1
        assert selftest(con, "churn").without_digest == ()


def test_pruning_does_not_hide_damage(published: Path) -> None:
    with duckdb.connect(str(published)) as con:
        identity = active_card(con, "shop", "churn").identity
        con.execute(f"UPDATE relsql.texts_{identity} SET text_state = list_reverse(text_state) WHERE rowid = 3")
        refresh(con, "churn", prune=True)
        with pytest.raises(ModelError, match=f"texts_{identity} is not as it was written"):
            selftest(con, "churn")
