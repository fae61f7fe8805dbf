"""Read a model card from its JSON text, and refuse one that is damaged or of another format."""

from __future__ import annotations

import msgspec

from relsql.errors import ArtifactError, RelsqlError
from relsql.registry.cards.card import CARD_FORMAT, OLDEST_CARD_FORMAT, ModelCard
from relsql.registry.cards.checks import MAX_CARD_BYTES, card_problem


def read_card_text(text: str, origin: str = "") -> ModelCard:
    """Read a card.

    Args:
        text: the card as JSON.
        origin: the database file in which it is stored.

    Raises:
        ArtifactError: the card was written by a newer relsql, or is damaged.
    """
    if len(text) > MAX_CARD_BYTES:
        raise _damaged(f"it has {len(text):,} characters, more than {MAX_CARD_BYTES:,}")
    try:
        _check_format(msgspec.json.decode(text, type=_Format).format)
        card = msgspec.json.decode(text, type=ModelCard)
    except RecursionError as error:
        raise _damaged("it is nested too deeply") from error
    # Building the task checks it, and a text may contain lone surrogates.
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _damaged(str(error)) from error
    except ArtifactError:
        raise
    except RelsqlError as error:
        raise _damaged(error.problem) from error
    problem = card_problem(card)
    if problem:
        raise _damaged(problem)
    card.__dict__["origin"] = origin
    return card


def _check_format(found: int) -> None:
    if found > CARD_FORMAT:
        raise ArtifactError(
            f"the model card has format {found}, this relsql reads up to {CARD_FORMAT}",
            fix="pip install --upgrade relsql",
        )
    if found < OLDEST_CARD_FORMAT:
        raise ArtifactError(
            f"the model card has format {found}, of an earlier relsql that gathered other columns",
            expected=f"format {OLDEST_CARD_FORMAT} to {CARD_FORMAT}",
            fix="relsql train FILE TASK --name NAME",
        )


def _damaged(problem: str) -> ArtifactError:
    return ArtifactError(f"the model card is damaged: {problem}", fix="relsql train FILE TASK --name NAME")


class _Format(msgspec.Struct):
    format: int
