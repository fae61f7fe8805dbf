"""References to models: `dnf` is the active version; `dnf@2`, `dnf@best` and `dnf@previous` select a version."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from relsql.database.names import fold, stored_name
from relsql.errors import ModelError
from relsql.hints import command
from relsql.registry.function_names import all_names
from relsql.tasks.target import more_is_better

if TYPE_CHECKING:
    from relsql.registry.cards.card import ModelCard

BEST, PREVIOUS = "best", "previous"
MODEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_VERSION = re.compile(rf"{BEST}|{PREVIOUS}|[1-9][0-9]{{0,8}}")
ACTIVE, RETIRED = "active", "retired"


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model and one of its versions: a number, `best`, `previous`, or None for the active one."""

    name: str
    version: int | str | None = None

    def function_suffix(self, version: int) -> str:
        """What follows `predict_` in the function names of `version`: `dnf`, or `dnf_v2` if a version is requested."""
        return self.name if self.version is None else f"{self.name}_v{version}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Versions ranked by one validation metric.

    Attributes:
        metric: name of the metric, for example `val_roc_auc`.
        values: value of the metric by version, the best first.
        left_out: versions that were validated on other labels, or whose card cannot be read.
    """

    metric: str
    values: dict[int, float]
    left_out: tuple[int, ...]

    def __str__(self) -> str:
        direction = "higher" if more_is_better(self.metric) else "lower"
        listed = ", ".join(f"version {version} {value:.4g}" for version, value in self.values.items())
        rest = ", ".join(map(str, self.left_out))
        return f"{self.metric}, {direction} is better: {listed}" + (
            f"; validated on other labels, not compared: {rest}" if rest else ""
        )


def parse_reference(text: str) -> ModelReference:
    """Read `NAME` or `NAME@VERSION`.

    Raises:
        ModelError: VERSION is neither a number nor `best` nor `previous`.
    """
    name, at, version = text.partition("@")
    if at and not _VERSION.fullmatch(version):
        raise ModelError(
            f"'{text}' names no version of model '{name}'",
            expected=f"{name}@1, {name}@{BEST} or {name}@{PREVIOUS}",
            fix="relsql models FILE",
        )
    return ModelReference(name, int(version) if version.isdigit() else version or None)


def suffix_of(text: str, name: str, version: int) -> str:
    """What follows `predict_` in the function names of the version that `text` refers to: `version` of `name`."""
    return replace(parse_reference(text), name=name).function_suffix(version)


def model_name(name: str, models: Iterable[str]) -> str:
    """The name of a model to train: the name of an existing model if it differs in case alone, else `name` itself.

    Raises:
        ModelError: it cannot be part of a function name, or another model has one of its functions.
    """
    if not MODEL_NAME.fullmatch(name):
        problem = "starts with a digit" if name[:1].isdigit() else "cannot be part of a function name"
        raise ModelError(
            f"model name '{name}' {problem}",
            expected="a letter or underscore, then letters, digits and underscores, at most 63 in all",
            fix=command("train", "FILE", "TASK", "--name", _possible_name(name)),
        )
    known = set(models)
    name = stored_name(name, known) or name
    require_new_name(name, known)
    return name


def _possible_name(name: str) -> str:
    """A name like this one that a model can have."""
    possible = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:60]
    return f"m_{possible}" if possible[:1].isdigit() else possible or "NAME"


def require_new_name(name: str, models: Iterable[str]) -> None:
    """Check that the functions of a new model would not have the names of another model's functions.

    Raises:
        ModelError: two models would have one function.
    """
    for other in sorted(set(models) - {name}):
        shared = shared_function(name, other)
        if shared:
            raise ModelError(
                f"a model '{name}' would have the function {shared}, which belongs to model '{other}'",
                expected=f"'{other}' for a new version of that model, or another name",
                fix=command("train", "FILE", "TASK", "--name", other),
            )


def choose_version(reference: ModelReference, versions: Sequence[ModelRow], cards: Mapping[int, ModelCard]) -> ModelRow:
    """The version that a reference refers to, among the versions of its model.

    Args:
        reference: the reference to the model and a version.
        versions: the versions of that model, at least one.
        cards: the readable cards of the versions by number; only used for `best`.

    Raises:
        ModelError: the version does not exist.
    """
    if reference.version is None:
        return _active(versions)
    if reference.version == PREVIOUS:
        return _previous(versions)
    number = reference.version
    if number == BEST:
        number = next(iter(compare_versions(versions, cards).values))
    found = [model for model in versions if model.version == number]
    if not found:
        raise ModelError(
            f"model '{reference.name}' has no version {number}",
            expected=f"one of: {', '.join(str(model.version) for model in versions)}",
            fix="relsql models FILE",
        )
    return found[0]


def compare_versions(versions: Sequence[ModelRow], cards: Mapping[int, ModelCard]) -> Comparison:
    """Compare the active version of a model with its other versions of the same task, split timestamps and regime.

    All other versions were validated on other labels or other data, so their metrics are not comparable. Among equal
    versions the active one comes first, then the newest.

    Raises:
        ModelError: the active version has no validation metric, or its card cannot be read.
    """
    active = _active(versions)
    metric = main_metric(active.metrics)
    if metric is None or active.version not in cards:
        raise ModelError(
            f"version {active.version} of model '{active.name}' cannot be compared with others",
            expected="a card that can be read and a validation metric",
            fix=command("promote", "FILE", active.name, "VERSION"),
        )
    asked = _validated_on(cards[active.version])
    same = {version for version, card in cards.items() if _validated_on(card) == asked}
    comparable = [model for model in versions if model.version in same and model.metrics.get(metric) is not None]
    sign = -1 if more_is_better(metric) else 1
    comparable.sort(key=lambda model: (sign * model.metrics[metric], model.status != ACTIVE, -model.version))
    values = {model.version: model.metrics[metric] for model in comparable}
    return Comparison(metric, values, tuple(model.version for model in versions if model.version not in values))


def main_metric(metrics: Mapping[str, float]) -> str | None:
    """Name of the metric that training chose the epoch by, such as `val_roc_auc` or `val_mae`."""
    return next((name for name in metrics if name.startswith("val_")), None)


def _validated_on(card: ModelCard) -> tuple[object, ...]:
    return replace(card.task, description=None), card.regime


def _active(versions: Sequence[ModelRow]) -> ModelRow:
    active = [model for model in versions if model.status == ACTIVE]
    if not active:
        name = versions[0].name
        raise ModelError(f"model '{name}' has no active version", fix=command("promote", "FILE", name, "VERSION"))
    return active[0]


def _previous(versions: Sequence[ModelRow]) -> ModelRow:
    """The retired version that was active last; if no times are stored (earlier builds), the newest retired version."""
    retired = [model for model in versions if model.status != ACTIVE]
    if not retired:
        [only] = versions
        raise ModelError(
            f"model '{only.name}' has no previous version",
            expected=f"more versions than version {only.version}",
            fix=command("train", "FILE", only.task, "--name", only.name),
        )
    timed = [(model.activated, model) for model in retired if model.activated]
    if timed:
        return max(timed, key=lambda pair: pair[0])[1]
    return max(retired, key=lambda model: model.version)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One row of `relsql.models`.

    `status` is `active` (what `predict_<name>` calls) or `retired`; `relsql.registry.models.check_statuses` refuses any
    other. `activated` says when the version last became the active one, UTC, and `request` is its training fingerprint,
    see `relsql.training.fingerprint`; earlier builds stored neither. A damaged row has `?` for a missing text, and no
    metrics; `read_card` refuses it.
    """

    name: str
    version: int
    status: str
    task: str
    task_type: str
    created: datetime | None
    metrics: dict[str, float]
    sha256: str
    activated: datetime | None
    request: str | None
    target: str


def shared_function(suffix: str, other: str) -> str | None:
    """A function name that two models would share, or None: `churn` and `Churn` share one, `dnf_full` and `dnf` too."""
    theirs = set(map(fold, all_names(other)))
    return next((name for name in all_names(suffix) if fold(name) in theirs), None)
