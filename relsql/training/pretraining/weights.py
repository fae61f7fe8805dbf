"""Pre-trained weights as a folder: two safetensors files, the tokenizer, and a manifest with digests of all.

manifest.json          versions, dimensions, sources, options, digests
tokenizer.json         the tokenizer of the row encoder
encoder.safetensors    the row encoder, a BART
network.safetensors    the shared parts of the graph network, see `relsql.training.pretraining.shared`
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from relsql.database.drafts import drafted_folder, is_taken
from relsql.errors import ArtifactError, TrainingError
from relsql.hints import command

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BartForConditionalGeneration

    from relsql.text.tokenizer import RowTokenizer

WEIGHTS_FORMAT = 1
"""Increased whenever other code could misread the weights: their names, or what a part of the network computes."""

MANIFEST = "manifest.json"
TOKENIZER, ENCODER, NETWORK = "tokenizer.json", "encoder.safetensors", "network.safetensors"
_FILES = frozenset((MANIFEST, TOKENIZER, ENCODER, NETWORK))


class _Format(msgspec.Struct):
    """The part of a manifest that every version has."""

    format: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder of weights holds.

    Attributes:
        format: version of the folder's format.
        relsql_version: version of the relsql that wrote it.
        versions: versions of the libraries.
        sources: names of the databases.
        channels: width of the graph network.
        vocabulary: number of token ids.
        width: width of the row encoder.
        options: options of the run.
        metrics: losses of both parts.
        sha256: digests of the other files by name.
        digest: SHA-256 of all of the above.
    """

    format: int
    relsql_version: str
    versions: dict[str, str]
    sources: tuple[str, ...]
    channels: int
    vocabulary: int
    width: int
    options: dict[str, int | None]
    metrics: dict[str, float]
    sha256: dict[str, str]
    digest: str = ""

    def sealed(self) -> Manifest:
        """The same with its digest."""
        plain = msgspec.structs.replace(self, digest="")
        content = msgspec.json.encode(plain, order="deterministic")
        return msgspec.structs.replace(self, digest=hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class Weights:
    """Pre-trained weights in memory."""

    model: BartForConditionalGeneration
    tokenizer: RowTokenizer
    network: dict[str, Tensor]
    manifest: Manifest


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of a folder of weights, and compare all files with it.

    Raises:
        TrainingError: there is no such folder, or it holds no weights.
        ArtifactError: the weights are damaged, or of another format.
    """
    folder = Path(folder)
    path, again = folder / MANIFEST, command("pretrain", "A.duckdb", "B.duckdb", "--output", folder, "--overwrite")
    if not path.is_file():
        what = (
            f"folder '{folder}' holds no pre-trained weights" if folder.is_dir() else f"there is no folder '{folder}'"
        )
        raise TrainingError(what, expected="a folder written by relsql pretrain", fix=again)
    try:
        content = path.read_bytes()
        found = msgspec.json.decode(content, type=_Format).format
        if found != WEIGHTS_FORMAT:
            raise ArtifactError(
                f"the weights in '{folder}' are of format {found}", expected=f"format {WEIGHTS_FORMAT}", fix=again
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ArtifactError(f"file '{path}' is damaged: {error}", fix=again) from error
    intact = manifest == manifest.sealed() and set(manifest.sha256) == {TOKENIZER, ENCODER, NETWORK}
    damaged = [name for name, digest in manifest.sha256.items() if _digest(folder / name) != digest]
    for name in damaged if intact else [MANIFEST]:
        raise ArtifactError(f"file '{folder / name}' is damaged", expected="the digest in its manifest", fix=again)
    return manifest


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(folder: str | Path) -> Weights:
    """Read pre-trained weights; the errors are those of `read_manifest`."""
    import torch
    from safetensors.torch import load_file

    from relsql.nn.row_encoder import compact_config, new_model
    from relsql.text.tokenizer import RowTokenizer

    folder, manifest = Path(folder), read_manifest(folder)
    model = new_model(compact_config(manifest.vocabulary, d_model=manifest.width), seed=0)
    targets = _untied(model)
    with torch.no_grad():
        for name, value in load_file(folder / ENCODER).items():
            targets[name].copy_(value)
    return Weights(model, RowTokenizer((folder / TOKENIZER).read_bytes()), load_file(folder / NETWORK), manifest)


def _untied(model: BartForConditionalGeneration) -> dict[str, Tensor]:
    """The weights of a model by name, in the model's memory; those that several parts share occur once."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, value in model.state_dict().items():
        found.setdefault(value.data_ptr(), (name, value))
    return dict(found.values())


def require_free_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that weights may be written to a folder.

    Raises:
        TrainingError: it exists, and may not be replaced or holds something else; or there is no folder to put it in.
    """
    if not folder.absolute().parent.is_dir():
        raise TrainingError(f"there is no folder '{folder.absolute().parent}'", expected="a place for the weights")
    if not is_taken(folder):
        return
    if not overwrite:
        fix = command("pretrain", "A.duckdb", "B.duckdb", "--output", folder, "--overwrite")
        raise TrainingError(f"'{folder}' exists already", expected="a new folder, or --overwrite", fix=fix)
    if folder.is_symlink() or not _holds_only_weights(folder):
        raise TrainingError(
            f"'{folder}' is not replaced: it is not a folder of pre-trained weights with nothing else in it",
            expected="a new folder",
        )


def _holds_only_weights(folder: Path) -> bool:
    """True if relsql wrote all that a folder holds: weights as a whole, damaged ones, or a part of them.

    Others call a file manifest.json or tokenizer.json too, so names are evidence only where all four are there.
    """
    if not folder.is_dir() or not {path.name for path in folder.iterdir()} <= _FILES:
        return False
    if all((folder / name).is_file() for name in _FILES):
        return True
    try:
        msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return False
    return True


def write_weights(folder: Path, weights: Weights, *, overwrite: bool = False) -> Manifest:
    """Write weights to a draft beside the folder and rename it at the end; the digests of the manifest are filled in.

    Raises:
        TrainingError: as `require_free_folder`, or the disk cannot be written.
    """
    from safetensors.torch import save

    require_free_folder(folder, overwrite=overwrite)
    folder = folder.absolute()
    try:
        with drafted_folder(folder, partial(require_free_folder, folder, overwrite=overwrite)) as draft:
            (draft / ENCODER).write_bytes(save(_untied(weights.model)))
            (draft / NETWORK).write_bytes(save(weights.network))
            (draft / TOKENIZER).write_text(weights.tokenizer.json, encoding="utf-8")
            digests = {name: cast(str, _digest(draft / name)) for name in (TOKENIZER, ENCODER, NETWORK)}
            manifest = msgspec.structs.replace(weights.manifest, sha256=digests).sealed()
            (draft / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    except OSError as error:
        raise TrainingError(f"the weights could not be written to '{folder}': {error.strerror or error}") from error
    return manifest
