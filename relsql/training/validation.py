"""The interval of a validation metric where there are few labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from relsql.evaluation.bootstrap import metric_interval
from relsql.evaluation.class_metrics import class_interval
from relsql.registry.versions import main_metric
from relsql.tasks.labels.label_findings import are_few
from relsql.tasks.labels.label_table import label_entities
from relsql.tasks.summary import SplitSummary

if TYPE_CHECKING:
    import pyarrow as pa

    from relsql.gather.arrays.blocks import SeedSet
    from relsql.training.fitting.fit_network import FittedNetwork


def validation_interval(
    fitted: FittedNetwork, seeds: SeedSet, labels: pa.Table, split: SplitSummary
) -> dict[str, float]:
    """Both ends of the validation metric's bootstrap interval where there are few labels."""
    name = main_metric(fitted.metrics)
    if name is None or fitted.thresholds is not None or not are_few(split):
        return {}
    # Labels of invisible entities are dropped when seeds are gathered, so the remaining seeds cannot be matched to
    # entities.
    same = labels.num_rows == len(seeds)
    entities = label_entities(labels) if same else list(range(len(seeds)))
    metric = name.removeprefix("val_")
    if fitted.validation_scores.ndim > 1:
        found = class_interval(seeds.labels.astype(np.int64), fitted.validation_scores, metric, entities)
    else:
        found = metric_interval(seeds.labels, fitted.validation_scores, metric, entities)
    return {f"{name}_low": found[0], f"{name}_high": found[1]} if found else {}
