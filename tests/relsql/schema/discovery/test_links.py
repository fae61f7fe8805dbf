"""Links by names and the spread of values, and what was refused."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.discovery.names import (
    agent_match,
    is_row_number,
    same_words,
    synonym_match,
    without_prefix,
    words_of_tables,
)
from relsql.schema.discovery.propose import SURE, SchemaProposal, apply_proposal, infer_schema
from relsql.schema.reading import read_schema
from relsql.schema.tables import Link
from relsql.schema.types import type_family


def infer(con: duckdb.DuckDBPyConnection, *statements: str) -> SchemaProposal:
    for statement in statements:
        con.execute(statement)
    return infer_schema(con)


def sure_links(proposal: SchemaProposal) -> set[str]:
    return {str(each.link) for each in proposal.links if each.confidence >= SURE}


def refused(proposal: SchemaProposal) -> dict[str, str]:
    return {str(each): each.reason for each in proposal.refused}


def test_the_most_likely_parent_is_named_where_no_link_is_possible(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        "CREATE SCHEMA staging; CREATE TABLE staging.orders AS SELECT i AS id FROM range(1000) r(i)",
        "CREATE TABLE staging.order_items AS SELECT i AS id, i // 2 AS order_id FROM range(2000) r(i)",
        "CREATE TABLE pay AS SELECT i AS id, (i % 900)::VARCHAR AS order_id FROM range(1500) r(i)",
    )
    assert [name for name in refused(proposal) if name.startswith("pay")] == ["pay(order_id) -> staging.orders(id)"]


HOSPITAL = (
    "CREATE TABLE patients AS SELECT i AS row_id, 1 + i AS subject_id FROM range(1, 101) r(i)",
    """CREATE TABLE visits AS SELECT i AS row_id, 2 + i % 90 AS subject_id,
       TIMESTAMP '2020-01-01' + INTERVAL (i) HOUR AS at_time FROM range(1, 301) r(i)""",
    "CREATE TABLE codes AS SELECT i AS row_id, 'label ' || i AS label FROM range(1, 601) r(i)",
)


def test_row_numbers_link_nothing(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(con, *HOSPITAL)
    assert {str(each.link) for each in proposal.links} == {"visits(subject_id) -> patients(subject_id)"}


def test_of_two_tables_with_one_row_each_others_refer_to_the_main_one(con: duckdb.DuckDBPyConnection) -> None:
    stays = "SELECT i AS row_id, 1000 + 7 * i AS hadm_id"
    proposal = infer(
        con,
        f"CREATE TABLE admissions AS {stays}, 'ward ' || i % 9 AS ward FROM range(200) r(i)",
        f"CREATE TABLE icustays AS {stays}, 5000 + 11 * i AS icustay_id FROM range(200) r(i)",
        f"CREATE TABLE samples AS {stays} FROM range(200) r(i), range(2)",
        f"CREATE TABLE drugs AS {stays} FROM range(200) r(i), range(3)",
    )
    assert sure_links(proposal) == {
        f"{table}(hadm_id) -> admissions(hadm_id)" for table in ("icustays", "samples", "drugs")
    }
    apply_proposal(con, "memory", proposal.split()[0])
    assert not sure_links(infer_schema(con))


def test_a_link_to_a_unique_column_beside_the_declared_key(con: duckdb.DuckDBPyConnection) -> None:
    for statement in HOSPITAL:
        con.execute(statement)
    declare_table(con, "memory", "patients", primary_key=("row_id",))
    proposal = infer_schema(con)
    assert sure_links(proposal) == {"visits(subject_id) -> patients(subject_id)"}
    apply_proposal(con, "memory", proposal)
    assert [str(link) for link in read_schema(con).links] == ["visits(subject_id) -> patients(subject_id)"]


def test_numbers_that_are_unique_in_all_tables_count_their_rows(con: duckdb.DuckDBPyConnection) -> None:
    tables = (f"CREATE TABLE {name} AS SELECT i AS sys_num, i % 7 AS x FROM range({n}) r(i)" for name, n in SIZES)
    assert infer(con, *tables).links == ()


SIZES = [("alpha", 100), ("beta", 200), ("gamma", 300)]


@pytest.mark.parametrize("flag", ["(i % 2)::VARCHAR", "(i % 2)::INTEGER", "['Y', 'N'][1 + i % 2]"])
def test_a_flag_is_no_link(con: duckdb.DuckDBPyConnection, flag: str) -> None:
    con.execute(f"CREATE TABLE plays AS SELECT i AS play_id, {flag} AS scoring FROM range(5000) t(i)")
    kind = "INTEGER" if "INTEGER" in flag else "VARCHAR"
    con.execute(f"CREATE TABLE scoring (score_id {kind} PRIMARY KEY, txt VARCHAR)")
    con.execute(f"INSERT INTO scoring SELECT i::{kind}, 'kind ' || i FROM range(900) t(i)")
    if kind == "VARCHAR":
        con.execute("INSERT INTO scoring VALUES ('Y', 'yes'), ('N', 'no')")
    assert not [each for each in infer_schema(con).links if each.confidence >= 0.8]


def test_text_keys_with_spaces(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        "CREATE TABLE clubs AS SELECT 'club of town ' || i AS club, 1900 + i AS founded FROM range(1, 25) r(i)",
        """CREATE TABLE games AS SELECT i AS game_id, 'club of town ' || (1 + i % 24) AS home_club,
           'club of town ' || (1 + (i + 5) % 24) AS away_club, 'day of rain ' || i % 3 AS weather
           FROM range(500) r(i)""",
    )
    assert sure_links(proposal) == {"games(home_club) -> clubs(club)", "games(away_club) -> clubs(club)"}


def test_users_are_customers_where_there_are_no_users(con: duckdb.DuckDBPyConnection) -> None:
    orders = (
        "CREATE TABLE raw_orders AS SELECT i AS id, 1 + i % 100 AS user_id FROM range(1, 200) r(i)",
        "CREATE TABLE raw_payments AS SELECT i AS id, 1 + i % 199 AS order_id FROM range(1, 300) r(i)",
        "CREATE TABLE raw_customers AS SELECT i AS id, 'name ' || i AS name FROM range(1, 101) r(i)",
    )
    payments = "raw_payments(order_id) -> raw_orders(id)"
    assert sure_links(infer(con, *orders)) == {payments, "raw_orders(user_id) -> raw_customers(id)"}
    users = "CREATE TABLE raw_users AS SELECT i AS id FROM range(1, 101) r(i)"
    assert sure_links(infer(con, users)) == {payments, "raw_orders(user_id) -> raw_users(id)"}


def test_floats_of_pandas_and_roles(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        """CREATE TABLE Employee AS SELECT i AS EmployeeId, i / 7 AS Grade,
           [NULL, 1.0, 2.0, 2.0, 2.0, 1.0, 6.0, 6.0][i]::DOUBLE AS ReportsTo FROM range(1, 9) r(i)""",
        "CREATE TABLE Customer AS SELECT i AS CustomerId, 3.0::DOUBLE + i % 3 AS SupportRepId FROM range(1, 60) r(i)",
    )
    links = {"Employee(ReportsTo) -> Employee(EmployeeId)", "Customer(SupportRepId) -> Employee(EmployeeId)"}
    assert sure_links(proposal) == links
    apply_proposal(con, "memory", proposal)
    assert {str(link) for link in read_schema(con).links} == links


def test_floats_that_are_not_whole_are_refused(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        "CREATE TABLE shops AS SELECT i AS shop_id FROM range(50) r(i)",
        "CREATE TABLE sales AS SELECT i AS sale_id, i % 50 + 0.5::DOUBLE AS shop_id FROM range(500) r(i)",
    )
    assert proposal.links == () and "not whole" in refused(proposal)["sales(shop_id) -> shops(shop_id)"]


def test_names_that_differ_in_case_and_separators(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        "CREATE TABLE Customers AS SELECT i AS CustomerID FROM range(200) r(i)",
        """CREATE TABLE ORDERS AS SELECT i AS ORDERID, i % 190 AS "CUSTOMER ID", i % 150 AS customer_id
           FROM range(900) r(i)""",
    )
    assert sure_links(proposal) == {
        "ORDERS(CUSTOMER ID) -> Customers(CustomerID)", "ORDERS(customer_id) -> Customers(CustomerID)",
    }  # fmt: skip


def test_a_third_column_of_the_same_values_is_not_sure_beside_two_that_name_the_parent(
    con: duckdb.DuckDBPyConnection,
) -> None:
    proposal = infer(
        con,
        "CREATE TABLE teams AS SELECT 'Land of ' || i AS name, i % 4 AS region FROM range(60) r(i)",
        """CREATE TABLE results AS SELECT 'Land of ' || i % 60 AS home_team, 'Land of ' || (i + 7) % 60 AS away_team,
           'Land of ' || (i + i // 9) % 60 AS country FROM range(900) r(i)""",
    )
    assert sure_links(proposal) == {"results(home_team) -> teams(name)", "results(away_team) -> teams(name)"}
    [doubtful] = [each for each in proposal.links if each.link.child_columns == ("country",)]
    assert "home_team, away_team already link there by name" in doubtful.evidence


