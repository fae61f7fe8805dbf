"""The network in SQL scores as torch does: on random databases with odd names, by an untrained network."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import torch

from exporters.sql.model import SqlModel
from exporters.sql.weights import logarithmic_columns, weights_table
from exporters.torch_modules import score_blocks
from relsql.gather.arrays.blocks import Block, SeedSet, as_of_days, decode_blocks, existing_seeds
from relsql.gather.layout import layouts_of
from relsql.gather.sql.query import Gather
from relsql.gather.sql.seeds import call_parameters
from relsql.nn.graph_network import GraphNetwork, NetworkConfig
from relsql.nn.head import Head
from relsql.registry.row_embeddings import table_name, text_hash_sql
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.schema.visibility import VISIBILITY_RULES
from relsql.sql_text import ident
from relsql.text.text_table import TextTable
from relsql.training.fitting.loop import Batches, fit_statistics
from tests.random_trees import add_random_trees
from tests.relsql.gather.sql.answers import ALL_SEEDS, DAYS, every_column, planned, seeds_sql
from tests.relsql.gather.sql.league import leagues
from tests.relsql.gather.sql.random_databases import databases, random_examples
from tests.relsql.gather.sql.reference import Database, Row
from tests.relsql.gather.sql.shop import shop
from udfs.functions import create_arrow_function

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

CATALOG = "da\"ta' base"
WIDTH = 3
TARGETS = (None, "mean", "median", "quantile(0.9)")
Scores = dict[tuple[Any, Any], tuple[float | None, int]]


def embed(texts: list[str]) -> np.ndarray:
    """An embedding for each text, by its content."""
    return np.array([np.random.default_rng(sum(map(ord, text))).normal(size=WIDTH) for text in texts], dtype=np.float32)


def evidence_blocks(gather: Gather, blocks: list[Block]) -> list[Block]:
    """The blocks of linked rows that have a time, or of all linked rows if none has."""
    has_time = [gather.plan.table(path.table).time_column is not None for path in gather.plan.paths[1:]]
    return [block for block, timed in zip(blocks[1:], has_time, strict=True) if timed or not any(has_time)]


def torch_scores(
    con: duckdb.DuckDBPyConnection, gather: Gather, network: GraphNetwork, head: Head, texts: TextTable
) -> Scores:
    """Scores and evidence by torch; statistics are fitted to the rows that are gathered."""
    rows = con.sql(gather.query(seeds_sql(ALL_SEEDS, "INTEGER"))).to_arrow_table()
    layouts = network.layouts
    blocks, known = existing_seeds(decode_blocks(rows.column, layouts), layouts)
    days = as_of_days(rows.column("_as_of").combine_chunks())[known]
    seeds = list(zip(rows.column("_entity").to_pylist(), rows.column("_as_of").to_pylist(), strict=True))
    found: Scores = dict.fromkeys(seeds, (None, 0))
    if len(known):
        labels = np.arange(len(known), dtype=np.float32) % 2
        # Skewed, so that means have a log link and the other targets a log scale.
        labels = labels if head.classification else (np.arange(len(known)) % 4 == 3) * labels * 90
        seed_set = SeedSet(tuple(blocks), days, labels)
        embeddings = texts.embeddings(np.arange(len(texts) + 1))
        with torch.no_grad():
            fit_statistics(network, head, Batches(seed_set, layouts, embeddings))
        scores = score_blocks(network.eval(), head.eval(), blocks, layouts, texts.embeddings, days)
        evidence = sum(block.counts for block in evidence_blocks(gather, blocks)) + np.zeros(len(known))
        found |= {seeds[i]: (float(s), int(n)) for i, s, n in zip(known, scores, evidence, strict=True)}
    return found


def sql_scores(
    con: duckdb.DuckDBPyConnection, gather: Gather, network: GraphNetwork, head: Head, texts: TextTable
) -> Scores:
    """Scores and evidence by the macro."""
    weights = weights_table(network, head)
    card = SimpleNamespace(
        name="m",
        version=1,
        identity="0",
        schema=gather.plan.schema,
        paths=gather.plan.paths,
        inputs=gather.plan.inputs,
        rows=gather.plan,
        channels=network.config.channels,
        windows=network.config.windows,
        statistics=network.chosen_statistics,
        entity=gather.plan.entity,
        task=SimpleNamespace(
            is_classification=head.classification,
            target=head.target,
            predicts=head.target,
            visible=gather.rows.visible,
            steps=None,
        ),
        is_explained=True,
        outputs=None,
        classes=None,
        uncertainty=None,
        threshold=None,
        stale_after_days=1.5,
    )
    model = SqlModel(card, "relsql", logarithmic_columns(weights), every_column(gather))  # type: ignore[arg-type]
    flat = pa.array(embed(texts.texts).ravel(), pa.float32())
    stored = pa.table({"text": texts.texts, "embedding": pa.FixedSizeListArray.from_arrays(flat, WIDTH)})
    con.execute(f"USE {ident(CATALOG)}; CREATE SCHEMA relsql")
    for name, table in ((model.weights_table, weights), ("stored", stored)):
        con.register("given", table)
        con.execute(f"CREATE TABLE relsql.{name} AS FROM given")
    embeddings = f"SELECT {text_hash_sql('text')} AS text_hash, text, embedding FROM relsql.stored"
    con.execute(f"CREATE VIEW relsql.{table_name('0')} AS {embeddings}")
    for name, query in model.views():
        con.execute(f"CREATE VIEW relsql.{ident(name)} AS {query}")
    for statement in model.text_statements(str):
        con.execute(statement)
    con.execute(f"CREATE MACRO f({call_parameters(model.card.entity)}) AS {model.call_sql()}")
    query = f"SELECT _entity, _as_of, f(_entity, as_of := _as_of) FROM ({seeds_sql(ALL_SEEDS, 'INTEGER')})"
    return {(entity, as_of): (r["score"], r["evidence"]) for entity, as_of, r in con.execute(query).fetchall()}


def compare(
    database: Database, entity: str, fanout: int, *, data_age: bool, target: str | None, event_hubs: bool = False
) -> None:
    with duckdb.connect() as con:
        database.create(con, CATALOG)
        texts = TextTable(WIDTH, embed)  # type: ignore[arg-type]
        create_arrow_function(con, "text_length", texts.ids, ["VARCHAR"], "INTEGER")
        gather = planned(con, database, CATALOG, entity, fanout, data_age=data_age, event_hubs=event_hubs)
        gather = replace(gather, rows=replace(gather.rows, visible=VISIBILITY_RULES[fanout % 2]))
        torch.manual_seed(fanout)
        config = NetworkConfig(channels=4, text_widths=(WIDTH,), windows=(1, 2))
        network = GraphNetwork(layouts_of(gather.plan.paths, gather.plan.inputs), config)
        head = Head(config, classification=target is None, target=target)
        for norm in (module for module in network.modules() if isinstance(module, torch.nn.LayerNorm)):
            # Values of either sign, and one for which only the bias is left.
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
            torch.nn.init.zeros_(norm.weight[:1].detach())
        if fanout > 1:
            add_random_trees(network, head, fanout)
        expected = torch_scores(con, gather, network, head, texts)
        found = sql_scores(con, gather, network, head, texts)
    assert found.keys() == expected.keys()
    for seed, (score, evidence) in expected.items():
        assert found[seed][1] == evidence, seed
        assert found[seed][0] == (None if score is None else pytest.approx(score, rel=2e-5, abs=2e-5)), seed


@random_examples(0.6)
@hypothesis.given(databases(), st.integers(1, 3), st.booleans(), st.sampled_from(TARGETS))
def test_random_databases(drawn: tuple[Database, str], fanout: int, data_age: bool, target: str | None) -> None:
    compare(*drawn, fanout, data_age=data_age, target=target)


@pytest.mark.parametrize("fanout", [1, 2])
def test_every_kind_of_path(fanout: int) -> None:
    compare(shop(), "customers", fanout, data_age=False, target=None)


@random_examples(0.3)
@hypothesis.given(leagues(), st.integers(1, 3))
def test_events_as_hubs(database: Database, fanout: int) -> None:
    compare(database, "drivers", fanout, data_age=False, target=None, event_hubs=True)


def test_rows_that_two_columns_point_at_match_both_and_are_never_later() -> None:
    key, time, value = Column("id", "INTEGER"), Column("time", "TIMESTAMP"), Column("value", "DOUBLE")
    first, second = Column("a", "INTEGER"), Column("b", "INTEGER")
    tables = (
        Table("people", (key,), ("id",)),
        Table("offers", (first, second, value, time), ("a", "b"), "time"),
        Table("orders", (key, Column("p", "INTEGER"), first, second, time), ("id",), "time"),
    )
    links = (Link("orders", ("p",), "people", ("id",)), Link("orders", ("a", "b"), "offers", ("a", "b")))
    rows: dict[str, list[Row]] = {
        "people": [{"id": i} for i in range(3)],
        "offers": [{"a": i // 3, "b": i % 3, "value": 2.0**i, "time": DAYS[i % 4]} for i in range(9)],
        "orders": [{"id": i, "p": i % 3, "a": i % 3, "b": i // 3 % 3, "time": DAYS[i % 3]} for i in range(12)],
    }
    database = Database(Schema({table.key: table for table in tables}, links), rows)
    compare(database, "people", 2, data_age=False, target=None)


def test_tables_of_one_name_in_two_schemas_say_each_their_own() -> None:
    key, letter = Column("id", "INTEGER"), Column("letter", "VARCHAR")
    notes = Table("notes", (key, Column("p", "INTEGER"), letter), ("id",))
    tables = (Table("people", (key,), ("id",)), notes, replace(notes, schema_name="other"))
    links = tuple(Link(table, ("p",), "people", ("id",)) for table in ("notes", "other.notes"))
    rows: dict[str, list[Row]] = {
        "people": [{"id": i} for i in range(3)],
        "notes": [{"id": i, "p": i % 3, "letter": "abc"[i % 2]} for i in range(6)],
        "other.notes": [{"id": i, "p": i % 3, "letter": "abc"[i // 3]} for i in range(6)],
    }
    database = Database(Schema({table.key: table for table in tables}, links), rows)
    compare(database, "people", 2, data_age=False, target=None)
