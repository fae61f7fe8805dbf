"""Options of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_type_hints

import msgspec

from relsql.errors import TrainingError
from relsql.evaluation.uncertainty import COVERAGE
from relsql.gather.paths import DEFAULT_FANOUT, MAX_HUB_ROWS, MAX_PATHS
from relsql.tasks.regime import Regime, check_regime

COMPACT = "compact"

Count = Annotated[int, msgspec.Meta(ge=1)]
CountOrZero = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of a training run.

    Attributes:
        seed: seed of all random numbers.
        encoder: `compact` (a small BART trained on this database) or the path or hub name of a pre-trained BART.
        encoder_steps: steps of denoising training; None: by the number of distinct texts, at most 300, and fewer once
            the loss on held-out texts has stopped falling. 0 keeps a pre-trained BART unchanged.
        pretrained: folder of weights to start from, written by `relsql pretrain`; None: random weights.
        max_tokens: longer row texts are truncated.
        fanout: maximum number of rows per seed and link path.
        max_paths: maximum number of link paths, at least 1; `relsql.training.path_choice` decides which ones are read.
        max_hub_rows: link paths whose hubs have more rows are not read, see `relsql.gather.paths.MAX_HUB_ROWS`.
        event_hubs: also read the other rows of the events that an entity's last rows belong to, such as the race of the
            last result, see `relsql.gather.paths`.
        channels: width of the graph network.
        epochs: maximum number of passes over the training labels; None: 4, or 8 for a seed-time regression, and more if
            there are few labels, see `fit_config`.
        batch_size, learning_rate: batch size and peak learning rate of task training.
        regime: `seed-time` for a live database, `frozen` for one that lags behind as_of; see `relsql.tasks.regime`.
        density: training timestamps per horizon.
        refit: finally train on training and validation labels together; the metrics are measured before that.
        trees: mix the network's output with that of boosted trees, see `relsql.training.fitting.fit_trees`.
        coverage: the share of labels that intervals and sets of likely classes are made for, see
            `relsql.evaluation.uncertainty`.
        read_scores: also read what models wrote into the tables, see `relsql.training.written_columns`.
        threads: number of torch threads; None: torch's default.

    Raises:
        TaskError: the regime does not exist. TrainingError: another option has another type or is out of range.
    """

    seed: int = 0
    encoder: str = COMPACT
    encoder_steps: CountOrZero | None = None
    pretrained: str | None = None
    max_tokens: Count = 64
    fanout: Count = DEFAULT_FANOUT
    max_paths: Count = MAX_PATHS
    max_hub_rows: CountOrZero = MAX_HUB_ROWS
    event_hubs: bool = False
    channels: Count = 64
    epochs: Count | None = None
    batch_size: Count = 512
    learning_rate: Annotated[float, msgspec.Meta(gt=0)] = 3e-3
    regime: Regime = "seed-time"
    density: Count = 1
    refit: bool = True
    trees: bool = True
    coverage: Share = COVERAGE
    read_scores: bool = False
    threads: Count | None = None

    def __post_init__(self) -> None:
        check_regime(self.regime)
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            try:
                msgspec.convert(value, kind)
            except msgspec.ValidationError as error:
                problem = f"the training option {name} is {value!r}"
                expected = str(error).removeprefix("Expected ").split(", got")[0].replace("`", "")
                raise TrainingError(problem, expected=expected, fix=f"correct {name}, or leave it out") from None


_KINDS = get_type_hints(TrainOptions, include_extras=True)
