"""Bundles that are damaged, of another format or hostile: one clear error each, and nothing is changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import relsql
from relsql.bundles.bundle import read_bundle
from relsql.bundles.manifest import MANIFEST, FileEntry, Manifest, write_manifest
from relsql.cli import cli
from relsql.errors import ArtifactError, DatabaseError, RelsqlError
from relsql.registry.cards.card import CARD_FORMAT
from tests.odd_data import create_market
from tests.relsql.registry.components.test_component_checks import endless_loop, model
from tests.shop import contents

Connection = duckdb.DuckDBPyConnection
EMBEDDINGS = "row_embeddings.parquet"


@pytest.fixture(scope="module")
def target() -> Iterator[Connection]:
    """A database with the tables, in which nothing may change."""
    with duckdb.connect() as con:
        create_market(con)
        before = contents(con)
        yield con
        assert contents(con) == before


def refused(con: Connection, bundle: Path, match: str, error: type[RelsqlError] = ArtifactError) -> RelsqlError:
    with pytest.raises(error, match=match) as caught:
        relsql.import_model(con, bundle)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    return caught.value


def forge(bundle: Path, changes: dict[str, bytes | None], **fields: object) -> None:
    """Change files, and state their new sizes and digests where the format has them, as an attacker would."""
    for name, content in changes.items():
        if content is None:
            (bundle / name).unlink()
        else:
            (bundle / name).write_bytes(content)
    manifest = msgspec.json.decode((bundle / MANIFEST).read_bytes(), type=Manifest)
    card_path = bundle / "card.json"
    if card_path.exists() and changes.keys() - {"card.json"}:
        card = json.loads(card_path.read_text())
        for name in card["sha256"].keys() & changes.keys():
            card["sha256"][name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
        card_path.write_text(json.dumps(card))
    files = {file.name: entry_of(file) for file in bundle.iterdir() if file.name != MANIFEST}
    values = {"model": manifest.model, "version": manifest.version, "texts": manifest.texts, "files": files} | fields
    (bundle / MANIFEST).write_bytes(write_manifest(**values))  # type: ignore[arg-type]


def entry_of(path: Path) -> FileEntry:
    content = path.read_bytes()
    return FileEntry(len(content), hashlib.sha256(content).hexdigest())


def test_a_forged_bundle_that_changes_nothing_is_imported(bundle: Path, other: Connection) -> None:
    """Digests find damage, they prove nothing: the tests below would otherwise only test digests."""
    forge(bundle, {})
    assert relsql.import_model(other, bundle).version == 1


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_refused(exported: Path, target: Connection, tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(file.name for file in exported.iterdir())))
    content = (exported / name).read_bytes()
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, min(len(content), start + 64)))
    put = data.draw(st.binary(max_size=64))
    changed = content[:start] + put + content[end:]
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(exported, folder)
    (folder / name).write_bytes(changed)
    if changed == content:
        read_bundle(folder)
    else:
        refused(target, folder, "bundle '.*damaged' (is damaged|has format)")


def test_every_file_is_needed_and_none_may_be_cut(exported: Path, target: Connection, tmp_path: Path) -> None:
    for file in exported.iterdir():
        for cut in (None, 0, file.stat().st_size // 2, file.stat().st_size - 1):
            folder = tmp_path / "cut"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(exported, folder)
            if cut is None:
                (folder / file.name).unlink()
            else:
                os.truncate(folder / file.name, cut)
            refused(target, folder, f"{file.name}.* (is missing|has|cannot be read)")


def test_an_extra_file_is_refused(bundle: Path, target: Connection) -> None:
    (bundle / ".DS_Store").write_text("x")
    refused(target, bundle, "'.DS_Store' in it is not in")


def test_a_newer_format_is_refused_before_anything_else_is_read(bundle: Path, target: Connection) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({"format": 2, "parts": []}))
    assert "pip install --upgrade relsql" in str(refused(target, bundle, "has format 2, this relsql reads up to 1"))
    card = json.loads((bundle / "card.json").read_text()) | {"format": CARD_FORMAT + 1}
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    forge(bundle, {"card.json": json.dumps(card).encode()})
    assert "pip install --upgrade relsql" in str(refused(target, bundle, f"card has format {CARD_FORMAT + 1}"))


@pytest.mark.parametrize(
    "name",
    [
        *("../x.json", "../../x.json", "/etc/passwd", "a/b.json", "a\\b.json", "C:x.json", "Card.json", "card.JSON"),
        *(
            "",
            ".",
            "..",
            "card.json ",
            "card.json\0",
            "card.json\n",
            "x.pkl",
            "x.duckdb",
            "é.json",
            "a" * 300 + ".json",
        ),
    ],
)
def test_hostile_names_are_refused(bundle: Path, target: Connection, name: str) -> None:
    forge(bundle, {}, files={name: FileEntry(1, "0" * 64)})
    refused(target, bundle, "names the file .*, which no bundle has")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=12), st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4))
def test_no_list_of_files_leads_out_of_the_folder(exported: Path, tmp_path: Path, listed: dict[str, int]) -> None:
    folder = tmp_path / "listed"
    folder.mkdir(exist_ok=True)
    entries = {name: FileEntry(size, "0" * 64) for name, size in listed.items()}
    (folder / MANIFEST).write_bytes(write_manifest("m", 1, 1, entries))
    with pytest.raises(ArtifactError):
        read_bundle(folder)


@pytest.mark.parametrize("size", [-1, 2**40 + 1, 2**62])
@pytest.mark.parametrize("name", ["card.json", "graph.onnx", "tokenizer.json", EMBEDDINGS])
def test_huge_sizes_are_refused(bundle: Path, target: Connection, name: str, size: int) -> None:
    forge(bundle, {}, files={name: FileEntry(size, "0" * 64)})
    refused(target, bundle, "bytes. Expected: at most")


def test_a_sparse_file_is_refused_by_its_size(bundle: Path, target: Connection) -> None:
    for name in ("card.json", MANIFEST):
        content = (bundle / name).read_bytes()
        os.truncate(bundle / name, 2**36)
        refused(target, bundle, f"{name}.*68,719,476,736 bytes")
        (bundle / name).write_bytes(content)


@pytest.mark.parametrize("name", ["card.json", "graph.onnx", EMBEDDINGS, MANIFEST])
@pytest.mark.parametrize("kind", ["symbolic link", "folder", "pipe"])
def test_only_files_are_opened(bundle: Path, target: Connection, name: str, kind: str) -> None:
    moved = bundle.with_name("moved")
    shutil.move(bundle / name, moved)
    if kind == "symbolic link":
        (bundle / name).symlink_to(moved)
    elif kind == "folder":
        (bundle / name).mkdir()
    else:
        os.mkfifo(bundle / name)
    refused(target, bundle, "is a link, a folder or a device")


def test_what_is_no_bundle_is_named_as_one(tmp_path: Path, target: Connection) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "nowhere", tmp_path / "file", tmp_path, Path("a\0b")):
        refused(target, path, "is not a folder|has no relsql-bundle.json|cannot be read", DatabaseError)


Changed = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("card.json", lambda c: c.update(schema={}), "other fields"),
        ("card.json", lambda c: c.update(paths=[]), "other fields"),
        ("plan.json", lambda c: c.update(name="x"), "other fields"),
        ("plan.json", lambda c: c.pop("inputs"), "other fields"),
        ("card.json", lambda c: c.update(evil=1), "unknown field"),
        ("card.json", lambda c: c.update(name="other"), "its card is that of other@1"),
        ("card.json", lambda c: c.update(channels=2**40), "channels is"),
        ("card.json", lambda c: c["encoder"].update(width=7), "row_embedding|component|encoder"),
        ("card.json", lambda c: c["sha256"].pop("head.onnx"), "disagree about the file 'head.onnx'"),
        ("card.json", lambda c: c["sha256"].update({"head.onnx": "0" * 64}), "different digests of 'head.onnx'"),
        ("plan.json", lambda c: c["paths"].pop(), "a statistic names .*, which it does not describe"),
        ("plan.json", lambda c: c["paths"][1].update(name="a'; DROP TABLE orders; --"), "cannot be the name of a path"),
        ("schema.json", lambda c: c["tables"].pop("orders"), "orders"),
        ("schema.json", lambda c: c["tables"]["orders"].update(name="lines"), "is called|fingerprint"),
    ],
)
def test_cards_pass_the_checks_of_a_file(
    bundle: Path, target: Connection, file: str, change: Changed, problem: str
) -> None:
    content = json.loads((bundle / file).read_text())
    change(content)
    forge(bundle, {file: json.dumps(content).encode()})
    refused(target, bundle, problem)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"[" * 100_000, b'{"a": 1} x', b'"\xff"', b"{}"])
@pytest.mark.parametrize("file", ["card.json", "plan.json", "schema.json"])
def test_other_json_is_refused(bundle: Path, target: Connection, file: str, content: bytes) -> None:
    forge(bundle, {file: content} if file != "card.json" else {"card.json": content})
    refused(target, bundle, "is damaged")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("graph.onnx", endless_loop().SerializeToString(), "Loop|subgraph"),
        ("head.onnx", model(onnx.helper.make_node("Relu", ["x"], ["y"])).SerializeToString(), "input 'x'"),
        ("encoder.onnx", b"garbage", "is not an ONNX model"),
        ("graph.onnx", b"", "is not an ONNX model|holds 0 graphs"),
        ("tokenizer.json", b"{}", "tokenizer.json"),
        ("tokenizer.json", b"[" * 100_000, "tokenizer.json"),
    ],
)
def test_components_pass_the_checks_of_a_file(
    bundle: Path, target: Connection, name: str, content: bytes, problem: str
) -> None:
    forge(bundle, {name: content})
    refused(target, bundle, problem)


def test_a_file_that_no_model_has_is_refused_even_if_it_is_listed(bundle: Path, target: Connection) -> None:
    forge(bundle, {"evil.onnx": endless_loop().SerializeToString()})
    refused(target, bundle, "disagree about the file 'evil.onnx'")
    card = json.loads((bundle / "card.json").read_text())
    card["sha256"]["evil.onnx"] = hashlib.sha256((bundle / "evil.onnx").read_bytes()).hexdigest()
    forge(bundle, {"card.json": json.dumps(card).encode()})
    refused(target, bundle, "'evil.onnx' is not part of the model")


class TestEmbeddings:
    @pytest.fixture
    def table(self, bundle: Path) -> pa.Table:
        return pq.read_table(bundle / EMBEDDINGS)

    def replaced(self, bundle: Path, table: pa.Table, texts: int | None = None, **options: Any) -> None:
        options = {"compression": "NONE", "use_dictionary": False} | options
        pq.write_table(table, bundle / EMBEDDINGS, **options)
        forge(bundle, {}, texts=table.num_rows if texts is None else texts)

    def test_no_rows_are_allowed(self, bundle: Path, table: pa.Table, other: Connection) -> None:
        self.replaced(bundle, table.slice(0, 0))
        assert relsql.import_model(other, bundle).texts == 0

    def test_a_text_twice(self, bundle: Path, table: pa.Table, target: Connection) -> None:
        self.replaced(bundle, pa.concat_tables([table, table.slice(0, 1)]))
        refused(target, bundle, "has a text twice")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_numbers_that_are_not_finite(self, bundle: Path, table: pa.Table, target: Connection, value: float) -> None:
        type_ = table.schema.field("embedding").type
        flat = np.full(table.num_rows * type_.list_size, value, dtype=np.float32)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=type_)
        self.replaced(bundle, pa.table([table.column("text"), vectors], schema=table.schema))
        refused(target, bundle, "missing")

    def test_texts_that_are_not_utf8(self, bundle: Path, table: pa.Table, target: Connection) -> None:
        texts = pa.array([b"\xff" + str(i).encode() for i in range(table.num_rows)], pa.binary())
        bad = pa.Array.from_buffers(pa.string(), len(texts), texts.buffers())
        self.replaced(bundle, pa.table([bad, table.column("embedding")], schema=table.schema))
        refused(target, bundle, "cannot be read: .*UTF8")

    def test_other_columns(self, bundle: Path, table: pa.Table, target: Connection) -> None:
        width = table.schema.field("embedding").type.list_size
        for other in (
            table.select(["text"]),
            table.append_column("x", table.column("text")),
            table.rename_columns(["embedding", "text"]),
            table.cast(pa.schema([("text", pa.string()), ("embedding", pa.list_(pa.float32(), width))])),
            pa.table({"text": table.column("text"), "embedding": table.column("text")}),
        ):
            self.replaced(bundle, other)
            refused(target, bundle, "has other columns")

    def test_compressed_files_are_refused_because_their_size_says_nothing(
        self, bundle: Path, table: pa.Table, target: Connection
    ) -> None:
        for options in ({"compression": "zstd"}, {"use_dictionary": True}):
            self.replaced(bundle, table, **options)
            refused(target, bundle, "is compressed")

    def test_another_number_of_rows(self, bundle: Path, table: pa.Table, target: Connection) -> None:
        self.replaced(bundle, table, texts=table.num_rows + 1)
        refused(target, bundle, "rows, not the")

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_damage_with_a_right_digest_is_refused_or_harmless(
        self, exported: Path, tmp_path: Path, data: st.DataObject
    ) -> None:
        folder = tmp_path / "forged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(exported, folder)
        content = bytearray((folder / EMBEDDINGS).read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        forge(folder, {EMBEDDINGS: bytes(content)})
        bundle = read_bundle(folder)
        try:
            rows = sum(len(texts) for texts, _ in bundle.embeddings())
        except ArtifactError:
            return
        assert rows == bundle.folder.manifest.texts


def test_a_read_only_target_is_refused(exported: Path, market: Path) -> None:
    with duckdb.connect(str(market), read_only=True) as con:
        refused(con, exported, "is read-only, but importing a model writes to it", DatabaseError)


def test_the_error_on_the_command_line_is_one_line(bundle: Path, market: Path) -> None:
    (bundle / "head.onnx").write_bytes(b"x")
    done = CliRunner().invoke(cli, ["import", str(bundle), str(market)])
    assert done.exit_code == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "relsql export ORIGINAL.duckdb MODEL --output" in done.stderr


def test_a_user_s_schema_relsql_is_not_written_to(exported: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as con:
        con.execute("CREATE SCHEMA relsql; CREATE TABLE relsql.models (mine INTEGER)")
        refused(con, exported, "was not made by relsql", DatabaseError)


def test_an_import_that_fails_late_changes_nothing(
    exported: Path, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relsql.bundles import import_model as module

    def fail(*_: object) -> None:
        raise duckdb.IOException("IO Error: Could not write file: No space left on device")

    before = contents(other)
    monkeypatch.setattr(module, "add_embeddings", fail)
    with pytest.raises(DatabaseError):
        relsql.import_model(other, exported)
    assert contents(other) == before


def test_a_target_with_tables_of_an_older_build_gets_the_new_columns(exported: Path, market: Path) -> None:
    with duckdb.connect(str(market)) as con:
        for column in ("activated", "request", "sql_difference", "digest"):
            con.execute(f"ALTER TABLE relsql.models DROP COLUMN {column}")
        assert relsql.import_model(con, exported).version == 2
        assert relsql.attach(con)
        assert relsql.promote(con, "churn", 1).version == 1
