"""README's picture, docs/h200.svg: what the small head kept in every implicit int8 build recorded on H200s.

`python -m tests.unit.h200_picture` writes it again; tests/unit/test_h200_picture.py holds it to the records.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from tests.unit import h200
from trt_matrix.core.cells import Precision
from trt_matrix.core.evidence import good
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.layers.precisions import from_layers, held_layers

PICTURE = h200.ROOT / "docs" / "h200.svg"
HEAD, LAYER = "small", "neck8/upsample/Resize"
TABLES = ("int8-implicit-shared-entropy", "int8-implicit-own-entropy2")
"""Passes whose builds differ; minmax tables have equal ranges on both sides of a resizing."""
EXPLICIT = "int8-shared-entropy"
INK, FAINT, RULE, HARM, WELL = "#16181d", "#5b616e", "#c9cdd4", "#c2410c", "#003a75"
LEFT, WIDTH, ROW = 250, 880, 40
LOW_DB, HIGH_DB = 14, 24


@dataclass(frozen=True, slots=True)
class Build:
    version: str
    sqnr_db: float
    in_int8: bool
    """Whether it ran the upsampling before the head in int8."""
    held: bool
    """Whether matrix.yaml kept it from doing so."""


def builds() -> Iterator[Build]:
    """Yields every recorded build of implicit int8 whose table's builds differ."""
    recorded = h200.recorded()
    for record in recorded.records:
        if record.pass_.precision is not Precision.INT8 or record.pass_.name not in TABLES:
            continue
        for measurement in good(record):
            assert measurement.layers
            ran = from_layers(recorded.network, recorded.layers_of(measurement.layers))
            sqnr_db = recorded.evidence.sqnr_of(HEAD, measurement.outputs[HEAD])
            assert sqnr_db is not None
            version = record.environment.removeprefix("trt-").removesuffix("-held")
            yield Build(version, sqnr_db, ran[LAYER] == INT8, bool(held_layers(measurement.start)))


def explicit_db() -> Sequence[float]:
    """Returns what the same head kept by Q/DQ nodes with the shared table, build by build."""
    recorded = h200.recorded()
    found = []
    for record in recorded.records:
        if record.environment.startswith("trt-") and record.pass_.name == EXPLICIT:
            for measurement in good(record):
                sqnr_db = recorded.evidence.sqnr_of(HEAD, measurement.outputs[HEAD])
                assert sqnr_db is not None
                found.append(sqnr_db)
    return found


def drawn(found: Sequence[Build], explicit: float) -> str:
    """Returns the picture as SVG: a row a version, a dot a build, more dB to the right."""

    def x(sqnr_db: float) -> float:
        return LEFT + (sqnr_db - LOW_DB) / (HIGH_DB - LOW_DB) * (WIDTH - LEFT - 40)

    def text(at: float, y: float, words: str, **style: str) -> str:
        told = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
        return f'<text x="{at:.1f}" y="{y:.1f}"{told}>{escape(words)}</text>'

    versions = sorted({build.version for build in found}, key=lambda name: name.split("."))
    worst, held = min(build.sqnr_db for build in found), [build for build in found if build.held]
    least = min(build.sqnr_db for build in held)
    top, bottom = 108, 108 + ROW * len(versions)
    lines = [
        text(24, 34, f"INT8 lost the small objects ({worst:.0f} dB) in {len(versions)} TensorRT versions alike.",
             font_size="20", font_weight="700"),
        text(24, 60, f"With two layers held in FP32: {least:.0f} dB. "
             "It was not the version, not the calibration, not 8 bits.", font_size="16"),
    ]  # fmt: skip
    for sqnr_db in range(LOW_DB, HIGH_DB + 1, 2):
        at = x(sqnr_db)
        lines.append(f'<path d="M{at:.1f} {top - 18}V{bottom - 8}" stroke="{RULE}"/>')
        lines.append(
            text(at, bottom + 10, f"{sqnr_db} dB", fill=FAINT, text_anchor="middle", font_size="12")
        )
    at = x(explicit)
    lines.append(
        f'<path d="M{at:.1f} {top - 18}V{bottom - 8}" stroke="{INK}" stroke-dasharray="4 3"/>'
    )
    lines.append(
        text(at - 6, top - 22, "Q/DQ nodes, the same table", text_anchor="end", font_size="12")
    )
    lines.append(text(24, bottom + 10, "SQNR of the small head", fill=FAINT, font_size="12"))
    for row, version in enumerate(versions):
        y = top + ROW * row
        lines.append(text(24, y + 5, f"TensorRT {version}", font_weight="600"))
        seen: dict[int, int] = {}
        for build in sorted((b for b in found if b.version == version), key=lambda b: b.sqnr_db):
            place = round(x(build.sqnr_db) / 11)  # builds of one value stand above each other
            up = y - 9 * seen.get(place, 0) + 4
            seen[place] = seen.get(place, 0) + 1
            colour, at = (HARM if build.in_int8 else WELL), x(build.sqnr_db)
            if build.held:
                lines.append(f'<path d="M{at:.1f} {up - 6:.1f}l6 6l-6 6l-6 -6z" fill="{colour}"/>')
            else:
                lines.append(f'<circle cx="{at:.1f}" cy="{up:.1f}" r="5" fill="{colour}"/>')
    harmed = [build for build in found if build.in_int8]
    spared = [build for build in found if not build.in_int8 and not build.held]
    key = bottom + 40
    legend = (
        (f'<circle cx="30" cy="{key - 5}" r="5" fill="{HARM}"/>', 42,
         f"{len(harmed)} builds that ran the upsampling in int8"),
        (f'<circle cx="350" cy="{key - 5}" r="5" fill="{WELL}"/>', 362,
         f"{len(spared)} that chose FP32 there"),
        (f'<path d="M570 {key - 11}l6 6l-6 6l-6 -6z" fill="{WELL}"/>', 582,
         f"{len(held)} held in FP32 by matrix.yaml"),
    )  # fmt: skip
    for shape, words_at, words in legend:
        lines += [shape, text(words_at, key, words, font_size="13")]
    height = key + 20
    title = (
        f"SQNR of the small head, TensorRT {', '.join(versions)} on H200s: {min(b.sqnr_db for b in harmed):.1f} to "
        f"{max(b.sqnr_db for b in harmed):.1f} dB in builds with the upsampling in int8, "
        f"{min(b.sqnr_db for b in found if not b.in_int8):.1f} to "
        f"{max(b.sqnr_db for b in found if not b.in_int8):.1f} dB in the others"
    )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="14" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#fbfbf9"/>',
        *lines,
        "</svg>\n",
    ])  # fmt: skip


def picture() -> str:
    return drawn(tuple(builds()), min(explicit_db()))


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
