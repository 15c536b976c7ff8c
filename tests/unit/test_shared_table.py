"""A table of one's own as the shared one, the way a user goes: real runs of ONNX Runtime with a tiny network.

Every form is the same table; a wrong one is named before any engine runs with it, and costs nothing but its cells.
"""

import json
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

from tests.unit import small_networks as networks
from tests.unit.experiments import quick
from tests.unit.matrices import Told, run_offline
from tests.unit.recordings import Recording, computed, exactly, noisy, write_images
from trt_matrix.commands import session
from trt_matrix.core.cells import Status, TableSource
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import TENSORRT
from trt_matrix.core.records import Record
from trt_matrix.core.tables.table import Provenance, from_json, from_ranges, to_json
from trt_matrix.errors import ConfigError, ExitCode
from trt_matrix.judging.outcome import Outcome
from trt_matrix.packs.packing import pack
from trt_matrix.store.results import Store
from trt_matrix.ticket.making import TicketWish, make

Scales = Mapping[str, float]
DEPTH = 10


def network() -> onnx.ModelProto:
    """A chain of convolutions of very different ranges, so that tables of other networks are seen as that."""
    b = networks.Builder(5)
    x, channels = "images", 3
    for index in range(DEPTH):
        y = b.conv(x, f"c{index}", channels, 4, name=f"layer{index}/conv")
        x = b.node("Relu", [y], f"r{index}", name=f"layer{index}/relu")
        channels = 4
        gain = np.float32(4.0 ** (index % 3 - 1) * (1 + index % 4))
        b.weights[-2].CopyFrom(onnx.numpy_helper.from_array(gain * onnx.numpy_helper.to_array(b.weights[-2]), f"c{index}.weight"))  # fmt: skip
    b.conv(x, "large", 4, 4, k=1)
    b.conv("r4", "small", 4, 4, k=1)
    return b.model({"images": [1, 3, 32, 32]}, ["large", "small"])


