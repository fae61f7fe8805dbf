"""The report of a model: what it shows is what the functions say, and the page keeps what it promises."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given

import relsql
from relsql import html
from relsql.cli import cli
from relsql.errors import DatabaseError
from relsql.evaluation.explanations.importance import Importance
from relsql.evaluation.metrics.intervals import Gain
from relsql.reports.material import Material, ReportOptions, gather_material
from relsql.reports.page import MARK, Section, page
from relsql.reports.sections import SECTIONS, _bars, explained_scores, importance_bars, verdict
from relsql.schema.picture import Picture, schema_svg
from relsql.schema.tables import Column, Link, Schema, Table
from tests.relsql.reports.hostile import HOSTILE, Elements, require_harmless
from tests.shop import train_quickly


@pytest.fixture(scope="module")
def file(shop_with_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with a classification, `churn`, and a regression, `spend`."""
    path = Path(shutil.copy(shop_with_model, tmp_path_factory.mktemp("report") / "shop.duckdb"))
    with duckdb.connect(str(path)) as con:
        train_quickly(con, "spend", "customer-spend")
    return path


@pytest.fixture(scope="module")
def pages(file: Path) -> dict[str, str]:
    """The report of each model; the first with the importance of tables and columns."""
    written = {}
    with relsql.connect(file) as con:
        for model in ("churn", "spend"):
            path = file.with_name(f"{model}.html")
            relsql.report(con, model, path, options=ReportOptions(importance=model == "churn"))
            written[model] = path.read_text(encoding="utf-8")
    return written


@pytest.fixture
def material(file: Path) -> Iterator[Material]:
    with relsql.connect(file) as con:
        yield gather_material(con, "churn", ReportOptions())


