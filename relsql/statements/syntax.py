"""The statements about models as written: nothing in them has been looked up in a database yet."""

from __future__ import annotations

from dataclasses import dataclass, field

Value = str | int | float | bool | None
"""The value of an option in WITH."""


@dataclass(frozen=True, slots=True)
class CreateModel:
    """`CREATE MODEL name AS PREDICT ... [WITH (option = value, ...)]`.

    Attributes:
        name: name of the model.
        line: the question, `PREDICT ... FOR EACH ...`.
        options: the options of WITH.
        replace: after `CREATE OR REPLACE`: a model of this name gets another version.
        if_missing: after `IF NOT EXISTS`: a model of this name stays as it is.
    """

    name: str
    line: str
    options: dict[str, Value] = field(default_factory=dict)
    replace: bool = False
    if_missing: bool = False


@dataclass(frozen=True, slots=True)
class ShowModels:
    """`SHOW MODELS`."""


@dataclass(frozen=True, slots=True)
class DescribeModel:
    """`DESCRIBE MODEL name`; `model` is a name or a version, `dnf@2`."""

    model: str


@dataclass(frozen=True, slots=True)
class DropModel:
    """`DROP MODEL [IF EXISTS] name`: all versions of a model, or one version, `dnf@2`."""

    model: str
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class Predict:
    """`PREDICT ... FOR EACH ... [WITH (option = value, ...)]`: the scores that answer a line."""

    line: str
    options: dict[str, Value] = field(default_factory=dict)


Statement = CreateModel | ShowModels | DescribeModel | DropModel | Predict


def only_reads(statement: Statement) -> bool:
    """True if the statement cannot change the database."""
    return isinstance(statement, (ShowModels, DescribeModel))
