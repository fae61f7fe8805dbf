"""A model card as three files: the schema, the plan of rows, and everything else. Nothing is in two of them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from relsql.bundles.manifest import CARD, PLAN, SCHEMA, damaged
from relsql.errors import ArtifactError
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.reading import read_card_text

CARD_FILES = (CARD, SCHEMA, PLAN)

_PLAN_FIELDS = ("paths", "inputs", "statistics")

_Fields = dict[str, msgspec.Raw]


def split_card(card: ModelCard) -> dict[str, bytes]:
    """The card as JSON files by name."""
    fields = msgspec.json.decode(card.to_json(), type=_Fields)
    schema = bytes(fields.pop("schema"))
    plan = {name: fields.pop(name) for name in _PLAN_FIELDS}
    parts = {CARD: msgspec.json.encode(fields), SCHEMA: schema, PLAN: msgspec.json.encode(plan)}
    return {name: msgspec.json.format(content, indent=2) for name, content in parts.items()}


def join_card(files: dict[str, bytes], folder: Path) -> ModelCard:
    """The card from its files; the inverse of `split_card`.

    Raises:
        ArtifactError: a file is not JSON or has other fields, or the card is damaged or of a newer format.
    """
    parts = {name: _fields(files[name], name, folder) for name in CARD_FILES}
    if parts[PLAN].keys() != {*_PLAN_FIELDS} or parts[CARD].keys() & {"schema", *_PLAN_FIELDS}:
        raise damaged(folder, f"{CARD} and {PLAN} have other fields than those of a model card")
    fields = {**parts[CARD], "schema": parts[SCHEMA], **parts[PLAN]}
    try:
        return read_card_text(msgspec.json.encode(fields).decode())
    except UnicodeError as error:
        raise damaged(folder, f"its card is not UTF-8: {error}") from error
    except ArtifactError as error:
        # A card of a newer format is not damaged, and the fix in its error, to upgrade relsql, is right. The other fix,
        # to train again, does not help: the model was trained in another file.
        if error.fix and error.fix.startswith("pip"):
            raise
        raise damaged(folder, error.problem) from error


def _fields(content: bytes, name: str, folder: Path) -> _Fields:
    try:
        return msgspec.json.decode(content, type=_Fields)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise damaged(folder, f"its file '{name}' cannot be read: {error}") from error
