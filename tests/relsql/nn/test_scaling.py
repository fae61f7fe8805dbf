from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from relsql.nn.scaling import (  # noqa: E402
    BINS,
    CLIP,
    LEAST_DEVIATION,
    MAX_SAMPLE,
    NumberScaling,
    TextScaling,
    is_heavy_tailed,
    signed_log,
)


def fitted(values: torch.Tensor, *, logarithmic: bool = False) -> NumberScaling:
    """The scaling of one column."""
    scaling = NumberScaling(1)
    scaling.fit(values[:, None], logarithmic=logarithmic)
    return scaling


def encoded(scaling: NumberScaling, *values: float) -> torch.Tensor:
    """The encoding of values of one column: standardised, shares of bins, missing flag."""
    return scaling(torch.tensor(values)[:, None])


def test_numbers_are_standardised_column_by_column() -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(1000, 2, generator=generator) * torch.tensor([3.0, 0.01]) + torch.tensor([100.0, -5.0])
    scaling = NumberScaling(2)
    scaling.fit(numbers)
    found = scaling(numbers)
    assert found.shape == (1000, scaling.width) and not found[:, -2:].any()
    torch.testing.assert_close(found[:, :2], scaling.standardised(numbers))
    torch.testing.assert_close(found[:, :2].mean(0), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[:, :2].std(0), torch.ones(2), atol=1e-3, rtol=0)
    assert scaling.logarithmic.tolist() == [0.0, 0.0]


def test_bins_hold_equal_shares_and_fill_from_below() -> None:
    # Skewed, but not so much that it is put on a log scale.
    values = torch.arange(801.0) ** 2
    scaling = fitted(values)
    shares = scaling(values[:, None])[:, 1:-1]
    assert shares.shape[1] == BINS and scaling.logarithmic.item() == 0.0
    torch.testing.assert_close(shares.mean(0), torch.linspace(1, 0, 2 * BINS + 1)[1::2], atol=0.03, rtol=0)
    assert (shares.diff(dim=0) >= 0).all() and (shares.diff(dim=1) <= 0).all()
    # The value determines how many bins are full, and the filled part of the next one.
    torch.testing.assert_close(shares.sum(1)[::100], torch.arange(BINS + 1.0), atol=1e-3, rtol=0)


def test_equal_quantiles_are_steps() -> None:
    scaling = fitted(torch.tensor([0.0] * 60 + [1.0] * 40))
    below, zero, one, beyond = encoded(scaling, -1.0, 0.0, 1.0, 2.0)[:, 1:-1].sum(1).tolist()
    assert (below, zero, beyond) == (0.0, 0.0, float(BINS)) and 1.0 <= one <= beyond


def test_heavy_tails_go_on_a_log_scale() -> None:
    tails = torch.exp(3 * torch.randn(5000, generator=torch.Generator().manual_seed(0)))
    assert is_heavy_tailed(tails.double()) and not is_heavy_tailed(torch.arange(5000).double())
    scaling = fitted(tails)
    found = scaling.standardised(tails[:, None])[:, 0]
    assert scaling.logarithmic.item() == 1.0 and float(found.std()) == pytest.approx(1.0, abs=0.02)
    # On the plain scale nearly all of them would lie on one point.
    assert float(torch.quantile(found, 0.75) - torch.quantile(found, 0.25)) > 0.5


def test_a_log_scale_can_be_asked_for() -> None:
    values = torch.arange(100.0)
    assert fitted(values).logarithmic.item() == 0.0
    scaling = fitted(values, logarithmic=True)
    torch.testing.assert_close(scaling.center, signed_log(values).mean()[None])
    assert scaling.logarithmic.item() == 1.0


def test_the_log_scale_is_odd_and_keeps_the_order() -> None:
    values = torch.tensor([-1e30, -2.0, -0.5, 0.0, 0.5, 2.0, 1e30, math.inf])
    found = signed_log(values)
    assert torch.equal(found, found.sort().values) and torch.equal(found[:7], -found[:7].flip(0))
    assert float(found[5]) == pytest.approx(math.log(3))


def test_missing_numbers_are_zero_and_flagged_and_infinite_ones_are_clipped() -> None:
    for scaling in (fitted(torch.arange(100.0)), fitted(torch.arange(100.0), logarithmic=True), NumberScaling(1)):
        missing, *extreme = encoded(scaling, math.nan, math.inf, -math.inf, 3e38, -3e38)
        assert missing.tolist() == [0.0] * (scaling.width - 1) + [1.0]
        assert [row[0].item() for row in extreme] == [CLIP, -CLIP, CLIP, -CLIP]
        assert [row[-1].item() for row in extreme] == [0.0] * 4


