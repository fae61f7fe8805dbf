"""A task: a question about the future, or about a row, asked as SQL.

The fields are those of a RelBench 3 task manifest, plus the two split timestamps that RelBench keeps with the data set.
The label query sees every table of the database by name. That of a forecast also sees a relation
`timestamps(timestamp)`, and returns one row per (entity, timestamp) with the label over
`(timestamp, timestamp + timedelta]`. That of rows with a time of their own returns one row per key.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from relsql.database.names import stored_name
from relsql.database.queries.sealed import sealed
from relsql.errors import TaskError, nearest
from relsql.hints import correct, in_manifest
from relsql.schema.declared.text import join_columns
from relsql.schema.tables import Schema
from relsql.schema.visibility import VisibilityRule
from relsql.tasks.fields import checked, checked_target, short, target_of_metric
from relsql.tasks.kinds.asked import KINDS, OWN_TIME, REQUIRED, Asked, Kind
from relsql.tasks.kinds.cells import cell_fields, require_own_times
from relsql.tasks.kinds.static_rows import AT_RANDOM, check_static, split_column, static_fields
from relsql.tasks.kinds.steps import check_steps
from relsql.tasks.manifest import read_manifest
from relsql.tasks.predict.compile import FORM_FIELDS, LINE_FIELDS, compile_line, with_line
from relsql.tasks.target import CLASS, CLASSES, ITEMS, MEDIAN, PROBABILITY, target_metric

TaskType = Literal[
    "binary_classification", "multiclass_classification", "multilabel_classification", "regression", "recommendation"
]
TASK_TYPES: tuple[str, ...] = get_args(TaskType)

RELBENCH_NAMES = {
    "entity_table": "src_entity_table",
    "entity_col": "src_entity_col",
    "item_table": "dst_entity_table",
    "k": "eval_k",
}
"""What RelBench calls the fields of a recommendation in a manifest."""

DEFAULT_K = 10


@dataclass(frozen=True, slots=True)
class Task:
    """A task over one entity table.

    Text fields that a task of its kind does not need may be empty.

    Attributes:
        name: name of the task, unique in its database.
        task_type: `binary_classification` (labels 0 and 1, or two values of which one is `positive`),
            `multiclass_classification` (labels are text, integers, BOOLEAN or ENUM), `multilabel_classification`
            (labels are lists of these), `regression`, or `recommendation` (labels are lists of keys of `item_table`).
        entity_table: the table whose rows are scored.
        entity_col: its key column; the label query returns it under this name. Several columns are separated by commas,
            in a manifest they may be a list.
        target_col: the label column of the query.
        time_col: the seed time column of the query; for rows with a time of their own it may be missing.
        timedelta: the horizon as a DuckDB interval, `30 days`; labels lie in (time, time + timedelta].
        sql: the label query; `{timedelta}` in it is replaced by `timedelta`.
        num_eval_timestamps: number of validation and of test timestamps, one `timedelta` apart.
        val_timestamp: first validation timestamp; default: chosen from the data.
        test_timestamp: first test timestamp; default: chosen from the data.
        remove_columns: (table, column) pairs that the model must not see.
        description: one line for people.
        visible: `at-or-before`, or `before` for rows strictly before as_of: for labels at event times, where the event
            itself and whatever happens at its moment must not be seen.
        predict: the question in one line, `PREDICT ... FOR EACH ...`, that the fields from `task_type` to `sql` follow
            from; `sql` is empty until the line has been compiled, see `resolved`.
        target: what a regression predicts: `mean`, `median` or `quantile(q)`, see `relsql.tasks.target`; default:
            `median`, in a manifest with `metric` the target that is best by that metric. None for a classification.
        positive: the label of a binary classification whose probability is the score, as text; None if labels are 0 and
            1, BOOLEAN, or words such as yes and no.
        item_table: of a recommendation, the table whose rows are recommended, by its primary key of one column.
        k: of a recommendation, how many items it is judged by.
        kind: see `relsql.tasks.kinds.asked`. Rows with a time of their own are asked about with `visible: before`.
        split: of a static task, `random(N)`, by a hash of the key, or a column of the entity table that says the split.
        steps: of a forecast in steps, the number of windows in `timedelta`, see `relsql.tasks.kinds.steps`.
    """

    name: str
    task_type: str
    entity_table: str
    entity_col: str
    target_col: str
    time_col: str
    timedelta: str
    sql: str
    num_eval_timestamps: int = 1
    val_timestamp: datetime.datetime | None = None
    test_timestamp: datetime.datetime | None = None
    remove_columns: tuple[tuple[str, str], ...] = ()
    description: str | None = None
    visible: VisibilityRule = "at-or-before"
    target: str | None = None
    predict: str | None = None
    positive: str | None = None
    kind: Kind = "forecast"
    item_table: str | None = None
    k: int | None = None
    split: str | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            object.__setattr__(self, name, checked(self.name, name, getattr(self, name)))
        if self.task_type not in TASK_TYPES:
            raise TaskError(
                f"task '{self.name}' has task_type '{self.task_type}'",
                expected=nearest(self.task_type, TASK_TYPES),
                fix=correct("task_type"),
            )
        self._check_items()
        check_steps(self)
        if not self.is_regression and self.target is not None:
            raise TaskError(
                f"task '{short(self.name)}' is a {self.task_type.split('_')[-1]} with target {self.target}",
                expected="a target in regressions only",
                fix=correct("target", "task_type"),
            )
        if not self.is_binary and self.positive is not None:
            raise TaskError(
                f"task '{short(self.name)}' is of type {self.task_type} with positive: {short(self.positive)}",
                expected="positive in binary classifications only",
                fix=correct("positive", "task_type"),
            )
        if self.is_regression:
            object.__setattr__(self, "target", checked_target(self.name, self.target or MEDIAN))
        if self.asked.own_time:
            object.__setattr__(self, "visible", "before")
        if self.is_static:
            object.__setattr__(self, "split", self.split or AT_RANDOM)
        check_static(self)

    def _check_items(self) -> None:
        """Check the fields of recommendations, which no other task may have.

        Raises:
            TaskError: one is missing, or not for a task of this type.
        """
        if not self.is_recommendation:
            given = [name for name in ("item_table", "k") if getattr(self, name) is not None]
            if given:
                raise TaskError(
                    f"task '{short(self.name)}' is of type {self.task_type} with {' and '.join(given)}",
                    expected="item_table and k (dst_entity_table and eval_k in RelBench) in recommendations only",
                    fix=correct(given[0], "task_type"),
                )
            return
        # The table of the items follows from a line once there is a schema.
        if not (self.item_table or self.predict) or self.kind != "forecast":
            raise TaskError(
                f"task '{short(self.name)}' is a recommendation of kind {self.kind}, of items of "
                f"{short(self.item_table or 'no table')}",
                expected="kind: forecast, and dst_entity_table, the table of the items",
                fix=correct("dst_entity_table", "kind"),
            )
        object.__setattr__(self, "k", self.k or DEFAULT_K)

    @property
    def is_static(self) -> bool:
        """True if time does not matter: rows are split at random or by a column, and all are asked about alike."""
        return self.kind == "static"

    @property
    def is_classification(self) -> bool:
        """True for `binary_classification`, `multiclass_classification` and `multilabel_classification`."""
        return self.is_binary or self.has_classes

    @property
    def is_regression(self) -> bool:
        """True for `regression`."""
        return self.task_type == "regression"

    @property
    def is_recommendation(self) -> bool:
        """True for `recommendation`."""
        return self.task_type == "recommendation"

    @property
    def is_binary(self) -> bool:
        """True for `binary_classification`."""
        return self.task_type == "binary_classification"

    @property
    def is_multiclass(self) -> bool:
        """True for `multiclass_classification`."""
        return self.task_type == "multiclass_classification"

    @property
    def is_multilabel(self) -> bool:
        """True for `multilabel_classification`."""
        return self.task_type == "multilabel_classification"

    @property
    def has_classes(self) -> bool:
        """True if its model has `relsql.tasks.kinds.classes.Classes`: one of them is predicted, or any number."""
        return self.is_multiclass or self.is_multilabel

    @property
    def predicts(self) -> str:
        """What a score is: `probability`, `class`, `classes`, `items`, `mean`, `median` or `quantile(q)`."""
        if self.is_recommendation:
            return ITEMS
        if self.is_multilabel:
            return CLASSES
        return self.target or (CLASS if self.is_multiclass else PROBABILITY)

    @property
    def metric(self) -> str:
        """The metric of comparisons: the target's of a regression, `log_loss`, `map` of a recommendation, `roc_auc`."""
        if self.target:
            return target_metric(self.target)
        return "log_loss" if self.has_classes else "map" if self.is_recommendation else "roc_auc"

    @property
    def asked(self) -> Asked:
        """How its seeds are asked about, see `Asked`."""
        if self.kind != "autocomplete":
            return Asked(own_time=self.kind in OWN_TIME)
        others = (column for table, column in self.remove_columns if table == self.entity_table)
        return Asked(own_time=True, hidden=tuple(dict.fromkeys([self.target_col, *others])), empty=self.target_col)

    @property
    def removed(self) -> tuple[tuple[str, str], ...]:
        """The (table, column) pairs of `remove_columns` that are hidden in all rows.

        If the task completes a column, those of its own table are hidden only in the row that is asked about: in
        earlier rows they are history. A static task also hides the column that is asked for, if the table has it: other
        rows have the answers of all splits.
        """
        if self.is_static:
            return (
                *self.remove_columns,
                *((self.entity_table, c) for c in (self.target_col, *split_column(self.split))),
            )
        if self.kind != "autocomplete":
            return self.remove_columns
        return tuple(pair for pair in self.remove_columns if pair[0] != self.entity_table)

    @property
    def moment(self) -> str:
        """When its labels lie, for people: `30 days ahead`, or `at the row's own time`."""
        if self.is_static:
            return "at any time"
        ahead = f"{self.timedelta} ahead" if self.timedelta else ""
        ahead += f", in {self.steps} steps" if self.steps else ""
        return ahead if self.kind == "forecast" else "at the row's own time" + (f", {ahead}" if ahead else "")

    @property
    def label_sql(self) -> str:
        """The label query, with the horizon in it."""
        return self.sql if self.predict else self.sql.replace("{timedelta}", self.timedelta)

    @property
    def sealed_label_sql(self) -> str:
        """The label query as it runs: one that relsql has written calls no macro of the database."""
        is_own = self.predict or self.kind == "autocomplete"
        return sealed(self.label_sql) if is_own and self.sql else self.label_sql

    @classmethod
    def from_line(cls, line: str, name: str, **options: Any) -> Task:
        """A task from a question in one line.

        Args:
            line: `PREDICT ... FOR EACH ...`, see `docs/tasks.md`.
            name: the task's name.
            options: other fields, such as `val_timestamp`.

        Raises:
            TaskError: the line does not parse, or a field is of another type.
        """
        return cls.from_manifest({"name": name, "predict": line, **options})

    @classmethod
    def from_manifest(cls, source: str | Path | Mapping[str, Any]) -> Task:
        """Read a RelBench 3 task manifest (a YAML file, or its fields).

        Raises:
            TaskError: a field is missing, or the manifest is of a kind that relsql does not train.
        """
        raw = source if isinstance(source, Mapping) else read_manifest(Path(source))
        name = raw.get("name") or "unnamed"
        kind = raw.get("kind", "forecast")
        if kind not in KINDS:
            raise TaskError(
                f"task '{short(name)}' is of kind '{short(kind)}'",
                expected=f"kind: {', '.join(KINDS)}",
                fix=in_manifest("ask the question as kind: forecast, with a label query in 'sql'", "kind"),
            )
        raw = with_line(raw, short(name))
        task_type = raw.get("task_type")
        if isinstance(task_type, str) and task_type not in TASK_TYPES:
            # Checked before missing fields are listed, because manifests of other types have other fields.
            raise TaskError(
                f"task '{short(name)}' has task_type '{short(task_type)}'",
                expected=nearest(task_type, TASK_TYPES),
                fix=correct("task_type"),
            )
        return cls.from_fields({**raw, "target": raw.get("target") or target_of_metric(raw)})

    @classmethod
    def from_fields(cls, raw: Mapping[str, Any]) -> Task:
        """Build a task from its fields: those of a manifest, or a row of `relsql.tasks`. Other keys are ignored.

        Raises:
            TaskError: a field is missing or of another type.
        """
        values = {field.name: raw[field.name] for field in fields(cls) if raw.get(field.name) is not None}
        if isinstance(positive := values.get("positive"), bool | int):
            values["positive"] = str(positive).lower()  # As YAML reads `true` and `2`, and as DuckDB writes them.
        for name, given in RELBENCH_NAMES.items() if values.get("task_type") == "recommendation" else ():
            values |= {name: raw[given]} if raw.get(given) is not None else {}
        if isinstance(columns := values.get("entity_col"), list) and all(isinstance(name, str) for name in columns):
            values["entity_col"] = join_columns(columns) if len(columns) > 1 else "".join(columns)
        kind: Kind = values.get("kind", "forecast")
        kind = "event" if kind == "static" and values.get("sql") else kind
        required = REQUIRED.get(kind, REQUIRED["forecast"])
        compiled_later = ("sql",) if values.get("predict") else ()
        missing = [key for key in required if values.get(key, "") == "" and key not in compiled_later]
        if missing:
            raise TaskError(
                f"task '{short(raw.get('name') or 'unnamed')}' lacks {', '.join(missing)}",
                expected=f"the fields {', '.join(required)}",
                fix=f"{in_manifest(f'write {missing[0]}', missing[0])}, then relsql init FILE --task manifest.yaml",
            )
        return cls(**{**dict.fromkeys(REQUIRED["forecast"], ""), **values})

    def resolved(self, schema: Schema) -> Task:
        """The task with tables and columns spelled as the database stores them, and its line compiled.

        Raises:
            TaskError: the line does not fit the schema; or `remove_columns` names a table or column that does not
                exist, so that the column it was meant to hide would stay visible, or names the time of a table, without
                which every row would be visible.
        """
        removed = []
        for name, column in self.remove_columns:
            table = schema.find(name)
            found = table and stored_name(column, table.stored_names)
            if not table or not found:
                what = f"column '{column}' of table '{table.key}'" if table else f"table '{name}'"
                raise TaskError(
                    f"task '{self.name}': remove_columns names the {what}, which does not exist",
                    expected=nearest(column, table.stored_names) if table else nearest(name, schema.tables),
                    fix=correct("remove_columns"),
                )
            if found == table.time_column:
                raise TaskError(
                    f"task '{self.name}' removes the column '{found}' of table '{table.key}', its time",
                    expected="columns that do not say when a row appears: without its time every row is seen at once",
                    fix=correct("remove_columns"),
                )
            removed.append((table.key, found))
        if self.predict:
            compiled: dict[str, Any] = {
                **compile_line(self.predict, schema, self.visible, task=self.name, kind=self.kind, split=self.split)
            }
            target = None if compiled["task_type"] != self.task_type else self.target
            return replace(self, **compiled, target=target, remove_columns=tuple(removed))
        if self.is_static:
            given = (self.entity_table, self.target_col, self.sql, self.split or AT_RANDOM)
            static: dict[str, Any] = {**static_fields(self.name, *given, schema, as_number=self.is_regression)}
            return replace(self, **static, remove_columns=tuple(removed))
        if self.kind == "autocomplete":
            asked = cell_fields(self.name, self.entity_table, self.target_col, schema, as_number=self.is_regression)
            cells: dict[str, Any] = {**asked}
            return replace(self, **cells, remove_columns=tuple(removed))
        entity = schema.find(self.entity_table)
        if entity and self.asked.own_time:
            require_own_times(self.name, entity)
        items = schema.find(self.item_table) if self.item_table else None
        return replace(
            self,
            entity_table=entity.key if entity else self.entity_table,
            item_table=items.key if items else self.item_table,
            remove_columns=tuple(removed),
        )

    def to_manifest(self) -> dict[str, Any]:
        """The task as a manifest: that of RelBench 3 with the split timestamps when they are set, or a line."""
        line = (*LINE_FIELDS, *FORM_FIELDS, *(() if self.is_static else ("kind",)))
        said = line if self.predict else ("entity_col", "sql") if self.kind == "autocomplete" else ()
        # An empty text says that a required field is missing; the positive label, for example, may be one.
        empty = {field.name: "" if field.default is MISSING else None for field in fields(self)}
        values = {k: v for k, v in asdict(self).items() if v not in (None, (), empty[k]) and k not in said}
        if self.remove_columns:
            values["remove_columns"] = [list(pair) for pair in self.remove_columns]
        for key in ("val_timestamp", "test_timestamp"):
            if key in values:
                values[key] = values[key].isoformat(sep=" ")
        for name, given in RELBENCH_NAMES.items() if self.is_recommendation and not self.predict else ():
            values[given] = values.pop(name)
        return values if self.predict else {"kind": self.kind, **values}
