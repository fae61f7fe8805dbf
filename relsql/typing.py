"""Types that several packages share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


IntArray = npt.NDArray[np.int64]


TrainProgress = Callable[[str, float, dict[str, float]], None]
"""Called with phase, finished fraction (0.0 at its start, 1.0 at its end) and metrics."""


JobProgress = Callable[[str, float, dict[str, float]], None]
"""Called with the phase `score`, the finished fraction of the chunks, and how many entities they hold."""