def test_texts_speak_for_themselves_if_they_are_found_in_one_key_alone(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        "CREATE TABLE players AS SELECT 'A Player ' || i AS player_name, i % 2 AS hand FROM range(100) r(i)",
        """CREATE TABLE balls AS SELECT i AS id, 'A Player ' || i % 90 AS facing, 'x' || i % 30 AS place,
           ['won', 'lost'][1 + i % 2] AS result FROM range(900) r(i)""",
    )
    assert sure_links(proposal) == {"balls(facing) -> players(player_name)"}
    con.execute("CREATE TABLE coaches AS SELECT 'A Player ' || i AS coach, i % 2 AS badge FROM range(95) r(i)")
    assert not any(link.startswith("balls") for link in sure_links(infer_schema(con)))


def test_words_that_all_tables_share_do_not_count(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        "CREATE TABLE wp_posts AS SELECT i AS ID, i % 7 AS menu FROM range(300) r(i)",
        "CREATE TABLE wp_terms AS SELECT i AS ID, i % 3 AS x FROM range(50) r(i)",
        "CREATE TABLE wp_comments AS SELECT i AS ID, i % 250 AS comment_post_ID FROM range(900) r(i)",
    )
    assert sure_links(proposal) == {"wp_comments(comment_post_ID) -> wp_posts(ID)"}
    assert words_of_tables({"a": "olist_orders_dataset", "b": "olist_sellers_dataset", "c": "olist_items_dataset"}) == {
        "a": ("order",), "b": ("seller",), "c": ("item",),
    }  # fmt: skip
    assert words_of_tables({"a": "wp_a", "b": "wp_b"}) == {"a": ("wp", "a"), "b": ("wp", "b")}


