"""The manifest of a bundle: the version of its format, and the size and digest of each of its files.

A bundle may come from somebody else. So before any other file is opened, the names of files are matched against a
pattern that allows no folders, and their sizes are limited. See `docs/decisions/0031-bundles.md`.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from relsql.errors import ArtifactError
from relsql.hints import command
from relsql.registry.cards.checks import MAX_CARD_BYTES
from relsql.registry.components.component_checks import MAX_COMPONENT_BYTES
from relsql.text.tokenizer import MAX_TOKENIZER_BYTES
from relsql.version import __version__

BUNDLE_FORMAT = 1
"""Increased whenever an older relsql could misread a bundle."""

MANIFEST = "relsql-bundle.json"
CARD, SCHEMA, PLAN = "card.json", "schema.json", "plan.json"
TOKENIZER, EMBEDDINGS = "tokenizer.json", "row_embeddings.parquet"

MAX_MANIFEST_BYTES = 1_000_000
"""A model with a hundred paths has a manifest of 20 KB."""

MAX_EMBEDDING_BYTES = 2**40
"""Row embeddings are read in parts, so their limit only has to catch sizes that must be a mistake."""

_FILE_NAME = re.compile(r"[a-z0-9_]{1,80}( [a-z0-9_]{1,80})?\.(json|onnx|parquet)")
"""Lower case only, so that no two files are one where the file system ignores case."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the manifest says about a file."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest of a bundle.

    Attributes:
        format: version of the bundle's format.
        relsql_version: version of the relsql that wrote it.
        model, version: name and version of the model in the file that it was exported from.
        texts: number of row embeddings.
        files: all other files of the folder, by name.
        digest: SHA-256 of the manifest with an empty digest.
    """

    format: int
    relsql_version: str
    model: str
    version: int
    texts: int
    files: dict[str, FileEntry]
    digest: str = ""

    def encoded(self) -> bytes:
        """The manifest as JSON, keys in a fixed order."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def write_manifest(model: str, version: int, texts: int, files: dict[str, FileEntry]) -> bytes:
    """The manifest of the files of a bundle, as JSON."""
    manifest = Manifest(BUNDLE_FORMAT, __version__, model, version, texts, dict(sorted(files.items())))
    return msgspec.structs.replace(manifest, digest=_digest(manifest)).encoded()


def read_manifest(content: bytes, folder: Path) -> Manifest:
    """Read a manifest and check it.

    Raises:
        ArtifactError: it was written by a newer relsql or is damaged, a name is not one of a bundle's files, or a size
            is beyond its limit.
    """
    try:
        found = msgspec.json.decode(content, type=_Format).format
        if found > BUNDLE_FORMAT:
            raise ArtifactError(
                f"bundle '{folder}' has format {found}, this relsql reads up to {BUNDLE_FORMAT}",
                fix="pip install --upgrade relsql",
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise damaged(folder, f"its {MANIFEST} cannot be read: {error}") from error
    for name, entry in manifest.files.items():
        if not _FILE_NAME.fullmatch(name):
            raise damaged(folder, f"its {MANIFEST} names the file {name!r}, which no bundle has")
        if not 0 <= entry.bytes <= max_bytes(name):
            raise damaged(folder, f"its file '{name}' has {entry.bytes:,} bytes", f"at most {max_bytes(name):,}")
    # The digest covers the text, not only the values in it, because any changed byte is damage.
    if manifest.digest != _digest(manifest) or manifest.encoded() != content:
        raise damaged(folder, f"its {MANIFEST} is not as relsql wrote it")
    return manifest


def max_bytes(name: str) -> int:
    """The limit for the size of a file of a bundle."""
    limits = {MANIFEST: MAX_MANIFEST_BYTES, TOKENIZER: MAX_TOKENIZER_BYTES, EMBEDDINGS: MAX_EMBEDDING_BYTES}
    return limits.get(name, MAX_COMPONENT_BYTES if name.endswith(".onnx") else MAX_CARD_BYTES)


def damaged(folder: Path, problem: str, expected: str = "the bundle as relsql export wrote it") -> ArtifactError:
    """The error for a bundle that cannot be used."""
    # The message does not say FILE: the command line would replace it with the database to import into.
    again = command("export", "ORIGINAL.duckdb", "MODEL", "--output", folder, "--overwrite")
    return ArtifactError(f"bundle '{folder}' is damaged: {problem}", expected=expected, fix=again)


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(msgspec.structs.replace(manifest, digest="").encoded()).hexdigest()


class _Format(msgspec.Struct):
    format: int
