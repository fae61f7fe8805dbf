"""Tests of the accuracy benchmark: its command, its results file and its tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.accuracy import report, results, rows
from benchmarks.accuracy import run as accuracy
from benchmarks.accuracy.build import Build
from benchmarks.accuracy.comparison import mean_metric
from benchmarks.accuracy.judge import Bin, Interval, IntervalCheck
from benchmarks.accuracy.results import Calibration, Results, Summary, read_results, read_scored
from benchmarks.accuracy.rows import Scores
from benchmarks.data.problems import Problem
from relsql.errors import DatabaseError
from relsql.version import __version__ as relsql_version


class Drawn:
    """A row whose scores are drawn from its seed; `calls` lists the seeds of its calls."""

    name = "drawn"
    calls: list[int]

    def __init__(self) -> None:
        self.calls = []

    def scores(self, problem: Problem, seed: int) -> Scores:
        self.calls.append(seed)
        random = np.random.default_rng(seed)
        return {"val": random.random(len(problem.targets("val"))), "test": random.random(len(problem.targets("test")))}


class Broken(Drawn):
    name = "broken"

    def scores(self, problem: Problem, seed: int) -> Scores:
        return {split: values * np.nan for split, values in super().scores(problem, seed).items()}


@pytest.fixture(scope="module")
def cache(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accuracy")


def run(cache: Path, out: Path, *arguments: str) -> Result:
    common = ["--dataset", "rel-f1", "--task", "driver-top3", "--cache", str(cache), "--out", str(out)]
    return CliRunner().invoke(accuracy.main, [*common, *arguments])


def test_a_benchmark_continues_where_it_stopped(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, out = Drawn(), tmp_path / "a.json"
    monkeypatch.setitem(rows.ROWS, "drawn", lambda: drawn)
    options = ("--rows", "drawn", "--regime", "frozen")
    assert run(cache, out, *options, "--seeds", "2").exit_code == 0
    result = run(cache, out, *options, "--seeds", "3")
    assert result.exit_code == 0
    assert "driver-top3 frozen  drawn, seed 2: val 0." in result.stderr
    assert drawn.calls == [0, 1, 2]
    stored = read_results(out)
    [summary] = stored.summaries
    found = [each.test["roc_auc"] for each in stored.runs]
    assert (summary.seeds, summary.metric) == (3, "roc_auc")
    assert summary.test == pytest.approx(np.mean(found))
    assert summary.test_deviation == pytest.approx(np.std(found, ddof=1))
    assert summary.interval.low < summary.test < summary.interval.high
    assert sum(each.count for each in summary.calibration.bins) == 3 * 726
    assert 0 < (summary.calibration.error or 0) < 1
    assert run(cache, out, *options, "--seeds", "1", "--fresh").exit_code == 0
    assert drawn.calls == [0, 1, 2, 0]
    assert len(read_results(out).runs) == 1


def test_runs_of_relsql_by_other_code_are_run_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of baselines stay; relsql's runs of other code are replaced, and never averaged with new ones."""
    relsql, baseline, out = Drawn(), Drawn(), tmp_path / "a.json"
    monkeypatch.setitem(rows.ROWS, "relsql", lambda: relsql)
    monkeypatch.setitem(rows.ROWS, "recency", lambda: baseline)
    options = ("--rows", "recency,relsql", "--regime", "frozen")
    assert run(cache, out, *options, "--seeds", "3").exit_code == 0
    [before] = {each.build for each in read_results(out).runs if each.row == "relsql"}
    assert before.version == relsql_version and len(before.code) == 8
    assert run(cache, out, *options, "--seeds", "3").exit_code == 0
    assert (relsql.calls, baseline.calls) == ([0, 1, 2], [0])

    other = Build("0.0.9", "abc1234", "01234567")
    monkeypatch.setattr(results, "current_build", lambda row: other)
    assert run(cache, out, *options, "--seeds", "1").exit_code == 0
    assert (relsql.calls, baseline.calls) == ([0, 1, 2, 0], [0])
    found = read_results(out)
    assert [(each.seed, each.build) for each in found.runs if each.row == "relsql"] == [(0, other)]
    assert next(each.seeds for each in found.summaries if each.row == "relsql") == 1
    assert "made by different code" not in report.render(found)

    assert run(cache, out, "--rows", "recency", "--regime", "seed-time").exit_code == 0
    expected = f"**The runs of row `recency` were made by different code**: 1 by {relsql_version} at "
    assert expected in report.render(read_results(out))
    assert run(cache, out, "--rows", "recency", "--regime", "frozen", "--again").exit_code == 0
    assert "made by different code" not in report.render(read_results(out))


