"""Reports in a real browser (`make test-report`): they render, say nothing on the console, and ask for nothing.

AXE=path/to/axe.min.js also runs axe-core (`npm install axe-core`) on them, in light and dark. The pictures that the
tests take are kept in the folder SCREENSHOTS, to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.schema.declared.declare import declare_table
from relsql.tasks.stored_tasks import save_task
from tests.pages.browser import CHROMIUM, Browser, browser
from tests.shop import QUICK, TASK, create_shop

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

EVIL = "</script><img src=x onerror=document.title=1>"
NAMES = ("churn", "spend", "schema", "hostile", "hostile-schema")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name, the reports of a shop, and of one whose tables, columns and values are attacks."""
    folder = tmp_path_factory.mktemp("pages")
    shop, hostile = folder / "shop.duckdb", folder / "hostile.duckdb"
    create_shop(shop)
    _create_hostile(hostile)
    paths = {name: folder / f"{name}.html" for name in NAMES}
    with relsql.connect(shop) as con:
        for name, task in (("churn", "customer-churn"), ("spend", "customer-spend")):
            relsql.train(con, task, name=name, options=QUICK)
            relsql.report(con, name, paths[name])
        relsql.schema_report(con, paths["schema"])
    with relsql.connect(hostile) as con:
        relsql.train(con, EVIL, name="hostile", options=QUICK)
        relsql.report(con, "hostile", paths["hostile"])
        relsql.schema_report(con, paths["hostile-schema"])
    return paths


def _create_hostile(path: Path) -> None:
    """The shop with a name that is an attack for the table of orders, its note and its values, and for the task."""
    create_shop(path)
    name = EVIL.replace('"', '""')
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM relsql.schema_tables; DELETE FROM relsql.tasks")
        con.execute(f"""CREATE TABLE "{name}" (order_id BIGINT PRIMARY KEY, customer_id BIGINT REFERENCES customers,
                    amount DOUBLE, "{name}" VARCHAR, ordered_at TIMESTAMP)""")
        con.execute(f"""INSERT INTO "{name}" SELECT * REPLACE ('{EVIL.replace("'", "''")}' AS note) FROM orders""")
        con.execute("DROP TABLE orders")
        with transaction(con):
            declare_table(con, current_catalog(con), f'"{name}"', time_column="ordered_at")
            query = TASK.sql.replace("JOIN orders o", f'JOIN "{name}" o').replace("JOIN orders ON", f'JOIN "{name}" ON')
            save_task(con, current_catalog(con), replace(TASK, name=EVIL, description=EVIL, sql=query))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_page_renders_and_asks_for_nothing(pages: dict[str, Path], chromium: Browser, name: str, dark: bool) -> None:
    chromium.open(pages[name], dark=dark)
    assert chromium.requests() == [pages[name].resolve().as_uri()]
    assert chromium.problems() == []
    assert chromium.value("document.title") != "1"
    assert (EVIL in chromium.value("document.body.textContent")) == name.startswith("hostile")
    assert chromium.value("document.querySelectorAll('script, img, iframe, b').length") == 0
    background = chromium.value("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)")
    _keep(chromium, f"{name}-{'dark' if dark else 'light'}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_a_page_is_as_wide_as_its_window(pages: dict[str, Path], chromium: Browser, name: str, width: int) -> None:
    chromium.open(pages[name], width=width)
    assert chromium.value("document.documentElement.scrollWidth") <= width


OVERLAPPING = """
    [...document.querySelectorAll('svg.chart')].flatMap(svg => {
        const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
        const meet = (p, q) => Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1
            && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 3;
        return boxes.flatMap(([a, p], i) =>
            boxes.slice(i + 1).filter(([b, q]) => meet(p, q)).map(([b]) => a + '/' + b));
    })"""


@pytest.mark.parametrize("name", NAMES)
def test_texts_of_pictures_can_be_read(pages: dict[str, Path], chromium: Browser, name: str) -> None:
    chromium.open(pages[name])
    texts = "[...document.querySelectorAll('svg text')].map(t => parseFloat(getComputedStyle(t).fontSize))"
    assert min(chromium.value(texts)) >= 9
    assert chromium.value(OVERLAPPING) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_prints_light_with_all_of_its_tables(pages: dict[str, Path], chromium: Browser, name: str) -> None:
    chromium.open(pages[name], width=794, dark=True, media="print")
    assert chromium.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = "[...document.querySelectorAll('.scroll, .drawn, pre')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert chromium.value(cut) == 0


@pytest.mark.skipif("AXE" not in os.environ, reason="set AXE to the path of axe.min.js")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(pages: dict[str, Path], chromium: Browser, name: str, dark: bool) -> None:
    chromium.open(pages[name], dark=dark)
    chromium.value(Path(os.environ["AXE"]).read_text(encoding="utf-8") + "; 0")
    assert chromium.value("axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))") == []


def _keep(chromium: Browser, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        chromium.screenshot(Path(folder) / f"{name}.png")
