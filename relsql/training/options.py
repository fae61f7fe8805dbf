"""What can be chosen about a training run."""

from __future__ import annotations

from dataclasses import dataclass

from relsql.gather.paths import DEFAULT_FANOUT, MAX_PATHS
from relsql.tasks.regime import Regime

COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What can be chosen about a training run.

    Attributes:
        seed: of all random numbers.
        encoder: `compact` (a small BART trained on this database) or the path or hub name of a pre-trained BART.
        encoder_steps: steps of denoising training; None: by the number of texts. 0 leaves a pre-trained BART as it is.
        max_tokens: longer row texts are cut.
        fanout: rows per seed and link path.
        max_paths: link paths that are read at most, at least 1; which, is decided by `relsql.training.path_choice`.
        channels: width of the graph network.
        epochs: passes over the training labels at most; None: 4, 8 for a seed-time regression, more for few labels, see
            `fit_config`.
        batch_size, learning_rate: of task training.
        regime: `seed-time` for a live database, `frozen` for one that lags behind as_of; see `relsql.tasks.regime`.
        density: training timestamps per horizon.
        refit: train on training and validation labels in the end; metrics are those of the model before.
        threads: torch threads; None: as many as torch chooses.
    """

    seed: int = 0
    encoder: str = COMPACT
    encoder_steps: int | None = None
    max_tokens: int = 64
    fanout: int = DEFAULT_FANOUT
    max_paths: int = MAX_PATHS
    channels: int = 64
    epochs: int | None = None
    batch_size: int = 512
    learning_rate: float = 3e-3
    regime: Regime = "seed-time"
    density: int = 1
    refit: bool = True
    threads: int | None = None
