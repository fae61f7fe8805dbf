"""Proposals on schemas with a known truth: what `relsql init --yes` stores of them, and whether the truth is one."""

from __future__ import annotations

from functools import cache

import duckdb
import pytest
from click.testing import CliRunner

from benchmarks.proposals.__main__ import main
from benchmarks.proposals.score import Score, add_scores, score_schema, score_texts
from benchmarks.proposals.truth import KINDS, generated_schemas, load_dataset, load_generated
from relsql.schema.checks import check_link, key_counts
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.declared.text import parse_columns, parse_link, parse_time
from relsql.schema.discovery.propose import SURE
from relsql.schema.reading import read_schema

TUNED, HELD_OUT = generated_schemas(held_out=False), generated_schemas(held_out=True)


@pytest.mark.parametrize("name", [*TUNED, *HELD_OUT])
def test_the_truth_agrees_with_the_data(con: duckdb.DuckDBPyConnection, name: str) -> None:
    truth = load_generated(con, name)
    schema = read_schema(con)
    assert not any(table.primary_key for table in schema.tables.values()) and not schema.links
    for key in (choice for choices in truth.expected["key"] for choice in choices):
        table, columns = parse_columns(key)
        assert key_counts(con, "memory", schema.table(table), columns).problem is None
    for link in (choice for choices in truth.expected["link"] for choice in choices):
        check_link(con, "memory", schema, parse_link(link))
    for link in (choices[0] for choices in truth.expected["link"]):
        declare_link(con, "memory", parse_link(link))
    # A header's time is declared before that of its lines.
    for time in sorted((choices[0] for choices in truth.expected["time"]), key=_depends_on_a_header):
        table, text = parse_time(time)
        declare_table(con, "memory", table, time_column=text)


scored = cache(score_schema)
"""The score of a schema; each takes a second or two, and two tests need all."""


def _depends_on_a_header(time: str) -> bool:
    text = parse_time(time)[1]
    return "." in text or ("_" in text and "(" not in text)


@pytest.mark.parametrize(("names", "precision", "recall"), [(TUNED, 1.0, 0.99), (HELD_OUT, 1.0, 0.94)])
def test_keys_and_links_of_generated_schemas(names: tuple[str, ...], precision: float, recall: float) -> None:
    assert len(TUNED) >= 10 and len(HELD_OUT) >= 3
    total = add_scores(scored(load_generated, name, SURE) for name in names)
    for kind in ("key", "link"):
        assert total[kind].precision >= precision, total[kind].wrong
        assert total[kind].recall >= recall, total[kind].missed


@pytest.mark.parametrize("name", ["rel-f1", "rel-grants", "rel-retail"])
def test_data_sets_without_constraints_are_recovered(data_dir: object, name: str) -> None:
    for kind, score in score_schema(load_dataset, name, SURE).items():
        assert score.precision == score.recall == 1.0, (kind, score.wrong, score.missed)


def test_alternatives_and_what_is_right_as_well() -> None:
    def score(proposed: list[str]) -> Score:
        return score_texts(
            proposed, (("a(x, y) -> b(p, q)", "a(x) -> b(p)"), ("c(z) -> d(z)",)), frozenset({"e(u)"}), "s"
        )

    assert score(["a(y, x) -> b(q, p)", "e(u)"]) == Score(1, 1, 1, 2, (), ("s: c(z) -> d(z)",))
    assert score(["A(X) -> b(p)", "c(z) -> d(z)"]).recall == 1.0
    wrong = score(["a(x, y) -> b(q, p)"])
    assert wrong.precision == wrong.recall == 0.0 and wrong.wrong == ("s: a(x, y) -> b(q, p)",)


def test_the_command_prints_a_line_per_schema_and_the_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.proposals.__main__.score_schema", scored)
    result = CliRunner().invoke(main, ["--no-datasets", "--no-held-out", "--details"])
    assert result.exit_code == 0
    assert all(f"| {name} |" in result.stdout for name in TUNED) and "**all generated**" in result.stdout
    assert "missed time: wordpress: wp_posts(post_date)" in result.stdout
    assert len(KINDS) == 3