def test_statistics_are_those_of_known_finite_numbers() -> None:
    values = torch.arange(100.0)
    odd = torch.cat([values, torch.tensor([math.nan, math.inf, -math.inf])])
    assert torch.equal(encoded(fitted(odd), 0.0, 50.0, 99.0), encoded(fitted(values), 0.0, 50.0, 99.0))


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        [3e38, -3e38] * 20,
        [1.0] * 50 + [1e30],
        [5.0] * 40,
        [0.0] * 40 + [1e-45],
        [math.inf] * 5 + [1.0, 2.0],
        [math.nan] * 3,
        [-math.inf],
        [],
    ],
)
def test_statistics_of_odd_columns_are_finite(values: list[float], logarithmic: bool) -> None:
    scaling = fitted(torch.tensor(values), logarithmic=logarithmic)
    assert torch.isfinite(scaling.center).all() and torch.isfinite(scaling.scale).all() and (scaling.scale > 0).all()
    found = scaling(torch.tensor([*values, math.nan, 0.0])[:, None])
    assert torch.isfinite(found).all() and float(found.abs().max()) <= CLIP


def test_tiny_columns_are_standardised_and_constant_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    tiny = torch.randn(1000, generator=generator) * 1e-9
    assert float(fitted(tiny).standardised(tiny[:, None]).std()) == pytest.approx(1.0, abs=0.01)
    # Beyond the digits of float32, a difference is noise.
    assert fitted(torch.tensor([1e9, 1e9 + 64] * 50)).scale.item() == 1.0


def test_rounding_of_constant_statistics_is_not_an_input() -> None:
    """Measured every six hours, and asked about at eight: the mean age of the rows is 0 on the standardised scale."""
    noise = 1e-7 * (torch.rand(1000, generator=torch.Generator().manual_seed(0)) - 0.5)
    scaling = NumberScaling(1)
    scaling.fit(noise[:, None], least_deviation=LEAST_DEVIATION)
    assert scaling(noise[:, None]).std(0).max() < 1e-5


def test_gradients_of_extreme_numbers_are_finite() -> None:
    numbers = torch.tensor([[math.nan], [math.inf], [3e38], [0.0], [1.0]], requires_grad=True)
    fitted(torch.arange(100.0), logarithmic=True)(numbers).sum().backward()
    assert numbers.grad is not None and torch.isfinite(numbers.grad[2:]).all()


@pytest.mark.parametrize("samples", [1.9, 3.0])
def test_large_columns_are_sampled_evenly(samples: float) -> None:
    # The rows are sorted, so that the first rows alone would give other statistics.
    values = torch.arange(samples * MAX_SAMPLE)
    scaling = fitted(values)
    assert scaling.center.item() == pytest.approx(float(values.mean()), rel=1e-3)
    assert scaling.scale.item() == pytest.approx(float(values.std()), rel=1e-3)
    some = values[:: MAX_SAMPLE // 4]
    shares = scaling(some[:, None])[:, 1:-1].sum(1)
    torch.testing.assert_close(shares, some / values[-1] * BINS, atol=0.01, rtol=0)


def test_lexical_directions_count_alike_and_contextual_ones_keep_their_proportions() -> None:
    generator = torch.Generator().manual_seed(0)
    strengths = torch.tensor([1.0, 0.5, 1.0])
    lexical = torch.randn(5000, 3, generator=generator) * strengths @ torch.randn(3, 3, generator=generator) + 7
    contextual = torch.randn(5000, 2, generator=generator) * torch.tensor([1.0, 3.0]) - 5
    embeddings = torch.cat([contextual, lexical], dim=1)
    scaling = TextScaling((2, 3))
    scaling.fit(embeddings)
    found = scaling(torch.cat([torch.zeros(1, 5), embeddings]))
    assert not found[0].any()
    torch.testing.assert_close(found[1:].mean(0), torch.zeros(5), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(found[1:, 2:].T), torch.eye(3), atol=0.15, rtol=0)
    deviations = found[1:, :2].std(0)
    assert float(deviations[1] / deviations[0]) == pytest.approx(3.0, abs=0.3) and float(deviations.max()) < 0.5


@pytest.mark.parametrize("texts", [0, 1, 2])
def test_few_or_equal_texts_stay_finite(texts: int) -> None:
    scaling = TextScaling((3, 1))
    embeddings = torch.full((texts, 4), 0.25)
    scaling.fit(embeddings)
    found = scaling(torch.cat([torch.zeros(1, 4), embeddings, torch.randn(3, 4)]))
    assert torch.isfinite(found).all() and not found[0].any() and found.shape == (texts + 4, 4)


def test_no_columns() -> None:
    scaling = NumberScaling(0)
    scaling.fit(torch.zeros(5, 0))
    assert scaling(torch.zeros(5, 0)).shape == (5, 0)


def test_rounding_of_equal_embeddings_is_not_an_input() -> None:
    scaling = TextScaling((4, 2))
    embeddings = torch.cat([torch.ones(50, 4) + 1e-6 * torch.randn(50, 4), torch.randn(50, 2)], dim=1)
    scaling.fit(embeddings)
    moved = embeddings.clone()
    moved[:, :4] += 1e-6 * torch.randn(50, 4)
    assert float((scaling(moved) - scaling(embeddings)).abs().max()) < 1e-3
    assert float(scaling(embeddings)[1:, 4:].std()) > 0.5


def test_informative_directions_are_inputs() -> None:
    scaling = TextScaling((4, 2))
    embeddings = 1 + 0.3 * torch.randn(200, 6)
    scaling.fit(embeddings)
    assert float(scaling(embeddings)[1:, :4].std()) > 0.2
