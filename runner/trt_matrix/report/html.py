"""One judgement → one self-contained HTML page. Pure: the same judgement gives the same bytes.

The page asks for nothing: no file, font or image is fetched, and no script runs but its own one,
named by its hash. Its content security policy forbids all else, so a hostile name that slipped
through escaping would still be inert.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined
from markupsafe import Markup

from trt_matrix.core.answers.headline import headline
from trt_matrix.core.boxes.results import FedImage
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import Judgement
from trt_matrix.report import (
    behaviours,
    cards,
    charts,
    columns,
    facts,
    fields,
    fixes,
    limits,
    panels,
    questions,
    reasons,
    sections,
    tables,
    verdict,
    views,
)
from trt_matrix.report.formatting import FILTERS, finalize

HTML_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'\u2028\u2029"}
"""JSON inside a script element must hold no `</script`, `<!--` or line that only JavaScript ends."""


SCRIPTED = 'document.documentElement.className = "js"'
"""First of all, so that what folds is folded before it is laid out."""
NOTHING_FED: Mapping[str, FedImage] = {}
TEMPLATES = files("trt_matrix.report") / "templates"


def render(
    judgement: Judgement,
    pictures: Mapping[str, str] | None = None,
    most_cells: int | None = None,
    fed: Mapping[str, FedImage] = NOTHING_FED,
) -> str:
    """Returns the page; it holds no character that UTF-8 cannot encode.

    Args:
        judgement: All that is told.
        pictures: Evaluation image's file name → `data:` URI; None leaves images out.
        most_cells: Are told in detail, the others in the matrix alone; None: see `limits`.
        fed: Evaluation image's file name → it as it was fed.
    """
    kept = limits.detailed(judgement, most_cells)
    part = replace(
        judgement, cells=tuple(result for result in judgement.cells if result.id in kept)
    )
    matrix = views.matrix(judgement)
    shown = views.matrix(judgement, kept) if len(kept) < len(judgement.cells) else matrix
    charted = (charts.budget_chart(shown, head) for head in judgement.heads)
    budgeted = [chart for chart in charted if chart]
    told = headline(judgement)
    counts = Counter(result.status for result in judgement.cells)
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            judgement=judgement,
            statuses={status: counts[status] for status in Status if counts[status]},
            headline=told,
            strips=verdict.rows(told),
            has_ap=any(strip.ap_drop is not None for strip in told.strips),
            has_boxes=any(strip.lost is not None for strip in told.strips),
            has_shares=any(strip.shares for strip in told.strips),
            copied=verdict.copied(judgement, told),
            fix_command=verdict.fix_command(judgement),
            cards=cards.cards(judgement),
            questions=questions.questions(judgement, told),
            gates=views.gate_texts(judgement),
            seen=behaviours.seen(matrix),
            idle=behaviours.idle(judgement.cells),
            kept=kept,
            boxed=any(result.boxes and result.boxes.whole for result in judgement.cells),
            timed=any(result.latency for result in judgement.cells),
            common=behaviours.common_versions(matrix),
            devices=len({result.device for result in judgement.cells}),
            folds=_folds(judgement, budgeted),
            panels=panels.panels(judgement),
            fixes=fixes.fixes(judgement),
            matrix=shown,
            detailed=len(kept),
            budgets=budgeted,
            scattering=any(result.latency and result.latency.scatters for result in part.cells),
            latencies=charts.latency_charts(shown),
            measured=views.measured(shown),
            reasons=reasons.reasons(part),
            facts=list(facts.flat(judgement.facts)),
            columns=columns.filled(boxless=judgement.boxless),
            data=embedded(facts.data(judgement, kept)),
            **sections.sections(part, shown, pictures, fed),
        )
    )


def _folds(judgement: Judgement, budgeted: Sequence[charts.BudgetChart]) -> set[str]:
    """Returns the ids that an answer may lead to: sections without content are not there."""
    there = {
        "matrix": True,
        "boxes": judgement.boxes,
        "budget": budgeted,
        "tables": tables.tables(judgement),
        "layers": judgement.layers,
    }
    return {name for name, content in there.items() if content}


def embedded(value: Any) -> Markup:
    """Returns `value` as JSON that may stand inside a script element of a page."""
    text = json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return Markup(text.translate(HTML_ESCAPES))  # noqa: S704 - what HTML could read is escaped


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("trt_matrix.report"),
        bytecode_cache=FileSystemBytecodeCache(),  # in a folder of this user's alone
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= FILTERS | {"flat": lambda nested: list(facts.flat(nested))}
    style, script = _joined("css"), _joined("js")
    templates.globals |= {
        "style": Markup(style),  # noqa: S704 - a file of this package
        "style_hash": _content_hash(style),
        "script": Markup(script),  # noqa: S704 - files of this package
        "script_hash": _content_hash(script),
        "pass_title": views.pass_title,
        "scripted": Markup(SCRIPTED),  # noqa: S704 - written here
        "scripted_hash": _content_hash(SCRIPTED),
        "shown": fields,
        "scale": verdict.SCALE,
        "causes": verdict.CAUSES,
        "bar": verdict.BAR,
        "ok": Status.OK,
    }
    return templates


def _joined(suffix: str) -> str:
    """Returns the templates folder's files of this suffix joined, `report.*` first, then by name."""
    named = [path for path in TEMPLATES.iterdir() if path.name.endswith(f".{suffix}")]
    named.sort(key=lambda path: (not path.name.startswith("report."), path.name))
    return "\n".join(path.read_text(encoding="utf-8") for path in named)


def _content_hash(text: str) -> str:
    """Returns what a content security policy names an inline element's `text` by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
