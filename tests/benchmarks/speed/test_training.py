"""The benchmark of training: time and memory of each phase, and the targets."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.speed import training as training_speed
from benchmarks.speed.timing import peak_bytes, reset_peak
from benchmarks.speed.training import PhaseCost, PhaseMemory, TrainingCost, measure, table, targets
from relsql.registry.runs import PHASES


def test_a_training_is_measured_phase_by_phase_on_a_copy(tmp_path: Path) -> None:
    # Imported here, so that the import of torch counts in the process that trains.
    from tests.shop import QUICK, create_shop

    path = tmp_path / "shop.duckdb"
    create_shop(path)
    [cost] = measure([("shop", path, "customer-churn")], QUICK, tmp_path / "training.json")
    assert tuple(phase.name for phase in cost.phases) == PHASES
    assert cost.seconds > sum(phase.seconds for phase in cost.phases) > 0
    with duckdb.connect(str(path)) as con:
        counts = " + ".join(f"(SELECT count(*) FROM {name})" for name in ("shops", "customers", "orders"))
        assert con.execute(f"SELECT {counts}").fetchall() == [(cost.rows,)]
        stored = con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'models'").fetchall()
        assert stored == [(0,)]
    # The data are told apart before torch is loaded.
    data, *others = cost.phases
    assert 20e6 < data.peak_bytes <= cost.peak_bytes
    assert all(100e6 < phase.peak_bytes <= cost.peak_bytes < 4e9 for phase in others)
    [written] = json.loads((tmp_path / "training.json").read_text())["trainings"]
    assert written["peak_bytes"] == cost.peak_bytes and len(written["phases"]) == len(PHASES)
    assert table([cost]).splitlines()[2].startswith("| data | ")


def test_memory_is_that_of_the_phase() -> None:
    if not reset_peak():
        pytest.skip("this system counts from the start of the process")
    memory = PhaseMemory()
    for phase, numbers in (("gather", 40_000_000), ("network", 1)):
        memory(phase, 0.0, {})
        held = np.ones(numbers)
        memory(phase, 0.5, {})
        del held
        memory(phase, 1.0, {})
    assert list(memory.peaks) == ["gather", "network"]
    assert memory.peaks["gather"] - memory.peaks["network"] > 200e6
    assert peak_bytes() - memory.peaks["network"] < 50e6


def test_targets_are_those_of_their_task() -> None:
    phases = (PhaseCost("gather", 20.0, 2 * 10**9), PhaseCost("network", 30.0, 5 * 10**9))
    found = targets([TrainingCost(name, 10, 60.0, phases) for name in ("rel-f1/driver-top3", "rel-f1/driver-dnf")])
    assert [(target.name, target.measured, target.met) for target in found] == [
        ("train rel-f1/driver-dnf, s", 60.0, True),
        ("train rel-f1/driver-dnf, peak GB", 5.0, False),
    ]


def test_missing_data_sets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_speed, "measure", lambda problems, options, report: [])
    arguments = ["--problems", "rel-none/task", "--sizes", "50", "--cache", str(tmp_path)]
    found = CliRunner().invoke(training_speed.main, arguments)
    assert found.exit_code == 0 and "rel-none/task is left out" in found.stderr
    assert (tmp_path / "speed" / "one-hop-50.duckdb").exists()
