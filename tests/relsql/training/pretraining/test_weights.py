"""A folder of weights: what is written is read, damage is noticed, and nothing is replaced or left half-written."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from relsql.errors import ArtifactError, TrainingError  # noqa: E402
from relsql.training.pretraining import weights as module  # noqa: E402
from relsql.training.pretraining.weights import MANIFEST, read_manifest, read_weights, write_weights  # noqa: E402
from tests.relsql.training.pretraining.sources import weights  # noqa: E402

FILES = ["encoder.safetensors", "manifest.json", "network.safetensors", "tokenizer.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_weights(tmp_path / "weights", weights({"norm.weight": torch.arange(3.0)}, 8))
    return tmp_path / "weights"


def test_what_is_written_is_read(folder: Path) -> None:
    written, found = weights({"norm.weight": torch.arange(3.0)}, 8), read_weights(folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert (
        torch.equal(found.network["norm.weight"], torch.arange(3.0)) and found.tokenizer.json == written.tokenizer.json
    )
    state = found.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in written.model.state_dict().items())
    assert found.manifest.sources == ("a", "b") and found.manifest.digest == read_manifest(folder).digest


def test_equal_weights_have_equal_digests_and_others_do_not(folder: Path, tmp_path: Path) -> None:
    same = write_weights(tmp_path / "same", weights({"norm.weight": torch.arange(3.0)}, 8))
    other = write_weights(tmp_path / "other", weights({"norm.weight": torch.ones(3)}, 8))
    assert same == read_manifest(folder) and other.digest != same.digest


@settings(max_examples=30)
@given(name=st.sampled_from(FILES), share=st.floats(0, 1, exclude_max=True))
def test_any_damaged_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, name: str, share: float) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "weights"
    write_weights(folder, weights({"norm.weight": torch.arange(3.0)}, 8))
    content = bytearray((folder / name).read_bytes())
    content[int(share * len(content))] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"is damaged|of format"):
        read_weights(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_noticed(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises((ArtifactError, TrainingError), match=r"is damaged|holds no pre-trained weights"):
        read_weights(folder)


def test_another_format_is_named(folder: Path) -> None:
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest | {"format": 2, "more": 1}))
    with pytest.raises(ArtifactError, match=r"are of format 2.*Expected: format 1.*Fix: relsql pretrain"):
        read_weights(folder)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"there is no folder .*Fix: relsql pretrain"):
        read_manifest(tmp_path / "none")


def test_nothing_is_replaced_without_overwrite(folder: Path) -> None:
    before = read_manifest(folder)
    with pytest.raises(TrainingError, match="exists already"):
        write_weights(folder, weights({}, 16))
    assert read_manifest(folder) == before
    assert write_weights(folder, weights({}, 16), overwrite=True) == read_manifest(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("keep")
    with pytest.raises(TrainingError, match="is not replaced"):
        write_weights(tmp_path / "notes", weights({}, 8), overwrite=True)
    with pytest.raises(TrainingError, match="there is no folder"):
        write_weights(tmp_path / "none" / "weights", weights({}, 8))
    assert (tmp_path / "notes" / "todo.txt").read_text() == "keep"


@pytest.mark.parametrize("files", [{"manifest.json": "{}"}, {"manifest.json": "{}", "tokenizer.json": "{}"}])
def test_files_of_others_with_the_names_of_weights_stay(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "package").mkdir()
    for name, text in files.items():
        (tmp_path / "package" / name).write_text(text)
    with pytest.raises(TrainingError, match="is not replaced"):
        write_weights(tmp_path / "package", weights({}, 8), overwrite=True)
    assert {path.name: path.read_text() for path in (tmp_path / "package").iterdir()} == files


@pytest.mark.parametrize("name", ["thesis.txt", "notes/todo.txt"])
def test_what_was_put_beside_weights_stays(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("keep")
    with pytest.raises(TrainingError, match="is not replaced"):
        write_weights(folder, weights({}, 16), overwrite=True)
    assert (folder / name).read_text() == "keep"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, b"damaged"])
def test_damaged_weights_are_replaced_as_their_message_says(folder: Path, name: str, content: bytes | None) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    if content is None and name == MANIFEST:
        with pytest.raises(TrainingError, match="is not replaced"):
            write_weights(folder, weights({}, 16), overwrite=True)
    else:
        assert write_weights(folder, weights({}, 16), overwrite=True) == read_manifest(folder)


@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_leaves_no_half_written_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    folder = tmp_path / "weights"
    before = write_weights(folder, weights({}, 8)) if exists else None

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_digest", full)
        with pytest.raises(TrainingError, match="No space left"):
            write_weights(folder, weights({}, 16), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == (["weights"] if exists else [])
    assert not exists or read_manifest(folder) == before