def test_tables_of_one_name_in_two_schemas_are_copies(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE SCHEMA stage")
    tables = "CREATE TABLE {}customers AS SELECT i AS customer_id FROM range({}) r(i)"
    assert infer(con, tables.format("", 100), tables.format("stage.", 80)).links == ()


def test_prefixes_of_all_columns_do_not_count(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        "CREATE TABLE customer AS SELECT i AS c_custkey, 'x' || i AS c_name FROM range(100) r(i)",
        "CREATE TABLE bills AS SELECT i AS b_billkey, i % 90 AS b_custkey FROM range(400) r(i)",
    )
    assert sure_links(proposal) == {"bills(b_custkey) -> customer(c_custkey)"}


def test_types_that_differ_are_refused_with_the_statement_that_helps(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        "CREATE TABLE airlines AS SELECT i AS airline_id FROM range(300) r(i)",
        """CREATE TABLE routes AS SELECT CASE WHEN i % 50 = 0 THEN '\\N' ELSE (i % 280)::VARCHAR END AS airline_id,
           i % 3 AS stops FROM range(2000) r(i)""",
    )
    [refusal] = [each for each in proposal.refused if each.fix]
    assert str(refusal) == "routes(airline_id) -> airlines(airline_id)"
    assert "'airline_id' is VARCHAR and 'airline_id' is BIGINT" in refusal.reason
    con.execute(refusal.fix)
    assert sure_links(infer_schema(con)) == {"routes(airline_id) -> airlines(airline_id)"}


def test_attributes_of_one_name_are_no_links(con: duckdb.DuckDBPyConnection) -> None:
    proposal = infer(
        con,
        "CREATE TABLE customers AS SELECT i AS customer_id, 'first ' || i AS first_name, i AS zip FROM range(90) r(i)",
        """CREATE TABLE actors AS SELECT i AS actor_id, 'first ' || i % 40 AS first_name, i % 60 AS zip
           FROM range(80) r(i)""",
    )
    assert proposal.links == ()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("CREATE TABLE visits AS SELECT i AS id, i + 900 AS shop_id FROM range(500) r(i)", "0.0 % of 500 distinct"),
        ("CREATE TABLE visits AS SELECT i AS id, i % 9 AS number_of_shops FROM range(500) r(i)", None),
        ("CREATE TABLE visits AS SELECT i AS id, NULL::INTEGER AS guide_id FROM range(500) r(i)", "NULL in all rows"),
        ("CREATE TABLE visits AS SELECT i AS id, i % 77 AS guide_id FROM range(500) r(i)", "no table has a key"),
        ("CREATE TABLE visits AS SELECT i AS id, i % 3 AS shop FROM range(500) r(i)", "so few small numbers"),
    ],
)
def test_what_was_refused_has_a_reason(con: duckdb.DuckDBPyConnection, table: str, reason: str | None) -> None:
    proposal = infer(con, "CREATE TABLE shops AS SELECT i AS shop_id FROM range(100) r(i)", table)
    assert proposal.links == ()
    reasons = "".join(refused(proposal).values())
    assert (reason in reasons) if reason else not reasons


