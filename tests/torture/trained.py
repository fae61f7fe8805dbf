"""Training that takes no time: the result of a real training run is kept in a file and reused by later runs.

The phases before and after it run unchanged. Another seed gives the same network with another temperature, which is a
model with other scores that needs no second export.
"""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

ENCODER_STEPS = 2


@contextmanager
def quick_training(folder: Path) -> Iterator[None]:
    """Train as little as possible in this process, and only once per database."""
    import relsql.training.encoder.fit_encoder
    import relsql.training.fitting.fit_network
    import relsql.training.options
    import relsql.training.train

    options = partial(relsql.training.options.TrainOptions, encoder_steps=ENCODER_STEPS, threads=1, epochs=1)

    def chosen(**given: Any) -> Any:
        return options(**given)

    kept = _Kept(folder)
    encoder, network = (
        relsql.training.encoder.fit_encoder.train_encoder,
        relsql.training.fitting.fit_network.train_network,
    )
    export = relsql.training.train._export

    def train_encoder(con: Any, catalog: str, plan: Any, options: Any, run: Any) -> Any:
        kept.task = plan.task.name
        for phase in ("tokenizer", "encoder") if kept.has("encoder") else ():
            with run.phase(phase):
                pass
        return kept.or_new("encoder", lambda: encoder(con, catalog, plan, options, run))

    def train_network(*arguments: Any) -> Any:
        kept.seed = arguments[4].seed
        fitted = kept.or_new("network", lambda: network(*arguments))
        return _reheated(fitted) if kept.seed else fitted

    def export_components(fitted: Any, *arguments: Any) -> Any:
        artifacts, parity = kept.or_new("artifacts", lambda: export(fitted, *arguments))
        return (artifacts | _head(fitted), parity) if kept.seed else (artifacts, parity)

    with ExitStack() as stack:
        for module, name, replacement in (
            (relsql.training.options, "TrainOptions", chosen),
            (relsql.training.train, "TrainOptions", chosen),
            (relsql.training.encoder.fit_encoder, "train_encoder", train_encoder),
            (relsql.training.fitting.fit_network, "train_network", train_network),
            (relsql.training.train, "_export", export_components),
        ):
            stack.enter_context(mock.patch.object(module, name, replacement))
        yield


class _Kept:
    """The results of training for a task, in files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.task, self.seed = folder, "", 0

    def has(self, part: str) -> bool:
        """True if it was found earlier."""
        return self._path(part).exists()

    def or_new(self, part: str, train: Callable[[], Any]) -> Any:
        """The stored result, or a new one if there is none."""
        path = self._path(part)
        if path.exists():
            return pickle.loads(path.read_bytes())
        found = train()
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(pickle.dumps(found))
        draft.replace(path)
        return found

    def _path(self, part: str) -> Path:
        return self.folder / f"{self.task}.{part}.pickle"


def _reheated(fitted: Any) -> Any:
    fitted = copy.deepcopy(fitted)
    fitted.head.temperature.mul_(1.5)
    return fitted


def _head(fitted: Any) -> dict[str, bytes]:
    from exporters.onnx.export import export_head

    content, _ = export_head(fitted.head, fitted.network.state_width)
    return {"head.onnx": content}
