"""The cards of trained models."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relsql.gather.arrays.blocks import newest_event_days
from relsql.registry.cards.card import CARD_FORMAT, ModelCard
from relsql.tasks.kinds.classes import Classes
from relsql.training.fingerprint import library_versions
from relsql.training.options import TrainOptions
from relsql.training.plan import Plan
from relsql.training.pretraining.weights import read_manifest
from relsql.version import __version__

if TYPE_CHECKING:
    from relsql.gather.arrays.blocks import SeedSet
    from relsql.training.encoder.fit_encoder import TrainedEncoder
    from relsql.training.fitting.fit_network import FittedNetwork


def origin(name: str, options: TrainOptions, version: int) -> dict[str, Any]:
    """The fields of a card that identify the model and describe how it was trained."""
    return {
        "format": CARD_FORMAT,
        "name": name,
        "version": version,
        "relsql_version": __version__,
        "created": datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0),
        "versions": library_versions(),
        "regime": options.regime,
        "seed": options.seed,
        "options": _options_of_card(options),
    }


def network_card(
    name: str,
    version: int,
    options: TrainOptions,
    plan: Plan,
    seeds: dict[str, SeedSet],
    classes: Classes | None,
    encoder: TrainedEncoder,
    fitted: FittedNetwork,
    parity: dict[str, float],
    artifacts: dict[str, bytes],
) -> ModelCard:
    """The card of a version with a trained network."""
    assert plan.task.val_timestamp is not None
    return ModelCard(
        **origin(name, options, version),
        task=plan.task,
        schema=plan.schema,
        fingerprint=plan.schema.fingerprint(),
        paths=plan.paths,
        inputs=dict(plan.inputs),
        encoder=encoder.card,
        channels=fitted.network.config.channels,
        windows=fitted.network.config.windows,
        statistics=fitted.network.chosen_statistics,
        trained_until=plan.task.val_timestamp,
        stale_after_days=_oldest_evidence_days(plan, seeds),
        metrics=fitted.metrics,
        parity=parity,
        sha256={key: hashlib.sha256(content).hexdigest() for key, content in sorted(artifacts.items())},
        classes=replace(classes, thresholds=fitted.thresholds) if classes else None,
        uncertainty=fitted.uncertainty,
    )


def _options_of_card(options: TrainOptions) -> dict[str, str | int | float | bool | None]:
    """The options that have no field of their own, and the digest of the pre-trained weights."""
    found = {key: value for key, value in asdict(options).items() if key not in ("seed", "regime")}
    if options.pretrained:
        found["pretrained_digest"] = read_manifest(options.pretrained).digest
    return found


def _oldest_evidence_days(plan: Plan, seeds: dict[str, SeedSet]) -> float | None:
    """The largest age, over all training and validation seeds, of a seed's newest linked row that is an event.

    A row of 1900-01-01 may be all that an entity has; that does not make evidence of a hundred years ago normal.
    """
    oldest = -np.inf
    for part in seeds.values():
        newest = newest_event_days(part, plan.paths, plan.schema)
        finite = newest[np.isfinite(newest)]
        oldest = max(oldest, float(finite.max())) if len(finite) else oldest
    return float(oldest) if np.isfinite(oldest) else None
