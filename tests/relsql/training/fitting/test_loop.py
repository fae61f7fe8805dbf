from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from relsql.errors import TrainingError  # noqa: E402
from relsql.gather.arrays.blocks import Block, SeedSet  # noqa: E402
from relsql.gather.layout import (  # noqa: E402
    BlockLayout,
    Segment,
)
from relsql.gather.node_inputs import NodeInputs, NumberInput  # noqa: E402
from relsql.nn.graph_network import GraphNetwork, NetworkConfig  # noqa: E402
from relsql.nn.head import Head  # noqa: E402
from relsql.training.fitting.loop import Batches, FitConfig, FitReport, calibrate, fit, label_weights, predict, refit  # noqa: E402
from relsql.typing import FloatArray  # noqa: E402

CONFIG = NetworkConfig(channels=16, text_widths=(4,), dropout=0.1)
INPUTS = NodeInputs("t", (NumberInput("n", "number"),), (), ())
LAYOUTS = (BlockLayout("entity", 1, (Segment(INPUTS),)), BlockLayout("rows", 8, (Segment(INPUTS),), 1))
NO_TEXTS = np.zeros((1, 4), dtype=np.float32)


def seed_set(count: int, seed: int, *, regression: bool = False) -> SeedSet:
    """Labels depend on the mean number of a seed's rows; the entity's own number is noise."""
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
        totals = np.repeat(sizes[:, None], layout.counts_width, axis=1).astype(np.float32)
        blocks.append(Block(numbers, none, none, slot, sizes.astype(np.int64), totals))
    return SeedSet(tuple(blocks), rng.uniform(18000, 19000, count).astype(np.float32), labels.astype(np.float32))


def log_normal_seeds(count: int, seed: int) -> SeedSet:
    """Labels whose logarithm depends on the mean number of a seed's rows, with noise of deviation 1.2."""
    seeds = seed_set(count, seed, regression=True)
    noise = 1.2 * np.random.default_rng(seed + 100).normal(size=count)
    return replace(seeds, labels=np.exp((seeds.labels - 100) / 10 + 3 + noise).astype(np.float32))


def new_modules(*, classification: bool = True, target: str | None = None) -> tuple[GraphNetwork, Head]:
    torch.manual_seed(0)
    return GraphNetwork(LAYOUTS, CONFIG), Head(CONFIG, classification=classification, target=target)


def trained(
    train: SeedSet, validation: SeedSet, *, classification: bool = True, **more: int
) -> tuple[GraphNetwork, Head, FitReport, FloatArray]:
    network, head = new_modules(classification=classification)
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
        scores = head.score(network(batch.tensors), batch.as_of_days).numpy()
    error = np.abs(scores - validation.labels).mean()
    assert float(error) == pytest.approx(report.validation_metric, rel=1e-3)


@pytest.mark.parametrize("target", ["mean", "median", "quantile(0.9)"])
def test_a_log_normal_label_is_predicted_as_the_target_says(target: str) -> None:
    train, validation, later = (log_normal_seeds(count, seed) for seed, count in enumerate((1200, 400, 2000)))
    network, head = new_modules(classification=False, target=target)
    batches = [Batches(seeds, LAYOUTS, NO_TEXTS) for seeds in (train, validation, later)]
    report = fit(network, head, *batches[:2], FitConfig(epochs=8, batch_size=64))
    assert report.metric_name == {"mean": "rmse", "median": "mae"}.get(target, "pinball")
    with torch.inference_mode():
        scores = [head.scores(torch.from_numpy(predict(network, head, each))).numpy() for each in batches]
    ratios = [s.sum() / each.seeds.labels.sum() for s, each in zip(scores, batches, strict=True)]
    shares = [float((each.seeds.labels <= s).mean()) for s, each in zip(scores, batches, strict=True)]
    if target == "mean":
        # 400 labels of this spread do not fix their mean to better than a sixth.
        assert ratios[1] == pytest.approx(1, abs=0.001) and ratios[2] == pytest.approx(1, abs=0.3)
    else:
        level = 0.5 if target == "median" else 0.9
        assert shares[1:] == pytest.approx([level] * 2, abs=0.06)
        # The sum of medians is not the sum of means: exp(1.2^2 / 2) is 2.05.
        assert target != "median" or ratios[1] < 0.7
    # The score follows the signal, beyond any constant.
    assert np.corrcoef(np.log(scores[2]), np.log(later.labels))[0, 1] > 0.5


def test_same_seed_same_result_whatever_ran_before() -> None:
    train, validation = seed_set(100, 0), seed_set(50, 1)
    one = trained(train, validation, epochs=2, global_seed=1)[3]
    np.testing.assert_array_equal(trained(train, validation, epochs=2, global_seed=2)[3], one)
    assert np.abs(trained(train, validation, epochs=2, seed=1)[3] - one).max() > 1e-4


