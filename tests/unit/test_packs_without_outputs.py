"""Outputs that stay where they were made: nothing but the arrays may be lost by it, and no lie may pass unseen."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.archives import Change, files_of, resealed, unpack, with_values
from tests.unit.matrices import run_offline
from tests.unit.test_kept_outputs import MATRIX, judgement, matrix
from tests.unit.trips import Trip
from trt_matrix.commands import session
from trt_matrix.containers.job import settle
from trt_matrix.containers.job.reductions import SUMS
from trt_matrix.core.metrics import Sums
from trt_matrix.errors import NothingSelectedError, StoreError
from trt_matrix.execution.left import alike
from trt_matrix.judging.run import judge_again
from trt_matrix.packs.merging import merge

PLACES = [{"interpreter": sys.executable, "name": name} for name in ("here", "lab")]

CELL = "lab/cpu/int8-shared-minmax"


class Photographs(Trip):
    """The demo's network on three of its photographs, two repeats; `here` is measured before anything is packed."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.matrix = matrix(folder, environments=PLACES, repeats=2, **changes)
        self.results = folder / "results"
        self.lab = folder / "lab"
        self.packs = 0

    def take(self, archive: Path, results: Path) -> Any:
        """Merges an archive into some results, and runs all that is known there; returns the judgement."""
        if results != self.results:
            shutil.copytree(
                self.results / ".store/packs", results / ".store/packs", dirs_exist_ok=True
            )
        merge(archive, results)
        run_offline(self.matrix, results)
        return judgement(results)


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    photographs = Photographs(tmp_path_factory.mktemp("photographs"))
    photographs.rows("here/*")
    return photographs


@pytest.fixture(scope="module")
def both(trip: Photographs) -> tuple[Path, Path]:
    """Two archives of the same jobs: without outputs, and with all of them."""
    trip.carry(trip.pack())
    without = Path(shutil.copy(trip.answers, trip.lab.parent / "without.tar"))
    said = trip.run("--outputs")
    assert "stay here" not in said
    return without, Path(shutil.copy(trip.answers, trip.lab.parent / "with.tar"))


def manifest(archive: Path) -> Any:
    return json.loads(files_of(archive)["results.json"])


def stored(results: Path, cell: str, repeat: int = 0) -> tuple[Any, list[bool]]:
    """Returns the record of a measurement, and whether the array of each head is here."""
    record = json.loads((results / f"latest/records/{cell}.json").read_text())
    one = record["measurements"][repeat]
    files = [
        results / ".store/objects" / f"{output['sha256']}.npy" for output in one["outputs"].values()
    ]
    return one, [file.exists() for file in files]


def test_judged_without_outputs_all_is_as_with_them(
    trip: Photographs, both: tuple[Path, Path], tmp_path: Path
) -> None:
    without, whole = both
    outputs = [one for one in files_of(without) if one.endswith(".npy")]
    assert outputs
    assert all("@repeat-0/" in output and "/fp32/" in output for output in outputs), (
        "what others need"
    )
    left = sum(one["size_bytes"] for one in manifest(without)["left"].values())
    instead = sum(len(one) for name, one in files_of(without).items() if name.endswith(".bin"))
    assert not [one for one in files_of(whole) if one.endswith(".bin")]
    assert instead * 10 < left, "few cells of a photograph hold a digit"
    with_all = tmp_path / "with"
    shutil.copytree(trip.results, with_all, symlinks=True)
    told = merge(without, trip.results).text()
    assert "MB of outputs stayed there" in told
    first = trip.take(without, trip.results), trip.take(whole, with_all)
    assert first[0] == first[1]
    assert first[0]["judgement"]["boxes"]["precision"], "boxes are judged, too"
    for repeat in (0, 1):
        one, here = stored(trip.results, CELL, repeat)
        assert (one["left"], set(here)) == (True, {False})
        assert stored(with_all, CELL, repeat)[0]["left"] is False
        assert stored(with_all, CELL, repeat)[0]["outputs"] == one["outputs"]
    one, here = stored(trip.results, "lab/cpu/fp32")
    assert (one["left"], set(here)) == (False, {True})

    # Own tables go out with a second pack, their own fp32 with them: it is not measured there again.
    trip.carry(trip.pack())
    without = Path(shutil.copy(trip.answers, tmp_path / "second.tar"))
    trip.run("--outputs")
    second = trip.take(without, trip.results), trip.take(trip.answers, with_all)
    assert second[0] == second[1]
    own = [
        head
        for cell in second[0]["judgement"]["cells"]
        if (cell["cell"]["environment"], cell["cell"]["pass_"].get("source")) == ("lab", "own")
        for head in cell["heads"]
    ]
    assert len(own) == 3
    assert all(head["against_fp32"]["sqnr_db"] for head in own)
    assert stored(trip.results, "lab/cpu/int8-own-minmax")[0]["left"]

    # Judged again, run again, packed again: all of it is known.
    judge_again("latest", trip.results)
    assert judgement(trip.results) == second[0]
    with pytest.raises(NothingSelectedError, match="nothing to pack"):
        trip.pack()


