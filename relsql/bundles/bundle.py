"""Read a whole bundle: its card and its components, which must pass the checks for files from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relsql.bundles.card_files import CARD_FILES, join_card
from relsql.bundles.embeddings_file import read_embeddings
from relsql.bundles.folder import BundleFolder, open_bundle
from relsql.bundles.manifest import EMBEDDINGS, MANIFEST, TOKENIZER, damaged
from relsql.errors import ArtifactError
from relsql.registry.cards.card import ModelCard
from relsql.registry.components.component_checks import signature_of
from relsql.typing import FloatArray
from udfs.encoder import RowTextEncoder
from udfs.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model that was read from a folder.

    Attributes:
        folder: the folder.
        card: the model's card, as it was in the file that the model was exported from.
        artifacts: components and tokenizer by name.
    """

    folder: BundleFolder
    card: ModelCard
    artifacts: dict[str, bytes]

    def embeddings(self) -> Iterator[tuple[list[str], FloatArray]]:
        """Texts and their embeddings, float32 [n, width], in parts.

        Raises:
            ArtifactError: they are damaged.
        """
        return read_embeddings(self.folder, self.card.encoder.width)


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and check all of it except the values of its row embeddings; no database is needed.

    Raises:
        DatabaseError: there is no bundle. ArtifactError: it is damaged or was written by a newer relsql, or a component
            contains more than relsql writes.
    """
    folder = open_bundle(path)
    names = folder.manifest.files.keys()
    card = card_of(folder)
    if EMBEDDINGS not in names:
        raise _unnamed(path, EMBEDDINGS)
    if (card.name, card.version) != (folder.manifest.model, folder.manifest.version):
        raise damaged(path, f"its card is that of {card.name}@{card.version}, which {MANIFEST} does not say")
    unknown = sorted({*card.sha256, *CARD_FILES, EMBEDDINGS} ^ names)
    if unknown:
        raise damaged(path, f"its card and its {MANIFEST} disagree about the file '{unknown[0]}'")
    artifacts = {name: _artifact(folder, card, name) for name in card.sha256}
    with folder.opened(EMBEDDINGS):
        pass  # Its digest is compared before anything is built from the bundle.
    _load(card, artifacts, path)
    return Bundle(folder, card, artifacts)


def card_of(folder: BundleFolder) -> ModelCard:
    """The card in a bundle.

    Raises:
        ArtifactError: it is damaged or of a newer relsql.
    """
    absent = [name for name in CARD_FILES if name not in folder.manifest.files]
    if absent:
        raise _unnamed(folder.path, absent[0])
    return join_card({name: folder.read(name) for name in CARD_FILES}, folder.path)


def _unnamed(path: Path, name: str) -> ArtifactError:
    return damaged(path, f"its {MANIFEST} does not name the file '{name}'")


def _artifact(folder: BundleFolder, card: ModelCard, name: str) -> bytes:
    if name != TOKENIZER and signature_of(card, name) is None:
        raise damaged(folder.path, f"its file '{name}' is not part of the model that its card describes")
    if folder.manifest.files[name].sha256 != card.sha256[name]:
        raise damaged(folder.path, f"its card and its {MANIFEST} state different digests of '{name}'")
    return folder.read(name)


def _load(card: ModelCard, artifacts: dict[str, bytes], path: Path) -> None:
    """Load every component once, which checks operators, inputs, outputs and sizes."""
    try:
        Scorer(card, artifacts)
        if artifacts.keys() & {TOKENIZER, "encoder.onnx"}:
            RowTextEncoder.load(card, artifacts)
    except ArtifactError as error:
        raise damaged(path, error.problem, error.expected or "components that relsql exports") from error
