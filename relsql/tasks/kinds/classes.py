"""The classes of a multiclass task: the values of its training labels, and how the outputs of a model stand for them.

A class with few labels has too little to learn from. All such classes share one output of the network, and its
probability is divided among them by their shares in the training labels. So a rare class is predicted at its prior,
and the number of outputs does not grow with the number of rare classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from relsql.errors import TaskError
from relsql.hints import correct

if TYPE_CHECKING:
    from relsql.tasks.task import Task
    from relsql.typing import IntArray

FEWEST_LABELS = 10
"""A class with fewer training labels has no output of its own."""

MAX_OUTPUTS = 2_000
"""If more classes have enough labels, the commonest ones get an output of their own. With these, the outputs of 20,000
validation labels take 160 MB."""

MAX_CLASSES = 10_000
MAX_CLASS_CHARACTERS = 1_000

EVEN = 0.5
"""The threshold of a class before one has been chosen."""

UNKNOWN = -1
"""The code of a label that is not one of the classes."""

_ARROW_TYPES: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    **{
        f"{sign}{name}": getattr(pa, f"{sign.lower()}int{bits}")()
        for sign in ("", "U")
        for name, bits in (("TINYINT", 8), ("SMALLINT", 16), ("INTEGER", 32), ("BIGINT", 64))
    },
}
"""The types of a class in SQL, and in Arrow."""


def class_sql(label: str, label_type: str) -> str:
    """A label as a class, of a type that scores can have: ENUM labels are text, and HUGEINT ones BIGINT.

    The values of an ENUM may change after training, and DuckDB compares text with them. Sums of integers are HUGEINT.
    """
    if label_type in ("HUGEINT", "UHUGEINT"):
        return f"CAST({label} AS BIGINT)"
    return f"CAST({label} AS VARCHAR)" if label_type.startswith("ENUM") else label


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes that a model knows.

    Attributes:
        type: their SQL type: VARCHAR, BOOLEAN, or an integer of up to 64 bits.
        values: the classes as text, in the order of their type.
        counts: the number of training labels of each.
        thresholds: of a multilabel task, the probability at or above which each class is predicted; None for a
            multiclass task, which predicts the likeliest.
    """

    type: str
    values: tuple[str, ...]
    counts: tuple[int, ...]
    thresholds: tuple[float, ...] | None = None

    @classmethod
    def of(cls, task: Task, labels: pa.Table) -> Classes:
        """The classes of training labels, in the form of `relsql.tasks.labels.label_table.LabelTable.table`.

        Raises:
            TaskError: there are too many classes, or too few with enough labels.
        """
        values, counts = class_counts(labels)
        found_type = labels.column("label").type
        found_type = found_type.value_type if task.is_multilabel else found_type
        [type_] = [name for name, arrow in _ARROW_TYPES.items() if arrow == found_type]
        found = cls(type_, values, counts, (EVEN,) * len(values) if task.is_multilabel else None)
        if len(values) > MAX_CLASSES or max(map(len, values), default=0) > MAX_CLASS_CHARACTERS:
            longest = f" of up to {max(map(len, values)):,} characters"
            raise TaskError(
                f"task '{task.name}': '{task.target_col}' holds {len(values):,} classes{longest}",
                expected=f"at most {MAX_CLASSES:,} classes of at most {MAX_CLASS_CHARACTERS:,} characters",
                fix=correct("sql", "task_type"),
            )
        known = sum(count >= FEWEST_LABELS for count in counts)
        if len(values) < 2:
            raise TaskError(
                f"task '{task.name}': '{task.target_col}' holds {len(values)} class in the training labels",
                expected="two classes or more",
                fix=correct("sql"),
            )
        if known < 2:
            second = int(np.argsort(counts, kind="stable")[-2])
            raise TaskError(
                f"task '{task.name}': of {len(values):,} classes {known} has {FEWEST_LABELS} training labels or more; "
                f"the next one, {values[second]!r}, has {counts[second]}",
                expected=f"at least {FEWEST_LABELS} training labels of each of two classes",
                fix=correct("sql", "num_eval_timestamps", "val_timestamp"),
            )
        return found

    def __len__(self) -> int:
        return len(self.values)

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of a class in Arrow."""
        return _ARROW_TYPES[self.type]

    @property
    def array(self) -> pa.Array:
        """The classes in their type."""
        return pa.array(self.values, pa.string()).cast(self.arrow_type)

    @property
    def own_output(self) -> npt.NDArray[np.bool_]:
        """Which classes have an output of their own, bool [classes]."""
        counts = np.array(self.counts)
        own = np.zeros(len(counts), dtype=bool)
        own[np.argsort(-counts, kind="stable")[:MAX_OUTPUTS]] = True
        return own & (counts >= FEWEST_LABELS)

    @property
    def outputs(self) -> int:
        """The number of outputs: one for each class with enough labels, and one for all others, if there are any."""
        own = self.own_output
        return int(own.sum()) + int(not own.all())

    @property
    def output(self) -> IntArray:
        """The output of each class, int64 [classes]."""
        own = self.own_output
        return np.where(own, np.cumsum(own) - 1, own.sum()).astype(np.int64)

    @property
    def share(self) -> npt.NDArray[np.float64]:
        """The share of each class in the probability of its output, float64 [classes]; 1 for an output of its own."""
        own, counts = self.own_output, np.array(self.counts, dtype=np.float64)
        return np.where(own, 1.0, counts / max(1.0, counts[~own].sum()))

    @property
    def prior(self) -> npt.NDArray[np.float64]:
        """The share of each class in the training labels, float64 [classes]."""
        counts = np.array(self.counts, dtype=np.float64)
        prior: npt.NDArray[np.float64] = counts / counts.sum()
        return prior

    def codes(self, labels: pa.ChunkedArray | pa.Array) -> IntArray:
        """The position of each label among the classes, int64 [labels]; `UNKNOWN` for other values."""
        found = pc.index_in(labels.cast(pa.string()), pa.array(self.values, pa.string()))
        return np.asarray(pc.fill_null(found, UNKNOWN)).astype(np.int64)

    @property
    def many(self) -> bool:
        """True if any number of them is predicted at once."""
        return self.thresholds is not None

    def hits(self, labels: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Which classes the lists of a multilabel task hold, bool [labels, classes]; others are left out."""
        rows, codes = pc.list_parent_indices(labels), self.codes(pc.list_flatten(labels))
        found = np.zeros((len(labels), len(self)), dtype=bool)
        found[np.asarray(rows)[codes != UNKNOWN], codes[codes != UNKNOWN]] = True
        return found

    def coded(self, labels: pa.Table) -> pa.Table:
        """A label table with codes as labels; equal lists of a multilabel task have equal ones."""
        if self.many:
            return LabelSets.of(self, [labels]).coded(labels)
        place = labels.column_names.index("label")
        return labels.set_column(place, "label", pa.array(self.codes(labels.column("label"))))

    def known(self, labels: pa.Table) -> pa.Table:
        """The rows of a label table whose label is one of the classes; a list may hold others too."""
        if self.many:
            return labels
        return labels.filter(pa.array(self.codes(labels.column("label")) != UNKNOWN))

    def problems(self) -> Iterable[str]:
        """What is wrong with classes that were read from a card."""
        if self.type not in _ARROW_TYPES:
            yield f"its classes are of type {self.type}"
            return
        if not 2 <= len(self.values) <= MAX_CLASSES or len(set(self.values)) < len(self.values):
            yield f"it has {len(self.values):,} classes, or one twice"
            return
        if len(self.counts) != len(self.values) or min(self.counts) < 1 or self.outputs < 2:
            yield "the numbers of labels of its classes are not those of classes"
        if self.thresholds is not None and (
            len(self.thresholds) != len(self.values) or not all(0 <= each <= 1 for each in self.thresholds)
        ):
            yield "the thresholds of its classes are not probabilities"
        if self.type == "VARCHAR":
            return
        try:
            written = self.array.cast(pa.string()).to_pylist()
        except pa.ArrowInvalid:
            written = []
        if written != list(self.values):
            yield f"its classes are not of type {self.type}"


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The distinct lists among the labels of a multilabel task: the code of a label is the position of its list.

    So a label is one number in training, as it is in other tasks. `rows` says which classes each list holds, bool
    [lists, classes].
    """

    classes: Classes
    rows: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, classes: Classes, tables: Iterable[pa.Table]) -> LabelSets:
        """The lists in label tables."""
        found = np.concatenate([classes.hits(table.column("label")) for table in tables])
        return cls(classes, np.unique(found, axis=0))

    def known(self, labels: pa.Table) -> pa.Table:
        """The rows of a label table that have codes: all of them."""
        return labels

    def coded(self, labels: pa.Table) -> pa.Table:
        """A label table with codes as labels; it must be one of the tables that the lists come from."""
        codes = {row.tobytes(): code for code, row in enumerate(self.rows)}
        found = [codes[row.tobytes()] for row in self.classes.hits(labels.column("label"))]
        place = labels.column_names.index("label")
        return labels.set_column(place, "label", pa.array(found, pa.int64()))


def class_counts(labels: pa.Table) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The distinct labels of a label table as text, in the order of their type, and the number of each.

    Lists are counted by the values in them.
    """
    if pa.types.is_list(labels.column("label").type):
        labels = pa.table({"label": pc.list_flatten(labels.column("label"))})
    found = labels.group_by("label").aggregate([([], "count_all")]).sort_by("label")
    values = found.column("label").cast(pa.string()).to_pylist()
    return tuple(values), tuple(found.column("count_all").to_pylist())


def shown_classes(counts: Iterable[tuple[str, int]], total: int, most: int = 6) -> str:
    """The commonest classes with their shares of the labels: `absent 51.2%, podium 20.0%, 3 more`."""
    ordered = sorted(counts, key=lambda each: -each[1])
    shown = [f"{value} {count / total:.1%}" for value, count in ordered[:most]]
    rest = len(ordered) - most
    return ", ".join([*shown, *([f"{rest:,} more"] if rest > 0 else [])])