class Place:
    """A folder with the network and images; runs share what they measured."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results = folder, folder / "results"
        self.model = network()
        (folder / "model.onnx").write_bytes(self.model.SerializeToString())
        images = write_images(folder / "images" / "calibration", 6, 1)
        write_images(folder / "images" / "evaluation", 4, 2)
        inner, _ = calibration_model(self.model)
        found = computed(inner, images, tuple(value.name for value in inner.graph.output))
        self.amax = {"images": 1.0, **{name: float(np.abs(array).max()) for name, array in found.items()}}  # fmt: skip
        self.scales = {name: float(np.float32(value / 127)) for name, value in self.amax.items()}

    def source(self, name: str, shared: Any, **more: Any) -> Path:
        data = {part: {"images": f"images/{part}"} for part in ("calibration", "evaluation")}
        content = quick(
            model={"onnx": "model.onnx"},
            heads={"large": {}, "small": {}},
            calibration={"algorithms": ["minmax"], "shared": shared},
            keep="outputs",
            **{"data": data, **more},
        )
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    def table(self, name: str, content: bytes | str) -> str:
        path = self.folder / "tables" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return f"tables/{name}"

    def run(self, name: str, shared: Any, **more: Any) -> "Ran":
        return Ran(self, self.source(name, shared, **more))


class Ran:
    def __init__(self, place: Place, source: Path) -> None:
        self.told = Told()
        self.outcome: Outcome = run_offline(source, place.results, told=self.told)
        self.run = Store(place.results).open_run("latest")

    @property
    def records(self) -> Mapping[str, Record]:
        return {record.pass_.name: record for record in self.run.records()}

    @property
    def warnings(self) -> str:
        return "\n".join(line for line in self.told.lines if line.startswith("warning: "))


@pytest.fixture(scope="module")
def place_(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def as_is(place_: Place) -> Ran:
    return place_.run("as-is", {"table": place_.table("as-is.cache", lines(place_.scales))})


def bits(scale: float) -> str:
    return struct.pack(">f", scale).hex()


def lines(
    scales: Scales, first: str = "TRT-8601-EntropyCalibration2", end: str = "\n", **how: Any
) -> str:
    name, text = how.get("name", str), how.get("text", bits)
    return end.join([first, *(f"{name(one)}: {text(scale)}" for one, scale in scales.items()), ""])  # fmt: skip


def times(factor: float) -> Callable[[Scales], str]:
    return lambda scales: lines({name: factor * scale for name, scale in scales.items()})


def node_of(tensor: str) -> str:
    """Returns what TensorFlow would call it."""
    return {"c": "layer{}/conv:0", "r": "layer{}/relu:0"}.get(tensor[0], tensor).format(tensor[1:]) if tensor[1:].isdigit() else tensor  # fmt: skip


FORMS: Mapping[str, Callable[[Scales], str | bytes]] = {
    "other-header.cache": lambda scales: lines(scales, "TRT-8XXX-EntropyCalibration2 "),
    "crlf-bom.cache": lambda scales: "\ufeff" + lines(scales, end="\r\n"),
    "0x.cache": lambda scales: lines(scales, text=lambda one: f"0x{bits(one)}"),
    "ort-ep.txt": lambda scales: "".join(f"{name} {scale * 127!r}\n" for name, scale in scales.items()),
    "ort-ep.json": lambda scales: json.dumps({name: [-scale * 127, scale * 127] for name, scale in scales.items()}),
    "ours.json": lambda scales: to_json(from_ranges({name: 127 * scale for name, scale in scales.items()}, Provenance(algorithm="minmax"))),
    "prefixed.cache": lambda scales: lines(scales, name="yolov3/{}".format),
    "nodes.cache": lambda scales: lines(scales, name=node_of),
    "scoped-nodes.cache": lambda scales: lines(scales, name=lambda one: f"model/{node_of(one)}" if node_of(one) != one else one),
}  # fmt: skip

WRONG: Mapping[str, tuple[Callable[[Scales], str], str]] = {
    "amax-for-scale.cache": (times(127), "127 times what the reference's ranges ask for"),
    "inverse.cache": (lambda scales: lines({name: 1 / scale for name, scale in scales.items()}), "1 / scale"),
    "little-endian.cache": (lambda scales: lines(scales, text=lambda one: struct.pack("<f", one).hex()), "stand in reverse"),
    "unsigned.cache": (times(127 / 255), "divided by 255, as for unsigned numbers"),
    "pixels.cache": (times(255), "pixels of 0 to 255"),
    "other-network.cache": (lambda scales: lines(dict(zip(scales, np.random.default_rng(1).permutation(list(scales.values())).tolist(), strict=True))), "another network's"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_the_same_table_and_measured_once(
    place_: Place, as_is: Ran, name: str
) -> None:
    scales = {**place_.scales}
    ran = place_.run(name, {"table": place_.table(name, FORMS[name](scales))})
    record, other = ran.records["int8-shared-file"], as_is.records["int8-shared-file"]
    assert (record.status, other.status) == (Status.OK, Status.OK)
    assert record.measurements[0].table == other.measurements[0].table
    assert record.reused == 1
    assert "not used" not in ran.warnings


def test_the_run_says_which_file_it_was(place_: Place, as_is: Ran) -> None:
    record = as_is.records["int8-shared-file"]
    digest = record.measurements[0].table
    assert digest is not None
    manifest = as_is.run.manifest()
    facts = manifest.facts["shared_table"]
    assert facts["form"] == "TensorRT's calibration cache"
    assert facts["maker"] == "TRT-8601-EntropyCalibration2"
    assert facts["file"] == "tables/as-is.cache"
    told = manifest.tables[digest]
    assert told["algorithm"] == "file"
    assert facts["sha256"] in told["note"]
    table = from_json((as_is.run.folder / "tables" / f"{digest[:12]}.json").read_text())
    assert {name: np.float32(table.scale(name)) for name in table.amax} == {
        name: np.float32(scale) for name, scale in place_.scales.items()
    }
    assert "as-is.cache" in (as_is.run.folder / "report.html").read_text()
    assert set(as_is.records) == {"fp32", "int8-shared-file", "int8-own-minmax"}


def test_its_ranges_are_those_that_the_engine_ran_with(place_: Place, as_is: Ran) -> None:
    """The largest magnitudes of the calibration images are the own minmax table."""
    shared, own = as_is.records["int8-shared-file"], as_is.records["int8-own-minmax"]
    store = as_is.run.store
    for head in ("large", "small"):
        y, r = (store.array(record.measurements[0].outputs[head]) for record in (shared, own))
        assert np.abs(y - r).max() <= 0.05 * np.abs(r).max()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_one_is_named_and_costs_its_cells_alone(
    place_: Place, as_is: Ran, name: str
) -> None:
    write, said = WRONG[name]
    ran = place_.run(name, {"table": place_.table(name, write(place_.scales))})
    record = ran.records["int8-shared-file"]
    assert record.status is Status.UNAVAILABLE
    assert said in (record.reason or "")
    assert f"tables/{name}" in (record.reason or "")
    assert record.measurements == ()
    assert said in ran.warnings
    for other in ("fp32", "int8-own-minmax"):
        assert ran.records[other].status is Status.OK
        assert ran.records[other].measurements[0].outputs == as_is.records[other].measurements[0].outputs  # fmt: skip
    assert not any("infer" in stage and "int8-shared-file" in stage for stage in ran.told.stages)
    assert ran.told.steps == ran.told.expected


def test_a_notable_factor_is_a_warning_and_the_table_is_used(place_: Place) -> None:
    ran = place_.run("brighter", {"table": place_.table("brighter.cache", times(2)(place_.scales))})
    assert ran.records["int8-shared-file"].status is Status.OK
    assert "2 times what the reference's ranges ask for" in ran.warnings


def test_odd_calibration_images_of_matrix_yaml_do_not_make_a_right_table_wrong(
    tmp_path: Path,
) -> None:
    made = Place(tmp_path)
    dark = tmp_path / "images" / "dark"
    dark.mkdir()
    for path in sorted((tmp_path / "images" / "calibration").iterdir()):
        pixels = (np.asarray(Image.open(path)) > 127).astype(np.uint8)
        Image.fromarray(pixels).save(dark / path.name)
    data = {"calibration": {"images": "images/dark"}, "evaluation": {"images": "images/evaluation"}}
    ran = made.run("dark", {"table": made.table("a.cache", lines(made.scales))}, data=data)
    assert ran.records["int8-shared-file"].status is Status.OK


def test_a_table_of_half_the_network_runs_and_says_what_it_lacks(place_: Place) -> None:
    half = {name: scale for index, (name, scale) in enumerate(place_.scales.items()) if index % 2 or name == "images"}  # fmt: skip
    half["larqe"] = place_.scales["large"]
    half.pop("large", None)
    ran = place_.run("half", {"table": place_.table("half.cache", lines(half))})
    assert ran.records["int8-shared-file"].status is Status.OK
    assert "less than 90%" in ran.warnings
    assert "'larqe' may be 'large'" in ran.warnings
    assert "names: {theirs: ours}" in ran.warnings


def test_a_map_of_names_is_followed_and_its_slips_are_told(place_: Place, as_is: Ran) -> None:
    other = {name: f"blob_{index}" for index, name in enumerate(place_.scales)}
    file = place_.table("blobs.cache", lines(place_.scales, name=other.__getitem__))
    names = {theirs: ours for ours, theirs in other.items()} | {"blob_x": "c1x"}
    ran = place_.run("blobs", {"table": file, "names": names})
    record = ran.records["int8-shared-file"]
    assert record.measurements[0].table == as_is.records["int8-shared-file"].measurements[0].table
    assert "`names` has 'blob_x', which the table does not" in ran.warnings


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("folder", "Is a directory"),
        (b"", "it is empty"),
        (b"ftrt\x00\xff" * 500, "is it an engine, or a timing cache?"),
        ("{" + '"a": [0, 1', "was it cut?"),
        (b"x: 1\n" * 7_000_000, "no calibration table is so large"),
        ("TRT-8601-EntropyCalibration2\nblob0: 3c010a14\nblob1: 3c010a14\n", "names none of the network's"),
        ("TRT-8601-EntropyCalibration2\nimages: 0\nc1: 7f800000\n", "no range that can be one"),
        (network().SerializeToString(), "it is a float network"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_this_network_ends_before_anything_runs(
    tmp_path: Path, content: bytes | str | None, said: str
) -> None:
    made = Place(tmp_path)
    if content == "folder":
        (tmp_path / "t.cache").mkdir()
    elif content is not None:
        (tmp_path / "t.cache").write_bytes(content if isinstance(content, bytes) else content.encode())  # fmt: skip
    source = made.source("bad", {"table": "t.cache"})
    with pytest.raises(ConfigError) as caught:
        session.plan_experiment(source, made.results, select=[])
    told = " ".join(str(caught.value).split())
    assert said in told
    assert "calibration.shared.table" in told
    assert "t.cache" in told
    assert caught.value.exit_code is ExitCode.BAD_CONFIG


def test_a_network_with_qdq_is_a_table(place_: Place, as_is: Ran) -> None:
    table = from_ranges({name: 127 * scale for name, scale in place_.scales.items()}, Provenance(algorithm="x"))  # fmt: skip
    placed = place(place_.model, table, TENSORRT)
    ran = place_.run("qdq", {"table": place_.table("qdq.onnx", placed.model.SerializeToString())})
    record = ran.records["int8-shared-file"]
    assert record.status is Status.OK
    assert ran.run.manifest().facts["shared_table"]["form"] == "the scales of a quantised network"
    y, r = (
        as_is.run.store.array(one.records["int8-shared-file"].measurements[0].outputs["small"])
        for one in (ran, as_is)
    )
    assert np.abs(y - r).max() <= 0.05 * np.abs(r).max()


def test_plan_knows_what_was_measured_with_the_same_content(place_: Place, as_is: Ran) -> None:
    assert as_is.records["int8-shared-file"].status is Status.OK
    source = place_.source("again", {"table": place_.table("moved.cache", lines(place_.scales))})
    planned = session.plan_experiment(source, place_.results, select=[])
    assert planned.known["here/cpu/int8-shared-file"] == 1
    spoilt = dict(place_.scales, c3=place_.scales["c3"] * 1.25)
    source = place_.source("other", {"table": place_.table("moved.cache", lines(spoilt))})
    planned = session.plan_experiment(source, place_.results, select=[])
    assert "here/cpu/int8-shared-file" not in planned.known


def test_tickets_and_packs_have_the_table_with_them(place_: Place, tmp_path: Path) -> None:
    file = place_.table("gone.cache", lines(dict(place_.scales, c3=place_.scales["c3"] * 1.5)))
    ran = place_.run("gone", {"table": file})
    digest = ran.records["int8-shared-file"].measurements[0].table
    assert digest is not None
    packed = pack(
        place_.source("packed", {"table": file}),
        tmp_path / "elsewhere",
        tmp_path / "pack.tar",
        select=["here/*"],
        progress=Told(),
    )
    assert packed.requests
    (place_.folder / file).unlink()
    target = tmp_path / "ticket.zip"
    make("latest", place_.results, target, TicketWish(images=2))
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
        (table,) = (name for name in names if name.endswith(f"tables/{digest[:12]}.json"))
        assert from_json(archive.read(table).decode()).digest == digest
    assert make("latest", place_.results, tmp_path / "w.zip", TicketWish(no_weights=True, images=2))


@pytest.mark.parametrize(("spoil", "table"), [(1.0, True), (127.0, False)])
def test_recorded_outputs_of_a_shared_table_are_never_lost_for_it(
    tmp_path: Path, spoil: float, table: bool
) -> None:
    recording = Recording(tmp_path)
    file = recording.cache(factor=spoil)
    recording.version("app", "8.6.1", 2, fp32=exactly, int8_implicit_shared_file=noisy(0.02))
    outcome = recording.run(
        calibration={"algorithms": ["minmax"], "shared": {"table": str(file.relative_to(tmp_path))}}
    )
    (cell_result,) = (result for result in outcome.judgement.cells if result.cell.pass_.source is TableSource.SHARED)  # fmt: skip
    assert cell_result.cell.pass_.name == "int8-implicit-shared-file"
    assert (cell_result.status, cell_result.reason) == (Status.OK, None)
    assert cell_result.run is not None
    assert (cell_result.run.table is not None) == table
    assert [head.error is not None for head in cell_result.heads] == [True, True]
    assert [head.budget is not None for head in cell_result.heads] == [table, table]


def test_every_engine_gets_it_under_its_own_pass(tmp_path: Path) -> None:
    made = Place(tmp_path)
    source = made.source(
        "both",
        {"table": made.table("a.cache", lines(made.scales))},
        devices=["cpu", "gpu:*"],
        environments=[
            {"interpreter": sys.executable, "name": "here"},
            {"elsewhere": ["t4"], "engine": "tensorrt"},
        ],
    )
    planned = session.plan_experiment(source, made.results, select=[])
    names = {(cell.environment, cell.pass_.name) for cell in planned.cells}
    assert {("here", "int8-shared-file"), ("t4", "int8-shared-file"), ("t4", "int8-implicit-shared-file")} <= names  # fmt: skip
    assert ("here", "int8-implicit-shared-file") not in names


def test_a_quantised_network_keeps_its_own_scales(tmp_path: Path) -> None:
    made = Place(tmp_path)
    table = from_ranges({name: 127 * scale for name, scale in made.scales.items()}, Provenance(algorithm="x"))  # fmt: skip
    (tmp_path / "model.onnx").write_bytes(place(made.model, table).model.SerializeToString())
    ran = made.run("own", {"table": made.table("a.cache", times(127)(made.scales))})
    assert set(ran.records) == {"fp32", "int8-shipped"}
    assert "shared_table" not in ran.run.manifest().facts
    assert all(record.status is Status.OK for record in ran.records.values())


def test_nothing_is_calibrated_for_a_table_that_no_cell_needs(tmp_path: Path) -> None:
    made = Place(tmp_path)
    file = made.table("a.cache", times(127)(made.scales))
    told = Told()
    source = made.source("fp32", {"table": file})
    run_offline(source, made.results, select=["*/fp32"], told=told)
    assert not any("calibrate" in line for line in told.lines)
    assert not any("warning" in line for line in told.lines)