@pytest.mark.parametrize("model", ["churn", "spend"])
def test_a_page_is_complete_and_accessible(pages: dict[str, str], model: str) -> None:
    read = Elements(pages[model])
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", pages[model])
    assert titles == [title for title, _ in SECTIONS]
    assert ("html", {"lang": "en"}) in read.found
    levels = [int(tag[1]) for tag, _ in read.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    drawn = [attributes for tag, attributes in read.found if tag == "svg" and attributes.get("role") == "img"]
    assert len(drawn) >= 8 and all(attributes["aria-label"] for attributes in drawn)
    assert all(attributes["scope"] in ("col", "row") for tag, attributes in read.found if tag == "th")
    names = [attributes["id"] for _, attributes in read.found if "id" in attributes]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("model", ["churn", "spend"])
def test_a_page_needs_nothing_but_itself(pages: dict[str, str], model: str) -> None:
    read = Elements(pages[model])
    assert len(pages[model].encode()) < 3_000_000
    assert not read.tags & {"script", "img", "link", "iframe", "object", "image", "foreignobject"}
    linked = {value for _, attributes in read.found for name, value in attributes.items() if name.endswith("href")}
    assert linked and all(str(value).startswith("#") for value in linked)
    assert not re.search(r"url\((?!#)|@import", pages[model])
    assert "default-src 'none'" in pages[model]


def test_every_colour_follows_the_page(pages: dict[str, str]) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", pages["churn"], flags=re.DOTALL))
    assert "var(--accent)" in drawn and not re.search(r"#[0-9a-f]{6}\b(?![0-9a-f\"])", drawn)


def test_text_has_enough_contrast() -> None:
    def luminance(colour: str) -> float:
        values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for palette in (html.LIGHT, html.DARK):
        for text in ("ink", "muted", "accent", "second"):
            for ground in ("paper", "box"):
                low, high = sorted((luminance(palette[text]), luminance(palette[ground])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_its_numbers_are_those_of_evaluate(file: Path, pages: dict[str, str]) -> None:
    with relsql.connect(file) as con:
        for model, name in (("churn", "roc_auc"), ("spend", "mae")):
            value = relsql.evaluate(con, model).metrics[name]
            assert f'<th scope="row">{name}</th><td class="number">{value:.4g}</td>' in pages[model]


def test_explained_scores_are_those_of_the_function(material: Material) -> None:
    shown = explained_scores(material)
    place = int(np.argmax(material.scores))
    seed = material.seeds.slice(place, 1)
    entity, as_of = seed.column("entity")[0].as_py(), seed.column("as_of")[0].as_py()
    [(path, contribution)] = material.con.execute(
        "SELECT path, contribution FROM explain_churn(?, as_of := ?, top := 1)", [entity, as_of]
    ).fetchall()
    first = shown[shown.index("Highest score") : shown.index("Lowest score")]
    assert f"customer_id {entity}" in first
    assert html.text(path) in first and f"{contribution:+.4f}" in first


def test_the_interval_of_the_lead_holds_it(material: Material) -> None:
    found = material.comparison()
    assert found is not None and found.interval is not None
    assert found.interval[0] <= found.gain <= found.interval[1]
    assert found.gain == pytest.approx(material.evaluation.metrics["roc_auc"] - material.baseline_metrics()["roc_auc"])


def test_what_would_take_minutes_is_left_out_and_said(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "95% intervals" in importance_bars(material)
    monkeypatch.setattr("relsql.reports.sections.IMPORTANCE_SEEDS", len(material.labels))
    assert "relsql importance FILE churn --split test" in importance_bars(material)


def test_a_verdict_claims_no_more_than_its_interval() -> None:
    assert verdict(None) == "The labels have one class only, so nothing can be ranked."
    behind = verdict(Gain("mae", 5.0, 3.0, -2.0, (-3.0, -1.0)))
    assert behind == "The model is 2 in mae behind the baseline; the 95% interval of its lead is -3 to -1."
    sure, unsure = (verdict(Gain("roc_auc", 0.8, 0.7, 0.1, (low, 0.2))) for low in (0.01, -0.01))
    assert sure.endswith("is 0.01 to 0.2.") and unsure.endswith("do not show which of them is better.")


def test_the_command_replaces_only_reports(shop: Path, tmp_path: Path) -> None:
    run, output = CliRunner(), tmp_path / "page.html"
    asked = ["report", str(shop), "--schema", "--output", str(output)]
    output.write_text("mine")
    assert "was not written by relsql report" in run.invoke(cli, [*asked, "--overwrite"]).stderr
    assert output.read_text() == "mine"
    output.unlink()
    assert run.invoke(cli, asked).stdout == f"{output}\n"
    assert MARK in output.read_text()
    refused = run.invoke(cli, asked)
    assert refused.exit_code == 1 and f"--schema --output {output} --overwrite" in refused.stderr
    assert run.invoke(cli, [*asked, "--overwrite"]).exit_code == 0
    assert [path.name for path in tmp_path.glob("*page*")] == ["page.html"]
    assert run.invoke(cli, ["report", str(shop), "--output", str(output)]).exit_code == 2


def test_a_report_that_fails_writes_nothing(shop: Path, tmp_path: Path) -> None:
    with relsql.connect(shop) as con:
        with pytest.raises(relsql.RelsqlError):
            relsql.report(con, "chrun", tmp_path / "page.html")
        with pytest.raises(DatabaseError, match="existing folder"):
            relsql.report(con, "churn", tmp_path / "none" / "page.html")
    assert not list(tmp_path.glob("*page*"))


def _schema(name: str) -> Schema:
    other = Table(f"{name}2", (Column(name, "BIGINT"),), schema_name="main")
    table = Table(name, (Column(name, "VARCHAR"),), primary_key=(name,), time_column=name)
    return Schema({table.key: table, other.key: other}, (Link(other.key, (name,), table.key, (name,)),))


@given(HOSTILE)
def test_no_name_becomes_markup(name: str) -> None:
    def shown(name: str) -> str:
        brought = Importance("column", name, name, name, "roc_auc", 0.5, 0.4, 0.1, (0.0, 0.2), 9)
        body = _bars("column", [brought]) + schema_svg(Picture(_schema(name), rows={name: 1}))
        return page(name, name, [Section("Names", body)])

    require_harmless(shown(name), shown("orders"))


def test_a_notebook_shows_a_schema(file: Path) -> None:
    with duckdb.connect(str(file), read_only=True) as con:
        shown = relsql.read_schema(con, "shop")._repr_html_()
    assert shown.startswith("<style>") and "customers(shop_id) -&gt; shops(shop_id)" in shown


@given(HOSTILE)
def test_pictures_of_schemas_are_well_formed(name: str) -> None:
    import xml.etree.ElementTree as ElementTree

    drawn = ElementTree.fromstring(schema_svg(Picture(_schema(name))))
    assert len(drawn.findall(".//{*}rect")) == 2 and len(drawn.findall(".//{*}circle")) == 1
