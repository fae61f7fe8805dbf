"""Charts of numbers as SVG within a page. Colours are variables of the page, so they follow its light or dark mode.

Only numbers, times and fixed texts are drawn: a name of a user's object could not be laid out in every script, and is
written in tables instead.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from relsql import html
from relsql.errors import needs_extra
from relsql.evaluation.metrics.bootstrap import Floats

with needs_extra("report", "relsql report"):
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

INK, MUTED, LINE, FAINT, ACCENT, SECOND = (f"#0{i}0{i}0{i}" for i in range(1, 7))
"""Placeholders for the page's colours until the picture is written."""

_COLOURS = {INK: "ink", MUTED: "muted", LINE: "line", FAINT: "faint", ACCENT: "accent", SECOND: "second"}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "path.simplify_threshold": 0.5,
}
WIDTH, HEIGHT, WIDE = 5.2, 3.4, 8.0
"""The size of a picture in inches, and the width below which it scrolls instead of shrinking on a small screen."""

POINTS = 200
"""The maximum number of points of a curve."""

_NO_METADATA = {"Date": None, "Creator": None, "Type": None, "Format": None}

PIXELS = 4 / 3
"""A point of matplotlib in pixels of a page."""

STYLE = """
.chart { max-width: 100%; height: auto; }
.wide .chart { min-width: 40rem; }
.chart * { stroke-linejoin: round; stroke-linecap: butt; }
.chart text { font-family: system-ui, sans-serif; }
"""


class Chart:
    """One picture: draw on `axes`, then `html`."""

    def __init__(self, name: str, x: str, y: str, *, width: float = WIDTH, height: float = HEIGHT) -> None:
        """`name` is the prefix of its ids; the other arguments are the labels of its axes and its size in inches."""
        self.name = name
        with matplotlib.rc_context(_STYLE):
            self.figure = Figure(figsize=(width, height), layout="constrained")
            self.axes: Any = self.figure.add_subplot()
            self.axes.set_xlabel(x)
            self.axes.set_ylabel(y)

    def curve(self, x: Floats, y: Floats, label: str, colour: str = ACCENT, style: str = "-") -> None:
        """Draw a line through points."""
        chosen = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int)) if len(x) > POINTS else slice(None)
        self.axes.plot(x[chosen], y[chosen], style, color=colour, label=label)

    def html(self, caption: str, description: str) -> str:
        """The picture with its caption; the description says in words what it shows."""
        with matplotlib.rc_context(_STYLE):
            if len(self.axes.get_legend_handles_labels()[1]) > 1:
                self.axes.legend(labelcolor=INK, fontsize=9)
        kind = "drawn wide" if self.figure.get_figwidth() > WIDE else "drawn"
        drawn = html.element("div", self._svg(description), class_=kind, tabindex=0)
        return html.element("figure", drawn, html.element("figcaption", html.text(caption)))

    def _svg(self, description: str) -> str:
        out = io.StringIO()
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": self.name}):
            canvas: Any = FigureCanvasSVG(self.figure)
            canvas.print_svg(out, metadata=_NO_METADATA)
        svg = out.getvalue()
        body = svg[svg.index(">", svg.index("<svg")) + 1 :]
        # Its style sheet would apply to the whole page, and other pictures have groups with the same ids.
        body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
        body = re.sub(r'(<g|<text) id="[^"]*"', r"\1", body)
        body = re.sub(r"font: ([0-9.]+px) [^;\"]*", r"font-size: \1", body)
        for stand_in, colour in _COLOURS.items():
            body = body.replace(stand_in, f"var(--{colour})")
        [(width, height)] = re.findall(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', svg)
        opened = html.element(
            "svg",
            class_="chart",
            role="img",
            aria_label=description,
            viewBox=f"0 0 {width} {height}",
            width=round(float(width) * PIXELS),
            height=round(float(height) * PIXELS),
        )
        return opened.removesuffix("</svg>") + body.strip()


def bar(value: float, interval: tuple[float, float] | None, ends: tuple[float, float]) -> html.Markup:
    """A bar from 0 to a value in a table cell, hidden from screen readers because another cell gives the number.

    Args:
        value: where it ends.
        interval: a thin line over it.
        ends: the values at the left and right of the cell.
    """
    low, high = ends
    width = 160
    scale = width / ((high - low) or 1.0)

    def at(number: float) -> float:
        return round(min(max(number, low) - low, high - low) * scale, 1)

    left, right = sorted((at(0.0), at(value)))
    sign = "up" if value >= 0 else "down"
    shapes = [html.element("rect", x=left, y=3, width=round(max(right - left, 0.5), 1), height=10, class_=sign)]
    if interval:
        shapes.append(html.element("line", x1=at(interval[0]), x2=at(interval[1]), y1=8, y2=8, class_="range"))
    shapes.append(html.element("line", x1=at(0.0), x2=at(0.0), y1=0, y2=16, class_="zero"))
    drawn = html.element(
        "svg", *shapes, class_="bar", aria_hidden="true", width=width, height=16, viewBox=f"0 0 {width} 16"
    )
    return html.Markup(drawn)


def bar_ends(values: Sequence[float]) -> tuple[float, float]:
    """The values at the left and right of cells with bars for these values, which include the ends of intervals."""
    return min(0.0, *values), max(0.0, *values)