def test_whoever_asks_for_outputs_gets_them(tmp_path: Path) -> None:
    trip = Photographs(tmp_path, keep="outputs", data=few(1))
    trip.carry(trip.pack())
    assert manifest(trip.answers)["left"] == {}
    # A function of one's own may look at everything.
    (tmp_path / "mine.py").write_text(DECODER)
    heads: dict[str, Any] = {"large": {}, "medium": {}, "small": {}}
    mine = Photographs(tmp_path, data=few(1), heads=heads, decode={"entry_point": "mine:decode"})
    mine.carry(mine.pack())
    assert manifest(mine.answers)["left"] == {}


DECODER = """
import numpy as np

def decode(outputs):
    return np.zeros((0, 6))
"""


def few(images: int) -> dict[str, Any]:
    data = dict(MATRIX["data"])
    return data | {"evaluation": data["evaluation"] | {"limit": images}}


def test_where_boxes_are_asked_for_anew_it_is_packed_again(
    trip: Photographs, both: tuple[Path, Path], tmp_path: Path
) -> None:
    """What came holds the boxes of one threshold, against one reference."""
    results = tmp_path / "results"
    shutil.copytree(trip.results, results, symlinks=True)
    merge(both[0], results)
    looser = {**MATRIX["decode"], "score_threshold": 0.005}
    path = matrix(tmp_path, environments=PLACES, repeats=2, decode=looser)
    planned = session.plan_experiment(path, results, select=["lab/*"])
    assert "lab/cpu/int8-shared-minmax" not in planned.known
    run_offline(path, results, select=["lab/cpu/*shared*"])
    record = json.loads((results / f"latest/records/{CELL}.json").read_text())
    assert record["status"] == "unavailable"
    assert "of other settings of boxes: `trt-matrix pack` again" in record["reason"]


# Whoever means harm


