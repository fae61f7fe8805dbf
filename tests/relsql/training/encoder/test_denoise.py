from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BartForConditionalGeneration

from relsql.errors import TrainingError
from relsql.nn.row_encoder import compact_config, new_model
from relsql.text.row_text import table_of
from relsql.text.tokenizer import RowTokenizer
from relsql.training.encoder.denoise import CHECKS, UnitMasker, _Plan, sample_evenly, split_texts, train_denoising
from relsql.training.encoder.fit_tokenizer import train_tokenizer

NATIONS = ("German", "Spanish", "Finnish", "")
TEXTS = [
    f"<table>drivers<attribute>forename<value>Driver {i}<attribute>nationality<value>{NATIONS[i % 4]}"
    for i in range(60)
] + [f"<table>circuits<attribute>country<value>{nation}" for nation in NATIONS]


@pytest.fixture(scope="module")
def tokenizer() -> RowTokenizer:
    return train_tokenizer(TEXTS)


def small_model(tokenizer: RowTokenizer) -> BartForConditionalGeneration:
    config = compact_config(tokenizer.size, d_model=16, encoder_layers=1, heads=2)
    return new_model(config, 0)


def masked_text(tokenizer: RowTokenizer, text: str, random: np.random.Generator) -> str:
    ids = UnitMasker(tokenizer)(tokenizer.token_ids([text], 1000)[0], random)
    assert (ids[0], ids[-1]) == (0, 2)
    return str(Tokenizer.from_str(tokenizer.json).decode(ids[1:-1], skip_special_tokens=False))


def test_masks_hide_whole_units_and_at_least_one(tokenizer: RowTokenizer) -> None:
    random = np.random.default_rng(0)
    text = "<table>drivers<attribute>forename<value>"
    seen = {masked_text(tokenizer, text, random) for _ in range(300)}
    units = [("drivers", "<mask>"), ("forename", "<mask>"), ("", "<mask>")]
    every = {f"<table>{t}<attribute>{a}<value>{v}" for t, a, v in itertools.product(*units)}
    assert seen == every - {text}


def test_units_are_masked_with_the_papers_probabilities(tokenizer: RowTokenizer) -> None:
    random = np.random.default_rng(1)
    pairs = 20
    text = "<table>drivers" + "<attribute>forename<value>Driver 1" * pairs
    hidden: Counter[str] = Counter()
    draws = 400
    for _ in range(draws):
        masked = masked_text(tokenizer, text, random)
        hidden.update({kind: masked.count(f"<{kind}><mask>") for kind in ("table", "attribute", "value")})
    assert hidden["table"] / draws == pytest.approx(0.30, abs=0.07)
    assert hidden["attribute"] / (draws * pairs) == pytest.approx(0.20, abs=0.02)
    assert hidden["value"] / (draws * pairs) == pytest.approx(0.40, abs=0.02)


def test_ids_without_units_stay_as_they_are(tokenizer: RowTokenizer) -> None:
    [ids] = tokenizer.token_ids(["Anna"], 64)
    assert UnitMasker(tokenizer)(ids, np.random.default_rng(0)) == ids


def test_split_holds_out_about_a_tenth_and_is_stable() -> None:
    texts = [f"<table>t<attribute>a<value>{i}" for i in range(1000)]
    train, held_out = split_texts(texts)
    assert 70 <= len(held_out) <= 130
    assert sorted(train + held_out) == sorted(texts)
    assert split_texts(reversed(texts * 2)) == (train, held_out)
    assert set(split_texts(texts[:500])[1]) <= set(held_out)


def test_split_of_few_texts() -> None:
    assert split_texts([]) == ([], [])
    assert split_texts(["no marker"]) == ([], [])
    assert split_texts(["<table>a"]) == (["<table>a"], ["<table>a"])
    train, held_out = split_texts(["<table>a", "<table>b"])
    assert (len(train), len(held_out)) == (1, 1)


def test_tables_get_the_same_share_and_all_rows_are_drawn() -> None:
    drawn = list(itertools.islice(sample_evenly(TEXTS, np.random.default_rng(0)), 120))
    assert Counter(map(table_of, drawn)) == {"drivers": 60, "circuits": 60}
    assert set(drawn) == set(TEXTS)


