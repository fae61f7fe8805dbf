"""The model card: everything about a trained model except its weights, as one JSON document."""

from __future__ import annotations

import datetime
import hashlib
from functools import cached_property

import msgspec

from relsql.gather.arrays.graph_inputs import EXPLAINED
from relsql.gather.candidates.features import Candidates
from relsql.gather.candidates.ranker import Ranker
from relsql.gather.candidates.ranking import Ranking
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows, SeedKind
from relsql.gather.sql.query import Gather
from relsql.gather.sql.results import batch_key
from relsql.registry.cards.uncertainty import Uncertainty
from relsql.registry.function_names import classes_name, encode_name, function_names
from relsql.schema.entity_keys import key_order_sql
from relsql.schema.tables import Schema, Table
from relsql.tasks.kinds.classes import Classes
from relsql.tasks.kinds.items import item_table
from relsql.tasks.regime import Regime
from relsql.tasks.task import Task

CARD_FORMAT = 7
"""Increased whenever an older relsql could misread a card."""

SEALED_CARD_FORMAT = 5
"""Builds that write cards of this format or a later one store digests with them and with row embeddings."""

OLDEST_CARD_FORMAT = 3
"""Cards of earlier formats are refused, because their models were trained on other columns."""


class EncoderCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The row encoder: `source` is `compact` or the name of the pre-trained model."""

    source: str
    width: int
    max_tokens: int
    denoising: dict[str, float | None]


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Description of one model version.

    Attributes:
        format: version of the card's format.
        name, version: name and version of the model.
        relsql_version: version of the relsql that trained it.
        created: time of training, UTC.
        task: the task it was trained for.
        schema: the tables and links it reads, as they were at training.
        fingerprint: SHA-256 of that schema.
        paths: the link paths that the gather query walks.
        inputs: node inputs by table.
        encoder: the row encoder.
        channels, windows: sizes of the graph network.
        trained_until: end of the training time range; no label window after it was used.
        stale_after_days: training never saw a seed whose newest evidence is older than this; None if no evidence has a
            time.
        metrics: metrics by name, for example `val_roc_auc`.
        parity: largest absolute difference between torch and ONNX by component.
        versions: versions of the libraries that trained it.
        sha256: digests of the artefacts by name.
        regime: how old its data may be, see `relsql.tasks.regime`.
        seed: random seed of the training.
        options: other options of the training.
        statistics: by path, which statistics the head's trees read: positions in
            `relsql.gather.statistics.path_statistics`.
        classes: the classes of a multiclass task; None for other tasks.
        uncertainty: how far scores may be off; None if there were too few labels to fit it.
        threshold: the probability at or above which the answer is yes; None if nobody has chosen one.
        ranker: what a recommendation has learned; it has no paths, inputs or artefacts, and its encoder, channels and
            windows are not used. None for other tasks.
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
    statistics: dict[str, tuple[int, ...]] = {}
    classes: Classes | None = None
    ranker: Ranker | None = None
    uncertainty: Uncertainty | None = None
    threshold: float | None = None

    @property
    def identity(self) -> str:
        """First 12 hex digits of the digest of name, version and artefacts, equal only for equal models."""
        digests = "".join(f"{name}={digest}" for name, digest in sorted(self.sha256.items()))
        return hashlib.sha256(f"{self.name}:{self.version}:{self.fingerprint}:{digests}".encode()).hexdigest()[:12]

    @cached_property
    def origin(self) -> str:
        """The database file that the card was read from, or empty; see `relsql.registry.cards.reading`."""
        return ""

    @cached_property
    def functions_id(self) -> str:
        """The 12 hex digits at the end of SQL function names: a digest of all that they depend on, and of the file.

        The file is included because copies of a file may hold other row embeddings, while all databases of a process
        share its functions.
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
    def left_function(self) -> str:
        """Name of the SQL function that scores the gathered rows of seeds from which something is left out."""
        return f"relsql_score_left_{self.functions_id}"

    @property
    def state_function(self) -> str:
        """Name of the SQL function that returns the state of the entity of gathered rows."""
        return f"relsql_state_{self.functions_id}"

    @property
    def encode_function(self) -> str:
        """Name of the SQL function that embeds a row text."""
        return encode_name(self.functions_id)

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions that score: the model's own names, not those of a version."""
        return function_names(self.name) + ((classes_name(self.name),) if self.classes else ())

    def message_width(self, path: str) -> int:
        """Width of the messages of a path: the channels, then its statistics."""
        return self.channels + len(self.statistics.get(path, ()))

    @property
    def state_width(self) -> int:
        """Width of the entity states: the channels, then the statistics of all paths."""
        return self.channels + sum(map(len, self.statistics.values()))

    @property
    def entity(self) -> Table:
        """The entity table."""
        return self.schema.table(self.task.entity_table)

    @property
    def outputs(self) -> int | None:
        """The number of values that the head computes for a seed: of all classes or windows; None for one value."""
        return len(self.classes) if self.classes else self.task.steps

    @property
    def is_explained(self) -> bool:
        """True if scores can be explained: a seed has a single score, or a single likeliest class."""
        return not (self.task.steps or (self.classes and self.classes.many))

    @property
    def ranking(self) -> Ranking:
        """The builder of the queries of a recommendation."""
        assert self.ranker is not None
        items, task = item_table(self.schema, self.task), self.task
        way, days = self.ranker.way, self.ranker.horizon_days
        candidates = Candidates(self.schema, self.entity, items, way, days, task.visible)
        return Ranking(candidates, {"score": self.ranker.score_sql("c")}, self.version)

    @property
    def score_key(self) -> tuple[str, ...]:
        """The names of the key's columns in `predict_<model>_batch`, and in tables and files of its rows."""
        return self.ranking.key_names if self.ranker else batch_key(self.entity, self.classes, self.task.steps)

    @property
    def score_order(self) -> str:
        """The order of the rows of `predict_<model>_batch`, and of tables and files that hold them."""
        more = ', "rank" ASC' if self.ranker else ", step ASC" if self.task.steps else ""
        return key_order_sql(self.score_key) + more

    @property
    def rows(self) -> RowPlan:
        """The plan of the rows that the model reads."""
        return RowPlan(self.schema, self.paths, self.inputs, self.task.asked)

    @property
    def message_functions(self) -> dict[str, str]:
        """Names of the SQL functions that turn the rows of hubs into messages, by path."""
        return {
            path.name: f"relsql_message_{self.functions_id}_{i}" for i, path in enumerate(self.paths) if path.shared
        }

    @property
    def left_functions(self) -> dict[str, str]:
        """Names of the SQL functions that send messages to seeds from which something is left out, by path.

        Models of earlier builds have components for hubs only.
        """
        apart = {path.name for path in self.paths if path.shared or (path.grouped and EXPLAINED in self.sha256)}
        return {
            path.name: f"relsql_left_{self.functions_id}_{i}" for i, path in enumerate(self.paths) if path.name in apart
        }

    def gather(self, catalog: str) -> Gather:
        """The builder of the scoring query for the database attached as `catalog`."""
        # If rows are asked about as of their own time, nearly every seed has a different as_of.
        kind: SeedKind = "moments" if self.task.asked.own_time else "batch"
        rows = LatestRows(self.rows, catalog, visible=self.task.visible, seed_kind=kind)
        return Gather(rows, self.text_function, coded_texts=True, message_functions=self.message_functions)

    def to_json(self) -> str:
        """The card as JSON text, keys in a fixed order."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()
