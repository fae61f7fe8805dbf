"""Read the files of a bundle: only those that its manifest names, each with the size and digest that it states."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from relsql.bundles.manifest import MANIFEST, MAX_MANIFEST_BYTES, Manifest, damaged, read_manifest
from relsql.errors import DatabaseError

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

_LIKELY_FILES = ("card.json", "graph.onnx")
"""A folder with these was a bundle, even if its manifest is gone."""


def is_bundle(path: Path) -> bool:
    """True for a folder that is a bundle, damaged or not."""
    return os.path.lexists(path / MANIFEST) or all(os.path.lexists(path / name) for name in _LIKELY_FILES)


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """A folder whose file names and sizes are those of its manifest. Contents are checked when they are read."""

    path: Path
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            ArtifactError: it does not have its digest.
        """
        entry = self.manifest.files[name]
        with _opened(self.path, name) as file:
            # One byte more than stated shows a file that has grown since its size was read.
            content = file.read(entry.bytes + 1)
        if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise self._changed(name)
        return content

    @contextmanager
    def opened(self, name: str) -> Iterator[BufferedReader]:
        """A large file, open for reading after its digest was compared.

        Raises:
            ArtifactError: it does not have its digest.
        """
        entry = self.manifest.files[name]
        with _opened(self.path, name) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256 or file.tell() != entry.bytes:
                raise self._changed(name)
            file.seek(0)
            yield file

    def _changed(self, name: str) -> Exception:
        return damaged(self.path, f"its file '{name}' does not have the SHA-256 digest in {MANIFEST}")


def open_bundle(path: Path) -> BundleFolder:
    """Read the manifest of a bundle, and compare the names and sizes of its files.

    Raises:
        DatabaseError: there is no such folder, or it is not a bundle. ArtifactError: the bundle was written by a newer
            relsql, or a file is missing, added, linked or has another size.
    """
    try:
        if not path.is_dir():
            raise DatabaseError(f"'{path}' is not a folder", expected="a folder that relsql export wrote")
        found = {entry.name: entry.stat(follow_symlinks=False) for entry in os.scandir(path)}
    except (OSError, ValueError) as error:
        raise DatabaseError(f"bundle {str(path)!r} cannot be read: {error}") from error
    if MANIFEST not in found:
        if not is_bundle(path):
            raise DatabaseError(f"folder '{path}' has no {MANIFEST}", expected="a folder that relsql export wrote")
        raise damaged(path, f"its {MANIFEST} is missing")
    for name, status in found.items():
        if not stat.S_ISREG(status.st_mode):
            raise damaged(path, f"{name!r} in it is a link, a folder or a device", "files only")
    if found[MANIFEST].st_size > MAX_MANIFEST_BYTES:
        raise damaged(path, f"its {MANIFEST} has {found[MANIFEST].st_size:,} bytes", f"at most {MAX_MANIFEST_BYTES:,}")
    with _opened(path, MANIFEST) as file:
        manifest = read_manifest(file.read(MAX_MANIFEST_BYTES + 1), path)
    _compare(path, manifest, {name: status.st_size for name, status in found.items() if name != MANIFEST})
    return BundleFolder(path, manifest)


def _compare(path: Path, manifest: Manifest, sizes: dict[str, int]) -> None:
    """Raise ArtifactError if the files are not those of the manifest, or have other sizes."""
    for name, entry in manifest.files.items():
        if name not in sizes:
            raise damaged(path, f"its file '{name}' is missing")
        if sizes[name] != entry.bytes:
            raise damaged(path, f"its file '{name}' has {sizes[name]:,} bytes", f"{entry.bytes:,} bytes")
    extra = sorted(sizes.keys() - manifest.files.keys())
    if extra:
        raise damaged(path, f"{extra[0]!r} in it is not in {MANIFEST}", "no other files in the folder")


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[BufferedReader]:
    """Open a file of the folder, never one elsewhere that a link points at."""
    try:
        file = os.fdopen(os.open(folder / name, os.O_RDONLY | _NO_LINKS), "rb")
    except OSError as error:
        raise damaged(folder, f"its file '{name}' cannot be read: {error.strerror}") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise damaged(folder, f"{name!r} in it is a link, a folder or a device", "files only")
        try:
            yield file
        except OSError as error:
            raise damaged(folder, f"its file '{name}' cannot be read: {error.strerror}") from error
