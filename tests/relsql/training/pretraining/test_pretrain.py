"""Pre-training on two databases, and training that starts from the weights."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from relsql.cli import cli  # noqa: E402
from relsql.database.names import current_catalog  # noqa: E402
from relsql.demo.league import create_league  # noqa: E402
from relsql.errors import ArtifactError, TrainingError  # noqa: E402
from relsql.registry.cards.reading import read_card_text  # noqa: E402
from relsql.training.encoder.fit_encoder import _start  # noqa: E402
from relsql.training.fingerprint import training_fingerprint  # noqa: E402
from relsql.training.fitting.fit_network import new_modules  # noqa: E402
from relsql.training.plan import make_plan  # noqa: E402
from relsql.training.pretraining.pretrain import PretrainOptions, pretrain  # noqa: E402
from relsql.training.pretraining.weights import read_manifest, read_weights  # noqa: E402
from relsql.training.train import train  # noqa: E402
from tests.shop import QUICK, TASK, create_shop  # noqa: E402

OPTIONS = PretrainOptions(encoder_steps=2, steps=6, channels=16, fanout=4, threads=1)


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("databases")
    create_shop(folder / "shop.duckdb")
    create_league(folder / "league.duckdb", seasons=4)
    return [folder / "shop.duckdb", folder / "league.duckdb"]


@pytest.fixture(scope="module")
def weights(databases: list[Path]) -> Path:
    output = databases[0].parent / "weights"
    pretrain(databases, output, options=OPTIONS)
    return output


@pytest.fixture
def con(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    create_shop(tmp_path / "shop.duckdb")
    return duckdb.connect(str(tmp_path / "shop.duckdb"))


def test_the_weights_depend_on_the_databases_and_the_options_only(databases: list[Path], tmp_path: Path) -> None:
    content, options = databases[0].read_bytes(), replace(OPTIONS, steps=2)
    first = pretrain(databases[:1], tmp_path / "weights", options=options)
    twice = [databases[0], databases[0]]
    assert pretrain(twice, tmp_path / "weights", options=options, overwrite=True) == first
    assert pretrain(twice, tmp_path / "other", options=replace(options, seed=1)).digest != first.digest
    assert databases[0].read_bytes() == content


def test_only_parts_without_a_schema_are_stored(weights: Path) -> None:
    found = read_weights(weights)
    assert (found.manifest.sources, found.manifest.channels) == (("shop", "league"), 16)
    names = {name.rpartition(".")[0] for name in found.network}
    assert {name.rstrip("0123456789") for name in names} == {"norm", "table.norm"} | {
        f"{kind}.{part}" for kind in ("row", "rows") for part in ("root", "lookup", "ages_", "convolution_")
    }


def test_training_starts_from_the_weights_and_the_card_names_them(
    con: duckdb.DuckDBPyConnection, weights: Path
) -> None:
    options = replace(QUICK, pretrained=str(weights))
    with closing(con):
        model = train(con, "customer-churn", name="churn", options=options)
        assert not model.reused and train(con, "customer-churn", name="churn", options=options).reused
        [(text,)] = con.execute("SELECT card FROM relsql.models").fetchall()
    found = read_card_text(text).options
    assert (found["pretrained"], found["pretrained_digest"]) == (str(weights), read_manifest(weights).digest)


def test_the_first_step_has_the_weights(con: duckdb.DuckDBPyConnection, weights: Path) -> None:
    options, stored = replace(QUICK, pretrained=str(weights)), read_weights(weights)
    with closing(con):
        plan = make_plan(con, current_catalog(con), TASK)
        network, _ = new_modules(plan, (128, 4), options)
    assert torch.equal(network.norm.weight, stored.network["norm.weight"])
    assert torch.equal(network.path(0).root.weight, stored.network["row.root.weight"])
    model, tokenizer = _start([], options)
    assert tokenizer.json == stored.tokenizer.json
    assert torch.equal(model.get_input_embeddings().weight, stored.model.get_input_embeddings().weight)


def test_the_content_of_the_weights_is_part_of_a_request(
    con: duckdb.DuckDBPyConnection, databases: list[Path], tmp_path: Path
) -> None:
    def request(folder: Path | None) -> str:
        options = replace(QUICK, pretrained=str(folder) if folder else None)
        return training_fingerprint(con, current_catalog(con), TASK, options).sha256

    folder, found = tmp_path / "weights", [request(None)]
    with closing(con):
        for seed in (0, 1):
            pretrain(databases[:1], folder, options=replace(OPTIONS, seed=seed, steps=1), overwrite=True)
            found.append(request(folder))
        assert len(set(found)) == 3
        moved = folder.rename(tmp_path / "moved")
        assert request(moved) == found[-1]
        with (moved / "network.safetensors").open("ab") as file:
            file.write(b"0")
        with pytest.raises(ArtifactError, match=r"network.safetensors' is damaged"):
            request(moved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pretrained": "nowhere"}, "there is no folder 'nowhere'"),
        ({"channels": 32}, "16 channels, this network has 32"),
        ({"encoder": "some/bart"}, "both encoder 'some/bart' and pre-trained weights"),
    ],
)
def test_what_does_not_fit_is_an_error(
    con: duckdb.DuckDBPyConnection, weights: Path, change: dict[str, object], message: str
) -> None:
    with closing(con), pytest.raises(TrainingError, match=message):
        train(con, "customer-churn", name="churn", options=replace(replace(QUICK, pretrained=str(weights)), **change))


def test_a_database_without_links_is_an_error(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "plain.duckdb")) as con:
        con.execute("CREATE TABLE numbers AS SELECT i FROM range(5) t(i)")
    with pytest.raises(TrainingError, match=r"plain.duckdb' has no schema to learn from.*Fix: relsql init"):
        pretrain([tmp_path / "plain.duckdb"], tmp_path / "weights", options=OPTIONS)
    with pytest.raises(TrainingError, match="there are no databases"):
        pretrain([], tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_the_command(databases: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "weights"
    arguments = ["pretrain", str(databases[0]), "--output", str(output), "--steps", "1", "--encoder-steps", "1"]
    result = CliRunner().invoke(cli, [*arguments, "--channels", "8", "--threads", "1"])
    assert result.exit_code == 0, result.stderr
    manifest = read_manifest(output)
    assert result.stdout.split("\t")[:2] == [str(output), manifest.digest[:12]] and manifest.channels == 8
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 1 and "exists already" in again.stderr and "--overwrite" in again.stderr
    assert read_manifest(output) == manifest
