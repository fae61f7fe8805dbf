"""Types that several packages share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


IntArray = npt.NDArray[np.int64]


PhaseProgress = Callable[[str, float, dict[str, float]], None]
"""Called with a phase, its finished fraction (0.0 at its start, 1.0 at its end), and its metrics or counts."""
