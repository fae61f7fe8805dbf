"""The row with pre-training: which databases it learns from, and that it is compared with nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("relbench")

from benchmarks.accuracy.build import current_build
from benchmarks.accuracy.comparison import best_baseline
from benchmarks.accuracy.rows import PRETRAINED, make_row, pretrained
from benchmarks.accuracy.rows.pretrained import weights_without
from benchmarks.data.generated import DATABASES
from relsql.training.pretraining.pretrain import PretrainOptions
from tests.benchmarks.accuracy.test_comparison import regression

DATASETS = ("rel-a", "rel-b", "rel-c")


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_measured_database_is_never_among_the_sources(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in DATABASES:
        (tmp_path / f"{name}.duckdb").touch()
    runs: list[set[str]] = []

    def pretrain(files: list[Path], output: Path, *, options: PretrainOptions) -> None:
        runs.append({path.stem for path in files})
        output.mkdir()

    monkeypatch.setattr(pretrained, "list_datasets", lambda: DATASETS)
    monkeypatch.setattr(pretrained, "database_file", lambda name, cache: cache / f"{name}.duckdb")
    monkeypatch.setattr(pretrained, "pretrain", pretrain)
    output = weights_without(dataset, tmp_path, PretrainOptions())
    assert runs == [({*DATASETS} - {dataset}) | DATABASES.keys()]
    # The weights are kept.
    assert weights_without(dataset, tmp_path, PretrainOptions()) == output and len(runs) == 1
    assert output.parent == tmp_path and current_build("relsql").code in output.name


def test_the_row_is_no_baseline() -> None:
    assert make_row(PRETRAINED).name == "relsql, pre-trained"
    assert best_baseline(regression({"relsql": [0.5], PRETRAINED: [0.1], "rdl": [1.0]})) == "rdl"
    assert best_baseline(regression({"relsql": [0.5], PRETRAINED: [0.1]})) is None
