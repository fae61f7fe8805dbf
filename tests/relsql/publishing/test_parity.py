"""Differences between the scores of torch, of onnxruntime and of plain SQL."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from relsql.publishing.parity import Parity, _compare, _Result

ONE, TWO = ("1", "2022-11-01 00:00:00"), ("2", "2022-11-01 00:00:00")


def compare(onnx: dict[tuple[str, str], _Result], sql: dict[tuple[str, str], _Result], **torch: float) -> Parity:
    """The differences of a classification; torch's scores are onnxruntime's unless `one` or `two` is given."""
    known = {seed: score for seed, (score, *_) in onnx.items() if score is not None}
    given = {seed: (torch[name],) for seed, name in ((ONE, "one"), (TWO, "two")) if name in torch}
    card = SimpleNamespace(task=SimpleNamespace(is_classification=True))
    return _compare(card, known | given, onnx, sql)  # type: ignore[arg-type]


def test_the_largest_difference_of_any_seed_counts() -> None:
    onnx: dict[tuple[str, str], _Result] = {ONE: ((0.5,), "ok", 3, True), TWO: ((0.25,), "ok", 1, True)}
    sql: dict[tuple[str, str], _Result] = {ONE: ((0.5,), "ok", 3, True), TWO: ((0.253,), "ok", 1, True)}
    found = compare(onnx, sql, one=0.502)
    assert (found.seeds, found.pending) == (2, 0)
    assert (found.torch_onnx, found.onnx_sql) == (pytest.approx(0.002), pytest.approx(0.003))
    assert found.largest == found.onnx_sql
    assert compare(onnx, onnx, two=0.26).largest == pytest.approx(0.01)
    assert compare(onnx, onnx).largest == 0.0


def test_differences_of_values_are_shares_of_the_largest_value() -> None:
    card = SimpleNamespace(task=SimpleNamespace(is_classification=False))
    onnx: dict[tuple[str, str], _Result] = {ONE: ((-200.0,), "ok", 3, True), TWO: ((1.0,), "ok", 1, True)}
    sql: dict[tuple[str, str], _Result] = {ONE: ((-200.0,), "ok", 3, True), TWO: ((2.0,), "ok", 1, True)}
    found = _compare(card, {ONE: (-200.0,), TWO: (1.5,)}, onnx, sql)  # type: ignore[arg-type]
    assert (found.torch_onnx, found.onnx_sql) == (pytest.approx(0.5 / 200), pytest.approx(1 / 200))


@pytest.mark.parametrize(
    "other",
    [((0.5,), "stale", 3, True), ((0.5,), "ok", 2, True), (None, "ok", 3, True), (None, "unknown_entity", 0, True)],
)
def test_another_status_or_evidence_is_an_infinite_difference(other: _Result) -> None:
    assert compare({ONE: ((0.5,), "ok", 3, True)}, {ONE: other}).onnx_sql == float("inf")
    assert compare({ONE: other}, {ONE: ((0.5,), "ok", 3, True)}).onnx_sql == float("inf")
    assert compare({ONE: other}, {ONE: other}).onnx_sql == 0.0


def test_only_seeds_whose_text_has_no_embedding_are_left_out() -> None:
    onnx: dict[tuple[str, str], _Result] = {ONE: ((0.5,), "ok", 3, True), TWO: ((0.25,), "stale", 1, True)}
    found = compare(onnx, {ONE: ((0.9,), "text_pending", 3, True), TWO: ((0.25,), "stale", 1, True)})
    assert (found.pending, found.onnx_sql) == (1, 0.0)
    found = compare(onnx, {ONE: ((0.5,), "ok", 3, True), TWO: ((0.75,), "stale", 1, True)})
    assert (found.pending, found.onnx_sql) == (0, 0.5)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_nan_is_an_infinite_difference(score: float) -> None:
    onnx: dict[tuple[str, str], _Result] = {ONE: ((0.5,), "ok", 1, True)}
    assert compare(onnx, onnx, one=score).torch_onnx == math.inf


def test_a_score_that_only_torch_has_is_an_infinite_difference() -> None:
    wrong: dict[tuple[str, str], _Result] = {ONE: (None, "error", 1, True)}
    assert compare(wrong, wrong, one=0.5).torch_onnx == math.inf