def test_training_lowers_the_validation_loss(tokenizer: RowTokenizer) -> None:
    seen: list[tuple[float, dict[str, Any]]] = []
    report = train_denoising(
        small_model(tokenizer),
        tokenizer,
        TEXTS,
        max_steps=60,
        batch_size=16,
        learning_rate=1e-2,
        progress=lambda done, info: seen.append((done, info)),
    )
    assert report.steps == 60
    assert report.train_texts + report.validation_texts == len(TEXTS)
    assert report.validation_loss_before is not None
    assert report.validation_loss is not None
    assert report.validation_loss < 0.7 * report.validation_loss_before
    assert report.train_loss is not None
    assert report.train_loss < report.validation_loss_before
    assert seen[-1][0] == 1.0
    assert seen[-1][1]["step"] == 60
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def train_weights(tokenizer: RowTokenizer, texts: list[str], seed: int) -> torch.Tensor:
    model = small_model(tokenizer)
    train_denoising(model, tokenizer, texts, max_steps=3, batch_size=8, seed=seed)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_training_depends_on_texts_and_seed_only(tokenizer: RowTokenizer) -> None:
    first = train_weights(tokenizer, TEXTS, 1)
    torch.manual_seed(99)
    np.random.seed(99)
    state = torch.random.get_rng_state()
    assert torch.equal(train_weights(tokenizer, [*reversed(TEXTS), *TEXTS], 1), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(train_weights(tokenizer, TEXTS, 2), first)


def test_validation_masks_are_static(tokenizer: RowTokenizer) -> None:
    model = small_model(tokenizer)
    reports = [train_denoising(model, tokenizer, TEXTS, max_steps=0) for _ in range(2)]
    assert reports[0].validation_loss_before is not None
    assert reports[0].validation_loss_before == reports[1].validation_loss_before == reports[1].validation_loss
    assert (reports[0].steps, reports[0].train_loss) == (0, None)


@pytest.mark.parametrize("texts", [[], ["no marker"]])
def test_training_on_nothing_is_not_an_error(tokenizer: RowTokenizer, texts: list[str]) -> None:
    report = train_denoising(small_model(tokenizer), tokenizer, texts, max_steps=5)
    assert (report.steps, report.train_texts, report.validation_texts) == (0, 0, 0)
    assert report.train_loss is report.validation_loss is report.validation_loss_before is None


def test_training_on_one_text(tokenizer: RowTokenizer) -> None:
    report = train_denoising(small_model(tokenizer), tokenizer, TEXTS[:1], max_steps=2, batch_size=4)
    assert (report.steps, report.train_texts, report.validation_texts) == (2, 1, 1)
    assert report.validation_loss is not None


def test_an_interruption_passes_through_and_leaves_no_trace(tokenizer: RowTokenizer) -> None:
    model = small_model(tokenizer)
    state = torch.random.get_rng_state()

    def interrupt(_done: float, _info: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_denoising(model, tokenizer, TEXTS, max_steps=5, batch_size=4, progress=interrupt)
    assert not model.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_loss_that_is_not_finite_is_an_error(tokenizer: RowTokenizer) -> None:
    model = small_model(tokenizer)
    with torch.no_grad():
        model.model.shared.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="at step 1.*Fix: a lower learning rate"):
        train_denoising(model, tokenizer, TEXTS, max_steps=2, batch_size=4)


def test_more_tokens_than_positions_are_refused(tokenizer: RowTokenizer) -> None:
    with pytest.raises(TrainingError, match="2 to 256"):
        train_denoising(small_model(tokenizer), tokenizer, TEXTS, max_steps=1, max_tokens=300)


def test_long_texts_are_cut(tokenizer: RowTokenizer) -> None:
    texts = [f"<table>notes<attribute>text<value>{'long words ' * 40}{i}" for i in range(3)]
    report = train_denoising(small_model(tokenizer), tokenizer, texts, max_steps=1, batch_size=2, max_tokens=12)
    assert report.steps == 1


def checked(losses: list[float], steps: int = 200) -> _Plan:
    """A plan after a check of each loss, as far as checks are wanted."""
    plan, given = _Plan(steps), iter(losses)
    for step in range(1, steps + 1):
        if plan.is_check(step):
            plan.check(step, next(given))
    return plan


def test_a_run_whose_loss_falls_keeps_its_steps_and_its_rates() -> None:
    plan, untouched = checked([5 * 0.99**i for i in range(CHECKS)]), _Plan(200)
    assert plan.steps == 200
    rates = [plan.rate(step) for step in range(201)]
    assert rates == [untouched.rate(step) for step in range(201)]
    assert 0 < rates[0] < rates[5] < max(rates) == 1.0 and rates[200] == pytest.approx(0, abs=1e-12)


def test_a_run_whose_loss_stalls_ends_soon_with_a_rate_of_zero() -> None:
    # The loss falls for five checks of ten steps, and then hardly.
    plan = checked([5, 4, 3, 2, 1, *([0.999] * CHECKS)])
    assert plan.steps == 90
    assert plan.rate(80) == _Plan(200).rate(80) and plan.rate(85) == plan.rate(80) / 2 and plan.rate(90) == 0


def test_a_rising_loss_ends_a_run_and_a_late_stall_does_not() -> None:
    assert checked([2, 1, 1.1, 1.2, 1.3, *([9] * CHECKS)]).steps == 60
    assert checked([5 * 0.9**i for i in range(14)] + [1.0] * CHECKS).steps == 200


def test_training_ends_when_held_out_texts_gain_nothing(tokenizer: RowTokenizer) -> None:
    def run(texts: list[str], **more: Any) -> Any:
        return train_denoising(small_model(tokenizer), tokenizer, texts, max_steps=120, learning_rate=2e-2, **more)

    seen: list[float] = []
    # Held-out names are unlike those of training, so there is soon nothing to gain.
    few = TEXTS[:12]
    early = run(few, stop_when_stalled=True, progress=lambda done, _: seen.append(done))
    assert early.steps < 120 and seen[-1] == 1.0
    assert run(few).steps == 120
    assert run(few, stop_when_stalled=True) == replace(early, seconds=pytest.approx(early.seconds, rel=100))