def test_training_and_its_caller_have_separate_random_states() -> None:
    def outputs(draws: list[torch.Tensor], *, drawing: bool) -> FloatArray:
        def draw(_: float, values: dict[str, float]) -> None:
            if drawing and values:
                draws.append(torch.rand(1))

        network, head = new_modules()
        torch.manual_seed(5)
        report = fit(network, head, *batches, config, draw)
        refit(network, head, batches[0], config, replace(report, best_epoch=2), draw)
        draws.append(torch.rand(1))
        return predict(network, head, batches[1])

    batches = [Batches(seed_set(40, i), LAYOUTS, NO_TEXTS) for i in range(2)]
    config = FitConfig(epochs=2, batch_size=16)
    many: list[torch.Tensor] = []
    one: list[torch.Tensor] = []
    np.testing.assert_array_equal(outputs(many, drawing=True), outputs(one, drawing=False))
    torch.manual_seed(5)
    expected = torch.rand(5)
    assert torch.equal(torch.cat(many), expected) and torch.equal(torch.cat(one), expected[:1])


@pytest.mark.parametrize("classification", [True, False])
def test_refit_repeats_the_chosen_epochs_and_keeps_the_temperature(classification: bool) -> None:
    train, validation = (seed_set(100, i, regression=not classification) for i in range(2))
    _, head, report, outputs = trained(train, validation, classification=classification, epochs=4)
    # Chosen by hand, so that it cannot be the last one by chance.
    chosen = replace(report, best_epoch=2, temperature=1.75)
    config = FitConfig(epochs=4, batch_size=64, learning_rate=1e-2)
    seen: list[dict[str, float]] = []
    again, its_head = new_modules(classification=classification)
    refit(again, its_head, Batches(train, LAYOUTS, NO_TEXTS), config, chosen, lambda _, values: seen.append(values))
    assert sum("loss" in values for values in seen) == 2
    assert float(its_head.temperature) == 1.75
    # On the same seeds the result equals that of `fit` after the same number of epochs.
    again, its_head = new_modules(classification=classification)
    refit(again, its_head, Batches(train, LAYOUTS, NO_TEXTS), config, report)
    batches = Batches(validation, LAYOUTS, NO_TEXTS)
    np.testing.assert_allclose(predict(again, its_head, batches), outputs, atol=1e-6)
    assert float(its_head.temperature) == pytest.approx(float(head.temperature))
    # With other seeds it differs.
    again, its_head = new_modules(classification=classification)
    refit(again, its_head, Batches(train.joined(validation, LAYOUTS), LAYOUTS, NO_TEXTS), config, report)
    assert np.abs(predict(again, its_head, batches) - outputs).max() > 1e-3


def test_joined_seeds_are_those_of_both() -> None:
    one, other = seed_set(20, 0), seed_set(30, 1)
    joined = one.joined(other, LAYOUTS)
    network, head, _, _ = trained(one, other, epochs=1)
    parts = [predict(network, head, Batches(seeds, LAYOUTS, NO_TEXTS)) for seeds in (one, other)]
    outputs = predict(network, head, Batches(joined, LAYOUTS, NO_TEXTS))
    np.testing.assert_allclose(outputs, np.concatenate(parts), atol=1e-6)
    np.testing.assert_array_equal(joined.labels, np.concatenate([one.labels, other.labels]))
    assert len(joined) == 50


def test_training_stops_when_validation_no_longer_improves() -> None:
    validation = seed_set(60, 1)
    # Validation labels are the opposite of training labels, so longer training is worse.
    validation = replace(validation, labels=1 - validation.labels)
    batches = [Batches(seeds, LAYOUTS, NO_TEXTS) for seeds in (seed_set(200, 0), validation)]
    report = fit(*new_modules(), *batches, FitConfig(epochs=30, batch_size=32, learning_rate=1e-2, patience=2))
    assert report.epochs == report.best_epoch + 2 < 30


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
    network, head = new_modules()
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


def test_old_labels_weigh_less() -> None:
    days = np.array([100.0, 150.0, 175.0, 200.0, 200.0], dtype=np.float32)
    weights = label_weights(days, 0.25)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert (weights / weights[-1]).tolist() == pytest.approx([1 / 16, 1 / 4, 1 / 2, 1, 1])
    for same in (label_weights(days, np.inf), label_weights(days[-1:], 0.25), label_weights(days[-2:], 0.25)):
        assert set(same.tolist()) == {1.0}


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
