from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from relsql.nn.graph_network import NetworkConfig  # noqa: E402
from relsql.nn.head import DAYS_PER_YEAR, Head  # noqa: E402

CONFIG = NetworkConfig(channels=8, text_widths=(5,))
LABELS = {
    "linear": torch.linspace(-20.0, 50.0, 200),
    "logarithmic": torch.cat([torch.linspace(-3.0, 3.0, 190), torch.logspace(1.0, 6.0, 10), torch.tensor([-9e3])]),
    "mostly zero": torch.cat([torch.zeros(200), torch.linspace(1.0, 9.0, 20)]),
    "constant": torch.full((20,), 7.0),
}


def fitted(labels: torch.Tensor, *, classification: bool = False, days: tuple[float, float] = (18_000, 18_300)) -> Head:
    torch.manual_seed(0)
    head = Head(CONFIG, classification=classification).eval()
    head.fit(torch.linspace(*days, len(labels)), labels)
    return head


@pytest.mark.parametrize("kind", LABELS)
def test_scores_undo_targets(kind: str) -> None:
    labels = LABELS[kind]
    head = fitted(labels)
    assert head.label_logarithmic.item() == float(kind in ("logarithmic", "mostly zero"))
    torch.testing.assert_close(head.scores(head.targets(labels)), labels, rtol=1e-4, atol=1e-4)
    # The median is the centre on both scales.
    torch.testing.assert_close(head.scores(torch.zeros(1)), labels.median()[None], rtol=1e-4, atol=1e-4)


def test_targets_of_heavy_tails_are_within_reach() -> None:
    labels = LABELS["logarithmic"]
    assert float(fitted(labels).targets(labels).abs().max()) < 10


def test_probabilities_are_scaled_by_the_temperature() -> None:
    head = fitted(torch.tensor([0.0, 1.0, 1.0, 1.0]), classification=True)
    labels = torch.tensor([1.0, 0.0])
    torch.testing.assert_close(head.targets(labels), labels)
    raw = torch.tensor([-200.0, -1.0, 0.0, 2.0, 200.0])
    torch.testing.assert_close(head.scores(raw), torch.sigmoid(raw))
    head.temperature.fill_(2.0)
    torch.testing.assert_close(head.scores(raw), torch.sigmoid(raw / 2))
    torch.testing.assert_close(head.out.bias, torch.logit(torch.tensor([0.75])))


def test_score_is_forward_calibrated() -> None:
    state, days = torch.randn(4, 8), torch.tensor([18_000.0, 18_100.0, 18_200.0, 18_300.0])
    for head in (fitted(LABELS["logarithmic"]), fitted(torch.tensor([0.0, 1.0]), classification=True)):
        torch.testing.assert_close(head.score(state, days), head.scores(head(state, days)))


@pytest.mark.parametrize("classification", [True, False])
def test_scores_are_finite_at_any_time(classification: bool) -> None:
    head = fitted(torch.tensor([1.0, 1.0]), classification=classification, days=(18_000, 18_000))
    days = torch.tensor([-1e8, 0.0, 18_000.0, 1e8])
    scores = head.score(torch.randn(4, 8), days)
    assert torch.isfinite(scores).all() and scores.shape == (4,)
    assert not classification or bool(((scores >= 0) & (scores <= 1)).all())


@pytest.mark.parametrize("kind", LABELS)
def test_scores_of_extreme_outputs_are_finite(kind: str) -> None:
    raw = torch.tensor([-1e6, 1e6], requires_grad=True)
    scores = fitted(LABELS[kind]).scores(raw)
    # Constant labels have no scale to speak of.
    assert torch.isfinite(scores).all() and bool(scores[0] < scores[1] or kind == "constant")
    scores.sum().backward()
    assert raw.grad is not None and torch.isfinite(raw.grad).all()


def test_time_beyond_the_training_range_counts_as_its_end() -> None:
    head = fitted(LABELS["linear"])
    state = torch.randn(1, 8).repeat(4, 1)
    before, first, last, after = head(state, torch.tensor([10_000.0, 18_000.0, 18_300.0, 30_000.0])).tolist()
    assert (before, after) == (pytest.approx(first, abs=1e-6), pytest.approx(last, abs=1e-6))
    assert abs(first - last) > 1e-4


def test_seasons_come_with_more_than_two_years() -> None:
    state = torch.randn(1, 8).repeat(3, 1)
    # Beyond the range, so that the season alone can differ.
    days = 19_000 + DAYS_PER_YEAR * torch.tensor([0.0, 0.5, 1.0])
    for years, seasonal in ((1.9, False), (2.1, True)):
        head = fitted(LABELS["linear"], days=(18_000, 18_000 + years * DAYS_PER_YEAR))
        now, other_season, next_year = head(state, days).tolist()
        assert next_year == pytest.approx(now, abs=1e-4)
        assert (abs(other_season - now) > 1e-3) == seasonal
