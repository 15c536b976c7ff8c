"""A trade-off → an inline SVG, drawn by Vega (vl-convert): attributes only, no style, no script.

Nothing in the drawing depends on the fonts of this machine: sizes and places are all given, names
stand in the table beside it. Colours are variables of the page's style, so a dark page has dark plots.
"""

import math
import re
from typing import Any

from markupsafe import Markup, escape

from trt_matrix.report.tradeoff import KINDS, Tradeoff

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 22, 44
SHAPES = ("circle", "diamond", "square", "triangle-down", "triangle-up", "cross")
COLOURS = ("--float", "--float", "--float", "--float", "--int8", "--int8")
WIDE = 20.0
"""Where the slowest takes this many times as long as the fastest, the scale is logarithmic."""

_LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_OPENING = re.compile(r"<svg[^>]*>")
_PARTS = re.compile(r' (?:class|role|aria-[a-z]+|pointer-events)="[^"]*"')
"""What Vega says of each part: the drawing is one image to who cannot see it, with one description."""
_ALIKE = re.compile(
    r'<path transform="[^"]*" d="[^"]*" ([^/]*)/>(?:<path transform="[^"]*" d="[^"]*" \1/>)+'
)
"""Marks of one kind beside each other: what they share is said once."""


def tradeoff_svg(one: Tradeoff, identifier: str, title: str, description: str) -> Markup:
    """Returns the plot as an image with a title and a description.

    Args:
        one: What to draw.
        identifier: Unique in the page.
        title: What it shows, for who cannot see it.
        description: What it says.
    """
    drawn = _drawn(one)
    opening = (
        f'<svg class="plot" width="{LEFT + WIDTH + RIGHT}" height="{TOP + HEIGHT + BOTTOM}" '
        f'viewBox="0 0 {LEFT + WIDTH + RIGHT} {TOP + HEIGHT + BOTTOM}" role="img" '
        f'aria-labelledby="{identifier}-title {identifier}-desc">'
        f'<title id="{identifier}-title">{escape(title)}</title>'
        f'<desc id="{identifier}-desc">{escape(description)}</desc>'
    )
    return Markup(_OPENING.sub(lambda _: opening, drawn, count=1))  # noqa: S704 - Vega escapes


def _drawn(one: Tradeoff) -> str:
    # Here, since it brings a JavaScript engine with it: 80 MB that only a report needs.
    import vl_convert  # noqa: PLC0415

    svg: str = vl_convert.vegalite_to_svg(_specification(one))
    # A tenth of a pixel is enough, and what is the default need not be said.
    svg = _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), svg)
    svg = _PARTS.sub("", svg.replace(' opacity="1"', ""))
    return _ALIKE.sub(
        lambda found: f"<g {found[1]}>{found[0].replace(f' {found[1]}/>', '/>')}</g>", svg
    )


def _specification(one: Tradeoff) -> dict[str, Any]:
    """Returns a Vega-Lite specification; what it lacks, `_CONFIG` gives."""
    x, y = _x(one), _y(one)
    layers: list[dict[str, Any]] = [_front(one, x, y)]
    if one.gate_sqnr_db is not None:
        layers.append(
            {
                "data": {"values": [{"db": one.gate_sqnr_db}]},
                "mark": {"type": "rule", "color": "var(--bad)", "strokeDash": [4, 3]},
                "encoding": {"y": {"field": "db", **y}},
            }
        )
    layers += [_marks(one, x, y), _numbers(one, x, y)]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": WIDTH,
        "height": HEIGHT,
        "autosize": "none",
        "padding": {"left": LEFT, "top": TOP, "right": RIGHT, "bottom": BOTTOM},
        "background": None,
        "layer": layers,
        "config": _CONFIG,
    }


def _values(one: Tradeoff) -> list[dict[str, Any]]:
    return [
        {
            "ms": point.latency_s * 1e3,
            "db": min(point.sqnr_db, one.top_db),
            "kind": point.kind,
            "number": "" if point.number is None else str(point.number),
        }
        for point in one.points
    ]


def _marks(one: Tradeoff, x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    kinds = list(KINDS)
    return {
        "data": {"values": _values(one)},
        "mark": {"type": "point", "size": 70, "filled": True, "opacity": 1, "strokeWidth": 1},
        "encoding": {
            "x": {"field": "ms", **x},
            "y": {"field": "db", **y},
            "shape": {
                "field": "kind",
                "type": "nominal",
                "scale": {"domain": kinds, "range": list(SHAPES)},
                "legend": None,
            },
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {"domain": kinds, "range": [f"var({name})" for name in COLOURS]},
                "legend": None,
            },
            "stroke": {"value": "var(--card)"},
        },
    }


def _front(one: Tradeoff, x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    corners = [
        {"ms": point.latency_s * 1e3, "db": min(point.sqnr_db, one.top_db)} for point in one.front
    ]
    return {
        "data": {"values": corners},
        "mark": {"type": "line", "interpolate": "step-after", "color": "var(--ink2)"},
        "encoding": {"x": {"field": "ms", **x}, "y": {"field": "db", **y}},
    }


def _numbers(one: Tradeoff, x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    values = [value for value in _values(one) if value["number"]]
    return {
        "data": {"values": values},
        "mark": {"type": "text", "dx": 0, "dy": -11, "fontSize": 12, "color": "var(--ink)"},
        "encoding": {
            "x": {"field": "ms", **x},
            "y": {"field": "db", **y},
            "text": {"field": "number"},
        },
    }


def _x(one: Tradeoff) -> dict[str, Any]:
    times = [point.latency_s * 1e3 for point in one.points]
    wide = max(times) / min(times) > WIDE
    if wide:
        domain = [min(times) / 1.3, max(times) * 1.3]
    else:
        room = 0.1 * (max(times) - min(times)) or 0.1 * max(times)
        domain = [max(0.0, min(times) - room), max(times) + room]
    return {
        "type": "quantitative",
        "scale": {"domain": domain, "nice": False, "type": "log" if wide else "linear"},
        "axis": {"title": "median latency, ms", "titleY": 26, "tickCount": 5},
    }


def _y(one: Tradeoff) -> dict[str, Any]:
    top = math.ceil(one.top_db)
    return {
        "type": "quantitative",
        "scale": {"domain": [math.floor(one.bottom_db), top], "nice": False},
        "axis": {"title": "SQNR, dB", "titleX": -36, "tickCount": 5, "format": "d"},
    }


_CONFIG: dict[str, Any] = {
    "aria": False,
    "view": {"stroke": None},
    "font": "inherit",
    "line": {"strokeWidth": 1.5},
    "axis": {
        "labelColor": "var(--ink2)",
        "labelFontSize": 12,
        "labelFont": "inherit",
        "labelOverlap": False,
        "labelFlush": False,
        "titleColor": "var(--ink2)",
        "titleFont": "inherit",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "gridColor": "var(--line)",
    },
}
