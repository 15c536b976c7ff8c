"""Images or algorithm: the parts of a bad table's loss on numbers worked out by hand."""

from typing import Any

import numpy as np
import pytest

from tests.unit.new_records import new_manifest
from trt_matrix.core.cells import Precision
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.verdicts.calibration_blame import calibration_sentences
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead
from trt_matrix.core.verdicts.sample import Sample
from trt_matrix.core.verdicts.verdict import Kind, Verdict

ENERGY = np.full(4, 10.0)
EVALUATION, CALIBRATION = "e" * 64, "c" * 64


def exact(nmse: float) -> Sample:
    return Sample(nmse * ENERGY[np.newaxis], ENERGY, exact=True)


def manifest(tables: dict[str, dict[str, Any]], **facts: Any) -> Manifest:
    return new_manifest(baseline="new", images=4, tables=tables, facts=facts)


def made(algorithm: str, images: str) -> dict[str, Any]:
    return {"algorithm": algorithm, "images_sha256": images}


TABLES = {
    "bad": made("minmax", CALIBRATION),
    "seen": made("minmax", EVALUATION),
    "better": made("entropy", EVALUATION),
}
IMAGES = {"evaluation": {"array_sha256": EVALUATION}}


def said(
    tables: dict[str, dict[str, Any]] = TABLES,
    facts: dict[str, Any] | None = None,
    kind: Kind = Kind.CALIBRATION_PROBLEM,
    **nmse: float,
) -> str | None:
    cell = CellError(
        cell="new/cpu/int8",
        environment="new",
        device="cpu",
        pass_="int8",
        precision=Precision.INT8,
        sample=exact(nmse["bad"]),
        placement="engine",
        table="bad",
    )
    head = MeasuredHead(
        head="small",
        cells=[cell],
        simulations={("engine", name): exact(value) for name, value in nmse.items()},
        gate_nmse=None,
    )
    told: dict[tuple[str, str | None], tuple[Verdict, ...]] = {
        (cell.cell, "small"): (Verdict(kind=kind, cell=cell.cell, head="small"),)
    }
    run = manifest(tables, **({"images": IMAGES} if facts is None else facts))
    return calibration_sentences(run, [head], told).get("small")


def test_images_are_to_blame_where_the_same_algorithm_does_better_on_others() -> None:
    assert said(bad=0.1, seen=0.001, better=0.001) == (
        "The calibration images are to blame, not the algorithm: minmax on the evaluation images "
        "would keep 30.0 dB, not 10.0 dB."
    )


def test_the_algorithm_is_to_blame_where_other_images_would_not_help() -> None:
    assert said(bad=0.1, seen=0.09, better=0.001) == (
        "The algorithm is to blame, not the images: minmax on the evaluation images themselves "
        "would keep 10.5 dB, where 30.0 dB are possible."
    )


def test_calibration_images_that_do_better_by_chance_are_not_blamed() -> None:
    assert (said(bad=0.1, seen=0.11, better=0.001) or "").startswith("The algorithm is to blame")


@pytest.mark.parametrize("facts", [{}, {"images": {}}, {"images": {"evaluation": {}}}])
def test_old_runs_say_nothing(facts: dict[str, Any]) -> None:
    assert said(facts=facts, bad=0.1, seen=0.001) is None
    assert said(tables={"bad": {}, "seen": {}}, bad=0.1, seen=0.001) is None


def test_no_table_of_the_same_algorithm_says_nothing() -> None:
    tables = {"bad": made("minmax", CALIBRATION), "better": made("entropy", EVALUATION)}
    assert said(tables=tables, bad=0.1, better=0.001) is None


def test_without_a_problem_nobody_is_to_blame() -> None:
    assert said(kind=Kind.OK, bad=0.1, seen=0.001) is None