def sums(change: Callable[[Sums], None]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        found = np.frombuffer(content, settle.SUMS).astype(SUMS)
        change(found)
        return bytes(found.astype(settle.SUMS).tobytes())

    return changed


def halved(found: Sums) -> None:
    found["d2"] *= 0.5


def perfect(found: Sums) -> None:
    """What the reference itself would give: no sum contradicts another."""
    found["y2"] = found["ry"] = found["r2"]
    for name in ("d2", "d1", "dmax", "over"):
        found[name] = 0


def twice(found: Sums) -> None:
    """Consistent, of a reference twice as large."""
    for name in ("d2", "r2", "y2", "ry"):
        found[name] *= 4
    found["d1"] *= 2
    found["dmax"] *= 2


def without_a_number(found: Sums) -> None:
    found["y2"] = np.nan


def fewer(found: Sums) -> None:
    found["n"] -= 1


def as_the_reference(trip: Photographs) -> Callable[[Any], None]:
    manifest_ = json.loads((trip.results / "latest/manifest.json").read_text())
    reference = {
        head: output["sha256"] for head, output in manifest_["reference"]["outputs"].items()
    }

    def change(found: Any) -> None:
        for name, one in found["left"].items():
            if "int8" in name:
                one["sha256"] = reference[Path(name).stem]

    return change


SHARED = "int8-shared-minmax/"

LIES: dict[str, tuple[dict[str, Change], str]] = {
    "half the error": (
        {SHARED + "sums-0.bin": sums(halved)},
        "its error is not that of its energy and its product with the reference",
    ),
    "no error at all": (
        {SHARED + "sums-2.bin": sums(perfect)},
        "differs more where boxes are than its sums say",
    ),
    "another reference": (
        {SHARED + "sums-1.bin": sums(twice)},
        "it was compared with another reference",
    ),
    "no number": ({SHARED + "sums-0.bin": sums(without_a_number)}, "a sum is not finite"),
    "fewer elements": (
        {SHARED + "sums-0.bin": sums(fewer)},
        "it counts more or fewer elements than there are",
    ),
    "boxes left out": (
        {
            SHARED + "mask-2.bin": lambda content: b"\0" * len(content),
            SHARED + "rows-2.bin": lambda _: b"",
        },
        "other positions came than can hold a box",
    ),
    "cut short": ({SHARED + "sums-0.bin": lambda content: content[:-1]}, "bytes where"),
    "too long": ({SHARED + "mask-0.bin": lambda content: content + b"x"}, "more than"),
    "constant": (
        {
            SHARED + "settled.json": with_values(
                flat={"large": "constant", "medium": None, "small": None}
            )
        },
        "it is constant, and has another energy in another image",
    ),
    "nothing told": ({SHARED + "settled.json": with_values(flat={})}, "nothing is told of it"),
    "nested": ({SHARED + "settled.json": lambda _: b"[" * 100_000}, "settled.json is not valid"),
}  # fmt: skip


def tried(trip: Photographs, archive: Path, results: Path) -> dict[str, Any]:
    """Merges and runs; returns the record of the shared int8."""
    merge(archive, results)
    run_offline(trip.matrix, results, select=["lab/cpu/fp32", CELL])
    found: dict[str, Any] = json.loads((results / f"latest/records/{CELL}.json").read_text())
    return found


@pytest.fixture(scope="module")
def before(
    both: tuple[Path, Path], trip: Photographs, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Results that know the pack, and nothing of what came back."""
    folder = tmp_path_factory.mktemp("before")
    fresh = Photographs(folder)
    fresh.rows("here/*")
    shutil.copytree(trip.results / ".store/packs", folder / "results/.store/packs")
    return folder / "results"


@pytest.fixture
def results(before: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(before, tmp_path / "results", symlinks=True))


@pytest.mark.parametrize("lie", LIES)
def test_what_cannot_be_true_is_told_and_judges_nothing(
    trip: Photographs, both: tuple[Path, Path], results: Path, tmp_path: Path, lie: str
) -> None:
    changes, words = LIES[lie]
    found = tried(trip, resealed(both[0], tmp_path / "r.tar", changes), results)
    assert found["status"] == "crashed"
    assert words in found["reason"]
    other = json.loads((results / "latest/records/lab/cpu/fp32.json").read_text())
    assert other["status"] == "ok", "and spoils nothing else"


def test_a_hash_of_the_reference_beside_other_sums_is_a_lie(
    trip: Photographs, both: tuple[Path, Path], results: Path, tmp_path: Path
) -> None:
    archive = resealed(both[0], tmp_path / "r.tar", {}, as_the_reference(trip))
    found = tried(trip, archive, results)
    assert found["status"] == "crashed"
    assert "it is the reference by its hash, and differs by its sums" in found["reason"]


def test_left_files_that_the_archive_brings_itself_are_not_taken(
    trip: Photographs, both: tuple[Path, Path], results: Path, tmp_path: Path
) -> None:
    """Who brings outputs is judged by them."""

    def add(found: Any) -> None:
        folder = next(file.rpartition("/")[0] for file in found["files"] if SHARED in file)
        found["added"] = {f"{folder}/left.json": b'{"settle": {}, "files": {}, "own": {}}'}

    found = tried(trip, resealed(both[1], tmp_path / "r.tar", {}, add), results)
    assert found["status"] == "ok"
    assert not any(measurement["left"] for measurement in found["measurements"])


def both_ways(found: Any) -> None:
    found["left"] |= {
        name: {"sha256": "0" * 64, "size_bytes": 1} for name in list(found["files"])[:1]
    }


def nowhere(found: Any) -> None:
    found["left"] |= {"never-asked/start-1/x.npy": {"sha256": "0" * 64, "size_bytes": 1}}


def no_hash(found: Any) -> None:
    found["left"] |= {"a": {"sha256": "../../x", "size_bytes": 1}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (both_ways, "changed on the way"),
        (nowhere, "which that pack never asked"),
        (no_hash, "results.json is missing or damaged"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    both: tuple[Path, Path],
    results: Path,
    tmp_path: Path,
    change: Callable[[Any], None],
    words: str,
) -> None:
    with pytest.raises(StoreError, match=words):
        merge(resealed(both[0], tmp_path / "r.tar", {}, change), results)
    assert not (results / ".store/merged").exists()


OTHER = {"epsilon": 1e-3, "reference": {}, "own": None, "gates": []}


@pytest.mark.parametrize("settings", [7, {"own": 7}, {"own": {"a": 7}}, OTHER])
def test_a_request_that_asks_for_nothing_known_is_no_answer(
    trip: Photographs, both: tuple[Path, Path], results: Path, tmp_path: Path, settings: object
) -> None:
    archive = resealed(
        both[0], tmp_path / "r.tar", {"request/request.json": with_values(settle=settings)}
    )
    if settings is OTHER:
        assert tried(trip, archive, results)["status"] == "unavailable"
        return
    with pytest.raises(StoreError, match="is no request"):
        merge(archive, results)


def test_sums_of_another_blas_are_the_same_story(both: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    unpack(both[0], folder)
    path = next(folder.rglob(f"{SHARED}sums-0.bin"))
    one = np.frombuffer(path.read_bytes(), settle.SUMS).astype(SUMS)
    other = one.copy()
    for name in ("d2", "d1", "r2", "y2", "ry"):
        other[name] *= 1 + 1e-6
    assert alike(one, other)
    other["d2"] *= 1.01
    assert not alike(one, other)
    assert not alike(one, one[:-1])
