"""A seeded part of the corpus of damaged files; `python -m tests.damage` runs all of it."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pytest

from tests.damage.outcomes import Corpus, all_cases, prepare, run_cases

CASES = 30


@pytest.fixture(scope="module")
def corpus(shop_with_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare(shop_with_model, tmp_path_factory.mktemp("damage"))


def test_a_part_of_the_corpus_gives_the_same_scores_or_a_clear_error(corpus: Corpus) -> None:
    cases = all_cases(corpus)
    plain, forged = ([case for case in cases if case.forged is kind] for kind in (False, True))
    tables = [case for case in plain if not case.name.startswith("card")]
    cards = [case for case in plain if case.name.startswith("card")]
    draw = random.Random(17)
    report = run_cases(corpus, [*draw.sample(tables, CASES), *draw.sample(cards, 10), *draw.sample(forged, 10)])
    assert not report.failures
    assert report.counts["refused"] > 20
    assert report.counts["same score"] > 5


def test_every_damaged_status_is_refused(corpus: Corpus) -> None:
    cases = [case for case in all_cases(corpus) if case.name.startswith("models.status,")]
    assert {case.name.rpartition(": ")[2] for case in cases} >= {"NULL", "upper case", "a space more", "empty"}
    report = run_cases(corpus, cases)
    assert (report.failures, report.counts) == ([], {"refused": len(cases)})


def test_every_table_and_every_field_of_the_card_is_in_the_corpus(corpus: Corpus) -> None:
    cases = all_cases(corpus)
    with duckdb.connect(str(corpus.path), read_only=True) as con:
        query = """SELECT table_name || '.' || column_name FROM duckdb_columns() WHERE schema_name = 'relsql'
                   AND table_name IN (SELECT table_name FROM duckdb_tables() WHERE estimated_size > 0)"""
        columns = con.execute(query).fetchall()
    for (column,) in columns:
        assert any(case.name.startswith(f"{column},") for case in cases), column
    for name in ("stale_after_days", "paths.0.name", "inputs.orders.numbers.0.kind", "task.sql", "sha256.head.onnx"):
        assert any(case.name.startswith(f"card {name}: ") for case in cases), name


def test_the_corpus_notices_another_score(corpus: Corpus) -> None:
    """An undamaged file is compared with other scores."""
    from dataclasses import replace

    from tests.damage.mutations import Case

    whole = Case("nothing", "models", lambda con: None)
    wrong = replace(corpus, attached=[(row[0], (row[1] or 0) + 1e-3, *row[2:]) for row in corpus.attached])
    assert run_cases(corpus, [whole]).counts == {"same score": 1}
    assert run_cases(wrong, [whole]).counts == {"another score": 1}
