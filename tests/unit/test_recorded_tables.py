"""Tables that come with recorded outputs, the way a user goes: in every form used or told wrong, outputs never lost."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.unit.recordings import HEADS, Recording, exactly, noisy
from trt_matrix.config.matrix import validate
from trt_matrix.config.yaml_file import Document
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.errors import ConfigError
from trt_matrix.judging.outcome import Outcome

Scales = Mapping[str, float]
Write = Callable[[Scales], bytes | str]


def lines(
    scales: Scales, first: str = "TRT-8601-EntropyCalibration2", end: str = "\n", **how: Any
) -> str:
    name, bits = how.get("name", str), how.get("bits", lambda scale: struct.pack(">f", scale).hex())
    return end.join([first, *(f"{name(one)}: {bits(scale)}" for one, scale in scales.items()), ""])  # fmt: skip


def times(factor: float) -> Callable[[Scales], str]:
    return lambda scales: lines({name: factor * scale for name, scale in scales.items()})


def dead(scales: Scales) -> str:
    """Half of all tensors have no scale."""
    return lines({name: scale * (index % 2) for index, (name, scale) in enumerate(scales.items())})


USED: dict[str, tuple[Write, str]] = {
    "as-is": (lines, ""),
    "other-header": (lambda scales: lines(scales, "TRT-8XXX-EntropyCalibration2 "), ""),
    "crlf": (lambda scales: "\ufeff" + lines(scales, end="\r\n"), ""),
    "ort-text": (lambda scales: "".join(f"{name} {127 * scale}\n" for name, scale in scales.items()), "ONNX Runtime's table as text"),
    "ort-json": (lambda scales: json.dumps({name: [-127 * scale, 127 * scale] for name, scale in scales.items()}), "as JSON"),
    "prefixed": (lambda scales: lines(scales, name="yolov3/{}".format), "prefix 'yolov3/' taken off"),
    "mapped": (lambda scales: lines(scales, name=lambda one: f"blob{sorted(scales).index(one)}"), ""),
    "brighter": (times(2), "2 times what the reference's ranges ask for"),
}  # fmt: skip
"""Form → how it is written, and a part of what is told."""

WRONG: dict[str, tuple[Write, str]] = {
    "amax": (times(127), "its scales are 127 times what the reference's ranges ask for"),
    "inverse": (lambda scales: lines({name: 1 / scale for name, scale in scales.items()}), "1 / scale"),
    "little-endian": (lambda scales: lines(scales, bits=lambda one: struct.pack("<f", one).hex()), "stand in reverse"),
    "unsigned": (times(127 / 255), "divided by 255, as for unsigned numbers"),
    "cut": (lambda scales: json.dumps({name: [0, 127 * scale] for name, scale in scales.items()})[:-9], "was it cut?"),
    "empty": (lambda _: "", "it is empty"),
    "binary": (lambda _: b"ftrt\x00\xff" * 500, "is it an engine, or a timing cache?"),
    "renamed": (lambda scales: lines(scales, name=lambda one: f"blob{sorted(scales).index(one)}"), "names: {theirs: ours}"),
    "dead": (dead, "cannot be used (zero,"),
}  # fmt: skip

UNREAD = ("missing", "folder")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    recording = Recording(tmp_path_factory.mktemp("tables"))
    text = recording.cache().read_text().splitlines()[1:]
    pairs = (line.rsplit(": ", 1) for line in text)
    scales = {name: struct.unpack(">f", bytes.fromhex(bits))[0] for name, bits in pairs}
    recording.version("app", "8.6.1", 1, fp32=exactly, int8=noisy(0.02))
    files = "../app/int8/{repeat}/{head}/{image}.bin"
    folder = recording.folder / "tables"
    folder.mkdir()
    (folder / "folder").mkdir()
    for name in (*USED, *WRONG, *UNREAD):
        if name in USED or name in WRONG:
            content = (USED | WRONG)[name][0](scales)
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        told: dict[str, Any] = {"files": files.removeprefix("../app/"), "table": f"tables/{name}"}
        if name == "mapped":
            told["names"] = {f"blob{index}": one for index, one in enumerate(sorted(scales))}
        recording.environments.append({"dumps": "dumps/app", "name": name, "version": "8.6.1", "device": "gpu:T4",
                                  "passes": {"int8": told}})  # fmt: skip
    return recording.run({"sqnr_db": 20})


def cell(outcome: Outcome, name: str) -> CellResult:
    (cell_result,) = (result for result in outcome.judgement.cells if result.cell.environment == name and "int8" in result.cell.pass_.name)  # fmt: skip
    return cell_result


@pytest.mark.parametrize("name", [*USED, *WRONG, *UNREAD])
def test_outputs_are_never_lost_for_a_table(outcome: Outcome, name: str) -> None:
    result, other = cell(outcome, name), cell(outcome, "as-is")
    assert (result.status, result.reason) == (Status.OK, None)
    assert [head.passed for head in result.heads] == [True, True]
    assert [head.error for head in result.heads] == [head.error for head in other.heads]
    assert not {verdict.kind for verdict in result.all_verdicts} & {Kind.NOT_COMPARABLE}


@pytest.mark.parametrize("name", USED)
def test_every_form_gives_the_same_budget(outcome: Outcome, name: str) -> None:
    result, other = cell(outcome, name), cell(outcome, "as-is")
    assert result.table_problem is None
    assert USED[name][1] in " ".join(result.facts.get("table", {}).get("notes", ()))
    for head, as_is in zip(result.heads, other.heads, strict=True):
        assert head.budget is not None
        if name != "brighter":
            assert as_is.budget is not None
            assert head.budget.calibration == pytest.approx(as_is.budget.calibration, rel=0.05, abs=1e-7)  # fmt: skip


@pytest.mark.parametrize("name", [*WRONG, *UNREAD])
def test_a_wrong_one_is_told_on_every_card_and_not_simulated(outcome: Outcome, name: str) -> None:
    result = cell(outcome, name)
    said = WRONG[name][1] if name in WRONG else "cannot be read as a calibration table"
    assert said in (result.table_problem or "")
    assert [head.budget for head in result.heads] == [None, None]
    assert result.run is not None
    assert result.run.table is None
    for answer in outcome.judgement.answers:
        (told,) = (finding for finding in answer.findings if result.cell.id in finding.cells and finding.kind is Kind.NOT_COMPARABLE)  # fmt: skip
        assert said in told.text
        assert told.severity is Severity.VISIBLE
        assert not told.fails
        assert "lower `calibration.coverage`" not in told.advice + told.text
    assert said.replace("'", "&#39;") in outcome.report.read_text().replace("&#x27;", "&#39;")


def test_a_table_of_brighter_images_than_those_of_matrix_yaml_is_not_called_wrong(
    tmp_path: Path,
) -> None:
    """Calibration images of matrix.yaml are nearly black, so the table is 255 times what they ask for."""
    recording = Recording(tmp_path)
    table = recording.cache()  # of the calibration images as they were
    for path in sorted((tmp_path / "images" / "calibration").iterdir()):
        Image.fromarray((np.asarray(Image.open(path)) > 127).astype(np.uint8)).save(path)
    recording.version("app", "8.6.1", 1, fp32=exactly, int8=noisy(0.02))
    recording.environments[0]["passes"]["int8"]["table"] = str(table.relative_to(tmp_path))
    result = cell(recording.run(), "app")
    assert result.table_problem is None
    assert all(head.budget for head in result.heads)


def test_shared_tables_of_two_programs_that_are_none_are_not_taken_for_the_same_scales(
    tmp_path: Path,
) -> None:
    recording = Recording(tmp_path)
    for number, name in enumerate(("one", "other")):
        recording.version(name, f"8.6.{number}", 2, fp32=exactly, int8_implicit_shared_minmax=noisy(0.02 + 0.2 * number, number, 0.01))  # fmt: skip
        table = recording.cache(factor=1.5 + number)
        recording.environments[number]["passes"]["int8-implicit-shared-minmax"]["table"] = str(table.relative_to(tmp_path))  # fmt: skip
    outcome = recording.run({"sqnr_db": 5})
    for name in ("one", "other"):
        assert "is not this experiment's shared table" in (cell(outcome, name).table_problem or "")
    verdicts = [verdict for result in outcome.judgement.cells for verdict in result.all_verdicts]
    kinds = {kind for verdict in verdicts for kind in (verdict.kind, verdict.suspected)}
    assert Kind.ENGINE_REGRESSION not in kinds
    assert Kind.VERSION_REGRESSION in kinds


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"files": "{head}.bin", "names": {"a": "b"}}, "say which, as `table`"),
        ({"files": "{head}.bin", "table": "x", "names": {"a": "c", "b": "c"}}, "the one name 'c'"),
    ],
)
def test_maps_that_cannot_be_are_refused_beforehand(entry: dict[str, Any], said: str) -> None:
    content = {
        "name": "x",
        "model": {"onnx": "model.onnx"},
        "heads": {head: {} for head in HEADS},
        "data": {"calibration": {"images": "c"}, "evaluation": {"images": "e"}},
        "baseline": "app",
        "environments": [{"dumps": "d", "name": "app", "passes": {"int8": entry}}],
    }
    with pytest.raises(ConfigError) as caught:
        validate(Document(source="matrix.yaml", value=yaml.safe_load(yaml.safe_dump(content))))
    assert said in str(caught.value)