def test_stored_scores_are_compared(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "a.json"
    monkeypatch.setitem(rows.ROWS, "relsql", Drawn)
    monkeypatch.setitem(rows.ROWS, "drawn", Drawn)
    assert run(cache, out, "--rows", "drawn,relsql", "--regime", "frozen", "--seeds", "2").exit_code == 0
    found = read_results(out)
    [problem] = read_scored(out, found)
    assert (problem.unit, problem.labels.shape, problem.cluster.max()) == ("timestamp", (726,), 29)
    assert {row: scores.shape for row, scores in problem.scores.items()} == {"drawn": (2, 726), "relsql": (2, 726)}
    assert mean_metric(problem, "relsql") == pytest.approx(found.summaries[-1].test)
    assert "| +0.0000 | +0.0000 to +0.0000, by timestamp | 0.0000 | equal |" in report.render(found, [problem])


def test_runs_on_other_labels_are_refused(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "a.json"
    monkeypatch.setitem(rows.ROWS, "drawn", Drawn)
    options = ("--rows", "drawn", "--regime", "frozen", "--seeds")
    assert run(cache, out, *options, "1").exit_code == 0
    [file] = (tmp_path / "a.scores").glob("*--frozen.npz")
    np.savez_compressed(file, labels=np.zeros(726), cluster=np.arange(726), unit=np.array("entity"))
    result = run(cache, out, *options, "2")
    assert result.exit_code == 1 and "has runs on other test labels of rel-f1 driver-top3" in result.stderr
    assert len(read_results(out).runs) == 1


def test_cores_restrict_the_whole_process(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, list[int]]] = []
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {3, 5}, raising=False)
    monkeypatch.setattr("os.sched_setaffinity", lambda process, cores: asked.append((process, cores)), raising=False)
    options = ("--rows", "entity-mean", "--regime", "frozen", "--cores")
    assert run(cache, tmp_path / "a.json", *options, "1").exit_code == 0
    assert asked == [(0, [3])]
    result = run(cache, tmp_path / "a.json", *options, "3")
    assert result.exit_code == 2 and "may use 2 cores" in result.stderr


def test_a_row_that_fails_stops_no_other(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rows.ROWS, "broken", Broken)
    result = run(cache, tmp_path / "a.json", "--rows", "broken,entity-mean", "--regime", "seed-time")
    assert result.exit_code == 1
    assert "588 finite scores" in result.stderr
    assert [each.row for each in read_results(tmp_path / "a.json").runs] == ["entity-mean"]


