"""The model card: everything about a trained model but its weights, as one JSON document."""

from __future__ import annotations

import datetime
import hashlib
from functools import cached_property

import msgspec

from relsql.errors import ArtifactError, RelsqlError
from relsql.gather.blocks import BlockLayout
from relsql.gather.layout import segments
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import Path
from relsql.gather.query import Gather
from relsql.registry.card_checks import MAX_CARD_BYTES, card_problem
from relsql.schema.tables import Schema, Table
from relsql.tasks.regime import Regime
from relsql.tasks.task import Task

CARD_FORMAT = 3
"""Raised when an older relsql could misread a card."""


class EncoderCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The row encoder: `source` is `compact` or the name of the pre-trained model."""

    source: str
    width: int
    max_tokens: int
    denoising: dict[str, float | None]


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Description of one model version.

    Attributes:
        format: version of this document's form.
        name, version: of the model.
        relsql_version: of the program that trained it.
        created: UTC.
        task: the task it was trained for.
        schema: the tables and links it reads, as they were.
        fingerprint: SHA-256 of that schema.
        paths: the link paths that the gather query walks.
        inputs: node inputs by table.
        encoder: the row encoder.
        channels, windows: of the graph network.
        trained_until: end of the training time range; no label window after it was used.
        stale_after_days: newest evidence older than this was not seen in training; None without evidence in time.
        metrics: metrics by name, `val_roc_auc`.
        parity: largest absolute difference between torch and ONNX by component.
        versions: versions of the libraries that trained it.
        sha256: digests of the artefacts by name.
        regime: how old its data may be, see `relsql.tasks.regime`.
        seed: of the random numbers.
        options: what else was asked for.
    """

    format: int
    name: str
    version: int
    relsql_version: str
    created: datetime.datetime
    task: Task
    schema: Schema
    fingerprint: str
    paths: tuple[Path, ...]
    inputs: dict[str, NodeInputs]
    encoder: EncoderCard
    channels: int
    windows: tuple[int, ...]
    trained_until: datetime.datetime
    stale_after_days: float | None
    metrics: dict[str, float]
    parity: dict[str, float]
    versions: dict[str, str]
    sha256: dict[str, str]
    regime: Regime
    seed: int
    options: dict[str, str | int | float | bool | None]

    @property
    def identity(self) -> str:
        """First 12 hex digits of the digest of name, version and artefacts: equal for equal models only."""
        digests = "".join(f"{name}={digest}" for name, digest in sorted(self.sha256.items()))
        return hashlib.sha256(f"{self.name}:{self.version}:{self.fingerprint}:{digests}".encode()).hexdigest()[:12]

    @cached_property
    def origin(self) -> str:
        """Where the card was read: the database file, or empty; see `from_json`."""
        return ""

    @cached_property
    def functions_id(self) -> str:
        """12 hex digits that end the names of SQL functions: of all that they depend on, and of where it is stored.

        Copies of a file may hold other row embeddings, and all databases of a process share its functions.
        """
        return hashlib.sha256(f"{self.origin}\n{self.to_json()}".encode()).hexdigest()[:12]

    @property
    def text_function(self) -> str:
        """Name of the SQL function that numbers row texts."""
        return f"relsql_text_{self.functions_id}"

    @property
    def score_function(self) -> str:
        """Name of the SQL function that scores gathered rows."""
        return f"relsql_score_{self.functions_id}"

    @property
    def encode_function(self) -> str:
        """Name of the SQL function that embeds a row text."""
        return f"relsql_encode_{self.functions_id}"

    @property
    def entity(self) -> Table:
        """The entity table."""
        return self.schema.table(self.task.entity_table)

    @property
    def message_functions(self) -> dict[str, str]:
        """Names of the SQL functions that turn the rows of hubs into messages, by path."""
        return {
            path.name: f"relsql_message_{self.functions_id}_{i}" for i, path in enumerate(self.paths) if path.shared
        }

    def gather(self, catalog: str) -> Gather:
        """The scoring query's builder for the database attached as `catalog`."""
        return Gather(
            catalog,
            self.schema,
            self.paths,
            self.inputs,
            self.text_function,
            coded_texts=True,
            message_functions=self.message_functions,
        )

    def to_json(self) -> str:
        """The card as JSON text, keys in a fixed order."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()

    @classmethod
    def from_json(cls, text: str, origin: str = "") -> ModelCard:
        """Read a card.

        Args:
            text: JSON.
            origin: the database file that it is stored in.

        Raises:
            ArtifactError: the card was written by a newer relsql, or is damaged.
        """
        if len(text) > MAX_CARD_BYTES:
            raise _damaged(f"it has {len(text):,} characters, more than {MAX_CARD_BYTES:,}")
        try:
            _check_format(msgspec.json.decode(text, type=_Format).format)
            card = msgspec.json.decode(text, type=cls)
        except RecursionError as error:
            raise _damaged("it is nested too deeply") from error
        # A task checks itself, and a text may hold half a character.
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
    if found < CARD_FORMAT:
        raise ArtifactError(
            f"the model card has format {found}, of an earlier relsql that gathered other columns",
            expected=f"format {CARD_FORMAT}",
            fix="relsql train FILE TASK --name NAME",
        )


def _damaged(problem: str) -> ArtifactError:
    return ArtifactError(f"the model card is damaged: {problem}", fix="relsql train FILE TASK --name NAME")


class _Format(msgspec.Struct):
    format: int


def layouts_of(paths: tuple[Path, ...], inputs: dict[str, NodeInputs]) -> tuple[BlockLayout, ...]:
    """The block layouts of planned paths."""
    return tuple(
        BlockLayout(
            path.name,
            path.fanout,
            segments(path, inputs),
            counts_width=(1 + len(path.count_days)) * path.counted,
            shared=path.shared,
        )
        for path in paths
    )
