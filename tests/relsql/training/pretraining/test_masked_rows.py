"""The numbers of a row are hidden from the network, and are learned from the rows around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from relsql.database.cursors import task_cursor  # noqa: E402
from relsql.database.names import current_catalog  # noqa: E402
from relsql.errors import TrainingError  # noqa: E402
from relsql.nn.graph_network import GraphNetwork, GraphTensors, NetworkConfig  # noqa: E402
from relsql.schema.declared.declare import declare_table  # noqa: E402
from relsql.training.pretraining.masked_rows import (  # noqa: E402
    MaskedRows,
    MaskedTable,
    chosen_seeds,
    masked_tables,
    usable_schema,
)
from relsql.training.pretraining.pretrain import PretrainOptions, pretrain  # noqa: E402
from relsql.training.pretraining.shared import share, shared_weights, start_from  # noqa: E402
from relsql.training.pretraining.weights import Weights, read_weights  # noqa: E402
from tests.relsql.training.pretraining.sources import weights  # noqa: E402

CHANNELS = 16


def create_probes(path: Path) -> None:
    """Each probe has its own level, which all its readings are near; `code` is an integer with few values.

    No table has text, and the key of repairs has two columns.
    """
    with duckdb.connect(str(path)) as con:
        con.execute(
            """
            CREATE TABLE probes (probe INTEGER PRIMARY KEY, height DOUBLE);
            INSERT INTO probes SELECT i, hash(i, 1) % 100 FROM range(40) t(i);
            CREATE TABLE readings (
                reading INTEGER PRIMARY KEY, probe INTEGER REFERENCES probes (probe), level DOUBLE, code INTEGER,
                seen TIMESTAMP);
            INSERT INTO readings
            SELECT 40 * j + i, i, (i * 7 % 40) + hash(i, j) % 100 / 100, i * 7 % 4,
                TIMESTAMP '2020-01-01' + to_days(j::INTEGER)
            FROM range(40) t(i), range(12) u(j);
            CREATE TABLE repairs (
                probe INTEGER REFERENCES probes (probe), year INTEGER, price DOUBLE, PRIMARY KEY (probe, year));
            INSERT INTO repairs SELECT i, 2020, i * 10 FROM range(20) t(i);
            """
        )
        declare_table(con, current_catalog(con), "readings", time_column="seen")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MaskedTable]:
    path = tmp_path_factory.mktemp("probes") / "probes.duckdb"
    create_probes(path)
    with duckdb.connect(str(path), read_only=True) as con, task_cursor(con, "probes") as cursor:
        schema, inputs = usable_schema(cursor, "probes", str(path))
        return {found.table: found for found in masked_tables(cursor, "probes", schema, inputs, fanout=8)}


@pytest.fixture
def rows(tables: dict[str, MaskedTable]) -> Iterator[MaskedRows]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield MaskedRows(tables["readings"], np.zeros((1, 4), dtype=np.float32), CHANNELS)


def test_all_linked_tables_with_numbers_are_seeds(tables: dict[str, MaskedTable]) -> None:
    assert {name: len(table.seeds) for name, table in tables.items()} == {"readings": 480, "probes": 40, "repairs": 20}
    # A probe has no time: it is asked about at several moments.
    assert len(np.unique(tables["probes"].seeds.as_of_days)) > 5


def test_a_database_without_text_is_enough(tmp_path: Path) -> None:
    create_probes(tmp_path / "probes.duckdb")
    options = PretrainOptions(encoder_steps=1, steps=3, channels=CHANNELS, fanout=4, threads=1)
    manifest = pretrain([tmp_path / "probes.duckdb"], tmp_path / "weights", options=options)
    assert "encoder_loss" not in manifest.metrics and manifest.metrics["network_loss"] > 0
    assert read_weights(tmp_path / "weights").tokenizer.size == manifest.vocabulary


def test_the_numbers_of_the_seeds_reach_the_network_nowhere(rows: MaskedRows) -> None:
    rows.eval()
    batch = rows.batches.take(np.arange(30)).tensors
    masked, truth = rows._masked(batch)
    own = batch.paths[0].rows[0][batch.paths[0].places[:, 0] - 1] - 1
    position = rows.network.tables.index("readings")
    numbers, categories = batch.tables[position].numbers.clone(), batch.tables[position].categories.clone()
    assert torch.isfinite(truth).all() and torch.equal(numbers[own], truth)
    numbers[own], categories[own] = 1e3, 1
    others = [*batch.tables[:position], batch.tables[position]._replace(numbers=numbers, categories=categories)]
    others += batch.tables[position + 1 :]
    changed, its_truth = rows._masked(GraphTensors(batch.embeddings, others, batch.paths))
    with torch.no_grad():
        assert torch.equal(rows.network(changed), rows.network(masked)) and (its_truth == 1e3).all()
        # The other rows do count.
        assert not torch.equal(rows.network(batch), rows.network(masked))


def test_numbers_are_learned_from_the_rows_around(rows: MaskedRows) -> None:
    random, optimizer = np.random.default_rng(0), torch.optim.AdamW(rows.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = rows.loss(chosen_seeds(rows, 120, random))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # Standardised numbers have a mean square of 1, which is the loss of a network that knows nothing.
    assert np.mean(losses[-10:]) < 0.6 < 0.9 < losses[0]


def test_parts_are_shared_between_networks_and_copied_into_others(tables: dict[str, MaskedTable]) -> None:
    one, two, fresh = (
        GraphNetwork(tables[name].layouts, NetworkConfig(CHANNELS, (4,))) for name in ("readings", "probes", "probes")
    )
    parts: dict[str, torch.nn.Module] = {}
    share(one, parts)
    share(two, parts)
    assert one.norm is two.norm and one.path(0).root is two.path(0).root
    number_map = fresh.encoder("probes").number_map.weight.clone()
    start_from(fresh, weights(shared_weights(parts), CHANNELS))
    assert torch.equal(fresh.path(1).convolution.lin_l.weight, two.path(1).convolution.lin_l.weight)
    assert torch.equal(fresh.path(0).root.weight, one.path(0).root.weight)
    assert torch.equal(fresh.encoder("probes").number_map.weight, number_map)
    # Copies, so that training does not change the weights.
    assert fresh.norm is not two.norm


def test_weights_of_another_width_are_refused(tables: dict[str, MaskedTable]) -> None:
    network = GraphNetwork(tables["probes"].layouts, NetworkConfig(CHANNELS, (4,)))
    other: Weights = weights({}, 64)
    with pytest.raises(TrainingError, match="have 64 channels, this network has 16.*--channels 64"):
        start_from(network, other)