def test_regimes_that_coincide_run_once(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    options = ["--dataset", "rel-grants", "--task", "donee-usd", "--rows", "entity-mean", "--cache", str(cache)]
    result = CliRunner().invoke(accuracy.main, [*options, "--out", str(out)])
    assert result.exit_code == 0
    assert "the frozen regime is the seed-time regime" in result.stderr
    [summary] = read_results(out).summaries
    assert (summary.regime, summary.metric, summary.interval.unit) == ("seed-time", "mae", "entity")
    [check] = summary.calibration.intervals
    assert 0.5 < check.coverage < 1.0


def test_names_that_do_not_exist(cache: Path, tmp_path: Path) -> None:
    result = run(cache, tmp_path / "a.json", "--rows", "recencies")
    assert result.exit_code == 2 and "did you mean 'recency'" in result.stderr
    result = run(cache, tmp_path / "a.json", "--task", "driver-dnff")
    assert result.exit_code == 1 and "did you mean 'driver-dnf'" in result.stderr
    (tmp_path / "no.json").write_text('{"runs": 1}')
    with pytest.raises(DatabaseError, match="holds no benchmark results"):
        read_results(tmp_path / "no.json")


BINARY = Summary(
    dataset="rel-x",
    task="churn",
    regime="frozen",
    row="relsql",
    name="relsql default",
    metric="roc_auc",
    seeds=5,
    val=0.81234,
    test=0.79999,
    test_deviation=0.0042,
    interval=Interval(0.7701, 0.8249, "timestamp"),
    seconds=12.34,
    calibration=Calibration(0.0312, (Bin(10, 0.1, 0.2), Bin(11, 0.8, 0.7))),
)
REGRESSION = replace(
    BINARY,
    task="usd",
    regime="seed-time",
    metric="mae",
    seeds=2,
    interval=Interval(0.7, 0.9, "entity"),
    calibration=Calibration(intervals=(IntervalCheck(0.8, 0.7, 2.0, 0.1), IntervalCheck(0.8, 0.8, 4.0, -0.3))),
)
MEAN = replace(BINARY, row="entity-mean", name="mean label", seeds=1, test_deviation=None, calibration=Calibration(0.5))
ABOUT = (
    "Higher is better. 95 % bootstrap interval of the test metric, resampled by timestamp; "
    "± is the standard deviation over seeds; seconds are per seed."
)
GOLDEN = f"""### rel-x churn, frozen: ROC-AUC

{ABOUT}

| row | val | test | 95 % interval | seeds | seconds | source |
| --- | --- | --- | --- | --- | --- | --- |
| mean label | 0.812 | 0.800 | 0.770 to 0.825 | 1 | 12.3 | this run |
| relsql default | 0.812 | 0.800 ± 0.004 | 0.770 to 0.825 | 5 | 12.3 | this run |

### rel-x usd, seed-time: mean absolute error

{ABOUT.replace("Higher", "Lower").replace("timestamp", "entity")}

| row | val | test | 95 % interval | seeds | seconds | source |
| --- | --- | --- | --- | --- | --- | --- |
| relsql default | 0.812 | 0.800 ± 0.004 | 0.700 to 0.900 | 2 | 12.3 | this run |

### Calibration of relsql default on test

| task | regime | expected calibration error |
| --- | --- | --- |
| rel-x churn | frozen | 0.031 |

The interval is the score plus the central quantiles of the errors on val; bias is score - label.

| task | regime | wanted coverage | coverage | width | bias |
| --- | --- | --- | --- | --- | --- |
| rel-x usd | seed-time | 0.800 | 0.750 | 3.000 | -0.100 |

rel-x churn, frozen, labels of all seeds in bins of equal mass:

| labels | mean score | rate of positives |
| --- | --- | --- |
| 10 | 0.100 | 0.200 |
| 11 | 0.800 | 0.700 |

Environment: cores 2, python 3.12."""


def test_tables_of_a_results_file() -> None:
    environment = {"python": "3.12", "cores": "2"}
    assert report.render(Results([], [REGRESSION, BINARY, MEAN], environment)) == GOLDEN


def test_quoted_results_are_listed_with_ours_in_their_regime() -> None:
    ours = replace(BINARY, dataset="rel-f1", task="driver-dnf", regime="seed-time")
    frozen = replace(ours, regime="frozen")
    first, second, unknown, *_ = report.render(Results([], [ours, frozen])).split("\n### ")
    assert "| KumoRFM-2, in context |  | 0.846 |" in first and "RelGT" not in first
    assert "| RelGT |  | 0.759 |" in second and "KumoRFM-2, in context" not in second
    assert first.count("| this run |") == 1 and first.count("| quoted: ") == 13
    assert unknown.startswith("rel-f1 driver-dnf, quoted, regime not stated") and "arXiv 2605.16085" in unknown


def test_report_replaces_what_stands_between_the_markers(tmp_path: Path) -> None:
    import msgspec

    source, docs = tmp_path / "a.json", tmp_path / "benchmarks.md"
    source.write_bytes(msgspec.json.encode(Results([], [BINARY], {"cores": "2"})))
    docs.write_text(f"# Title\n\nBefore.\n\n{report.BEGIN}\nold\n{report.END}\n\nAfter.\n")
    arguments = [str(source), "--docs", str(docs)]
    assert CliRunner().invoke(report.main, arguments).exit_code == 0
    written = docs.read_text()
    assert written.startswith(f"# Title\n\nBefore.\n\n{report.BEGIN}\n\n### rel-x churn")
    assert written.endswith(f"{report.END}\n\nAfter.\n") and "old" not in written
    assert CliRunner().invoke(report.main, arguments).exit_code == 0
    assert docs.read_text() == written
    docs.write_text("# Title\n")
    result = CliRunner().invoke(report.main, arguments)
    assert result.exit_code == 1 and "has no place for the tables" in result.stderr