ODD_TYPES = (
    "i::VARCHAR", "i::DOUBLE", "i + 0.5::DOUBLE", "i::FLOAT", "i::DECIMAL(9,0)", "i::DECIMAL(9,2)", "i::UHUGEINT",
    "DATE '2020-01-01' + i::INTEGER", "{'a': i}", "[i]", "i::VARCHAR::BLOB", "i % 2 = 0", "INTERVAL (i) DAY", "NULL",
    "md5(i::VARCHAR)::UUID", "TIME '00:00:00'", "i::VARCHAR::ENUM('0', '1')", "'NaN'::DOUBLE", "1e300::DOUBLE",
)  # fmt: skip


@pytest.mark.parametrize("parent", [type_ for type_ in ODD_TYPES if "ENUM" not in type_ and "%" not in type_])
def test_keys_and_columns_of_all_types_are_looked_at(con: duckdb.DuckDBPyConnection, parent: str) -> None:
    con.execute(f"CREATE TABLE shops AS SELECT {parent} AS shop_id FROM range(2) r(i)")
    columns = ", ".join(f"{value} AS x{n}_shop_id" for n, value in enumerate(ODD_TYPES))
    con.execute(f"CREATE TABLE visits AS SELECT {columns} FROM range(2) r(i)")
    tables = dict(read_schema(con).tables)
    tables["shops"] = replace(tables["shops"], primary_key=("shop_id",))
    for link in infer_schema(con, "memory", replace(read_schema(con), tables=tables)).links:
        child, key = (
            tables[name].column(c[0]).type
            for name, c in ((link.link.child, link.link.child_columns), (link.link.parent, link.link.parent_columns))
        )
        assert type_family(child) == type_family(key)


def test_names() -> None:
    assert same_words("userid", "USER_ID") and same_words("UserId", "user id") and not same_words("42", "_")
    assert is_row_number("Unnamed: 0") and is_row_number("row_id") and not is_row_number("id")
    assert synonym_match("user_id", ("customer",)) == 0.85
    assert synonym_match("support_rep_id", ("employee",)) == 0.8
    assert synonym_match("user_id", ("product",)) == synonym_match("id", ("customer",)) == 0.0
    agents = {"ShipVia": "shipper", "supplied_by": "supplier", "driven_by_id": "driver", "edited_by": "editor"}
    assert all(agent_match(column, ("fast", agent)) == 0.85 for column, agent in agents.items())
    others = {"ordered_by": "order", "ship_to": "shipper", "via": "shipper", "ship_via": "ship", "created_by": "user"}
    assert not any(agent_match(column, (other,)) for column, other in others.items()) and not agent_match("", ())
    assert without_prefix(["l_orderkey", "l_tax"]) == {"l_orderkey": "orderkey", "l_tax": "tax"}
    assert without_prefix(["l_orderkey", "tax"]) == {"l_orderkey": "l_orderkey", "tax": "tax"}


@pytest.mark.parametrize("stored", [False, True])
def test_of_a_composite_link_and_its_part_only_one_is_proposed(con: duckdb.DuckDBPyConnection, stored: bool) -> None:
    con.execute("CREATE TABLE teams (team VARCHAR, league VARCHAR, founded INTEGER, PRIMARY KEY (team, league))")
    con.execute("INSERT INTO teams SELECT 'Team ' || i, 'League ' || i % 4, 1900 + i FROM range(40) r(i)")
    con.execute("CREATE TABLE played AS SELECT team, league, i AS goals FROM teams, range(20) r(i)")
    if stored:
        declare_link(con, "memory", Link("played", ("team",), "teams", ("team",)))
        assert infer_schema(con).links == ()
        return
    proposal = infer_schema(con)
    assert sure_links(proposal) == {"played(team, league) -> teams(team, league)"}
    assert "says it already" in refused(proposal)["played(team) -> teams(team)"]
