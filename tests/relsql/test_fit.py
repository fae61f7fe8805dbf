from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from relsql.blocks import Block, BlockLayout, FloatArray  # noqa: E402
from relsql.errors import TrainingError  # noqa: E402
from relsql.features import NodeInputs, NumberInput  # noqa: E402
from relsql.fit import Batches, FitConfig, FitReport, SeedSet, calibrate, fit, predict  # noqa: E402
from relsql.gather import Segment  # noqa: E402
from relsql.network import GraphNetwork, Head, NetworkConfig  # noqa: E402

CONFIG = NetworkConfig(channels=16, text_width=4, dropout=0.1)
INPUTS = NodeInputs("t", (NumberInput("n", "number"),), (), ())
LAYOUTS = (BlockLayout("entity", 1, (Segment(INPUTS),)), BlockLayout("rows", 8, (Segment(INPUTS),)))
NO_TEXTS = np.zeros((1, 4), dtype=np.float32)


def seed_set(count: int, seed: int, *, regression: bool = False) -> SeedSet:
    """Labels follow the mean number of a seed's rows; the entity's own number says nothing."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, count)
    level = rng.normal(size=count)
    rows = np.repeat(level, counts) + 0.3 * rng.normal(size=counts.sum())
    labels = 100 + 10 * level if regression else (level > 0)
    blocks = []
    single = np.ones(count, dtype=np.int64)
    for layout, values, sizes in ((LAYOUTS[0], rng.normal(size=count), single), (LAYOUTS[1], rows, counts)):
        numbers = np.stack([np.ones(len(values)), values], axis=1).astype(np.float32)
        none = np.zeros((len(values), 0), dtype=np.int64)
        slot = np.concatenate([i * layout.fanout + np.arange(n) for i, n in enumerate(sizes)])
        blocks.append(Block(numbers, none, none, slot, sizes.astype(np.int64)))
    return SeedSet(tuple(blocks), rng.uniform(18000, 19000, count).astype(np.float32), labels.astype(np.float32))


def trained(
    train: SeedSet, validation: SeedSet, *, classification: bool = True, init: int = 0, **more: int
) -> tuple[GraphNetwork, Head, FitReport, FloatArray]:
    torch.manual_seed(init)
    network, head = GraphNetwork(LAYOUTS, CONFIG), Head(CONFIG, classification=classification)
    config = FitConfig(epochs=more.get("epochs", 8), batch_size=64, learning_rate=1e-2, seed=more.get("seed", 0))
    torch.manual_seed(more.get("global_seed", 1))
    batches = [Batches(seeds, LAYOUTS, NO_TEXTS) for seeds in (train, validation)]
    report = fit(network, head, *batches, config)
    return network, head, report, predict(network, head, batches[1])


def log_loss(logits: FloatArray, labels: FloatArray, temperature: float) -> float:
    return float(np.mean(np.logaddexp(0, logits / temperature) - labels * logits / temperature))


def test_a_planted_signal_is_learnt() -> None:
    _, head, report, outputs = trained(seed_set(300, 0), seed_set(200, 1))
    assert report.metric_name == "roc_auc" and report.validation_metric > 0.9
    assert 1 <= report.best_epoch <= report.epochs
    assert report.temperature == pytest.approx(float(head.temperature))
    assert outputs.shape == (200,) and outputs.dtype == np.float32


def test_regression_comes_in_the_labels_unit() -> None:
    train, validation = seed_set(300, 0, regression=True), seed_set(200, 1, regression=True)
    network, head, report, _ = trained(train, validation, classification=False, epochs=12)
    constant = float(np.mean(np.abs(validation.labels - np.median(train.labels))))
    assert report.metric_name == "mae" and report.validation_metric < constant / 2
    batch = Batches(validation, LAYOUTS, NO_TEXTS).take(np.arange(200))
    with torch.inference_mode():
        scores = head.score(network(batch.tensors, 200), batch.as_of_days).numpy()
    error = np.abs(scores - validation.labels).mean()
    assert float(error) == pytest.approx(report.validation_metric, rel=1e-3)


def test_same_seed_same_result_whatever_ran_before() -> None:
    train, validation = seed_set(100, 0), seed_set(50, 1)
    one = trained(train, validation, epochs=2, global_seed=1)[3]
    np.testing.assert_array_equal(trained(train, validation, epochs=2, global_seed=2)[3], one)
    assert np.abs(trained(train, validation, epochs=2, seed=1)[3] - one).max() > 1e-4


def test_fit_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    network, head = GraphNetwork(LAYOUTS, CONFIG), Head(CONFIG, classification=True)
    batches = Batches(seed_set(20, 0), LAYOUTS, NO_TEXTS)
    torch.manual_seed(5)
    fit(network, head, batches, batches, FitConfig(epochs=1))
    torch.testing.assert_close(torch.rand(3), expected)


def test_one_class_validation_does_not_fail() -> None:
    validation = seed_set(60, 1)
    validation = replace(validation, labels=np.zeros(60, dtype=np.float32))
    _, _, report, outputs = trained(seed_set(100, 0), validation, epochs=2)
    assert report.metric_name == "log_loss" and np.isfinite(report.validation_metric) and np.isfinite(outputs).all()


@pytest.mark.parametrize("empty", ["training", "validation"])
def test_no_seeds_are_an_error(empty: str) -> None:
    sets = [seed_set(20, 0), seed_set(20, 1)]
    sets[empty == "validation"] = SeedSet(
        tuple(block.take(np.zeros(0, dtype=np.int64), block.row_starts(), 8) for block in sets[0].blocks),
        np.zeros(0, dtype=np.float32),
        np.zeros(0, dtype=np.float32),
    )
    with pytest.raises(TrainingError, match=f"no {empty} seeds"):
        trained(*sets)


def test_progress_ends_at_one() -> None:
    seen: list[tuple[float, dict[str, float]]] = []
    network, head = GraphNetwork(LAYOUTS, CONFIG), Head(CONFIG, classification=True)
    batches = Batches(seed_set(100, 0), LAYOUTS, NO_TEXTS)
    fit(
        network,
        head,
        batches,
        batches,
        FitConfig(epochs=2, batch_size=64),
        lambda done, metrics: seen.append((done, metrics)),
    )
    fractions = [done for done, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert set(seen[-1][1]) == {"loss", "roc_auc"}


def test_batches_of_any_size_predict_the_same() -> None:
    network, head, _, outputs = trained(seed_set(60, 0), seed_set(50, 1), epochs=1)
    batches = Batches(seed_set(50, 1), LAYOUTS, NO_TEXTS)
    np.testing.assert_allclose(predict(network, head, batches, batch_size=7), outputs, atol=1e-6)


@pytest.mark.parametrize("sharpness", [0.4, 3.0])
def test_calibration_lowers_the_log_loss(sharpness: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000).astype(np.float32)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    head = Head(CONFIG, classification=True)
    logits = sharpness * truth
    calibrate(head, logits, labels)
    temperature = float(head.temperature)
    assert temperature == pytest.approx(sharpness, rel=0.2)
    assert log_loss(logits, labels, temperature) < log_loss(logits, labels, 1.0)


def test_calibration_leaves_regression_and_nothing_alone() -> None:
    for classification, count in ((False, 10), (True, 0)):
        head = Head(CONFIG, classification=classification)
        calibrate(head, np.ones(count, dtype=np.float32), np.ones(count, dtype=np.float32))
        assert float(head.temperature) == 1.0
