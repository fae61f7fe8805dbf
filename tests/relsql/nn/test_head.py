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


TARGETS = ("mean", "median", "quantile(0.9)")


def fitted(
    labels: torch.Tensor,
    *,
    classification: bool = False,
    days: tuple[float, float] = (18_000, 18_300),
    target: str | None = None,
) -> Head:
    torch.manual_seed(0)
    head = Head(CONFIG, classification=classification, target=target).eval()
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


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("target", TARGETS)
def test_an_output_of_zero_is_the_target_of_all_labels(kind: str, target: str) -> None:
    labels = LABELS[kind]
    expected = labels.mean() if target == "mean" else labels.median()
    expected = torch.quantile(labels, 0.9) if target == "quantile(0.9)" else expected
    found = fitted(labels, target=target).scores(torch.zeros(1))
    torch.testing.assert_close(found, expected[None], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["linear", "logarithmic", "mostly zero", "log-normal"])
def test_the_loss_leads_to_the_target(kind: str, target: str) -> None:
    """Of all constants, the loss is least for the mean, the median or the quantile of the labels."""
    log_normal = torch.exp(2 * torch.randn(2000, generator=torch.Generator().manual_seed(0)))
    labels = LABELS.get(kind, log_normal)
    head = fitted(labels, target=target)
    raw = torch.tensor(0.7, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.1)
    for step in range(600):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 600)
        optimizer.zero_grad()
        head.losses(raw.expand(len(labels)), head.targets(labels)).mean().backward()
        optimizer.step()
    found = float(head.scores(raw.detach()[None]))
    if target == "mean":
        assert found == pytest.approx(float(labels.mean()), rel=0.02)
    else:
        level = 0.5 if target == "median" else 0.9
        below, at_most = ((labels < found - 0.05).float().mean(), (labels <= found + 0.05).float().mean())
        assert float(below) - 0.005 <= level <= float(at_most) + 0.005


def test_the_loss_of_the_median_is_the_absolute_error() -> None:
    raw, targets = torch.randn(50), torch.randn(50)
    assert torch.equal(fitted(LABELS["linear"]).losses(raw, targets), torch.nn.L1Loss(reduction="none")(raw, targets))


def test_means_of_skewed_labels_have_a_log_link() -> None:
    heads = {kind: fitted(LABELS[kind], target="mean") for kind in LABELS}
    assert [kind for kind, head in heads.items() if head.has_log_link] == ["mostly zero"]
    assert float(heads["mostly zero"].scores(torch.tensor([-1e6]))[0]) >= 0


@pytest.mark.parametrize("kind", LABELS)
def test_means_add_up_once_their_bias_is_removed(kind: str) -> None:
    labels = LABELS[kind]
    head = fitted(labels, target="mean")
    raw = torch.linspace(-2.0, 1.0, len(labels))
    head.remove_bias(raw, labels)
    torch.testing.assert_close(head.scores(raw).sum(), labels.sum(), rtol=1e-4, atol=1e-2)
    before = float(head.label_center)
    head.remove_bias(raw, torch.zeros(len(labels)))
    assert not head.has_log_link or float(head.label_center) == before
    for target in TARGETS[1:]:
        other = fitted(labels, target=target)
        center = float(other.label_center)
        other.remove_bias(raw, labels + 1)
        assert float(other.label_center) == center


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
@pytest.mark.parametrize("target", TARGETS)
def test_scores_of_extreme_outputs_are_finite(kind: str, target: str) -> None:
    raw = torch.tensor([-1e6, 1e6], requires_grad=True)
    head = fitted(LABELS[kind], target=target)
    scores = head.scores(raw)
    assert torch.isfinite(head.losses(raw, head.targets(LABELS[kind][:2]))).all()
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
