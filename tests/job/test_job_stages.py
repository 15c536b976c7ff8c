"""The parts of the job around the engine, in process: calibration, inference, timing, files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from job import arrays, calibrate, comparison, passes, protocol, timing
from job.stages import Stages

Outputs = dict[str, np.ndarray]
Script = Callable[[int], Outputs]


class ScriptedSession:
    """Answers each call with what `script` makes of the image's number."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls = 0

    def run(self, inputs: Outputs, outputs: list[str]) -> list[np.ndarray]:
        made = self.script(self.calls)
        self.calls += 1
        return [made[name] for name in outputs]


def row(*shape: int, value: float = 1.0) -> np.ndarray:
    return np.full(shape, value, np.float32)


IMAGES = np.arange(3 * 4, dtype=np.float32).reshape(3, 4)


def infer(script: Script, heads: list[list[str]], folder: Path) -> dict[str, Any]:
    return passes.infer(ScriptedSession(script), "image", IMAGES, heads, folder)


def test_outputs_are_stored_over_all_images(tmp_path: Path) -> None:
    def script(number: int) -> Outputs:
        return {"a": row(1, 2, 3, value=number), "b": row(5, value=-number), "c": row(1, value=7)}

    outputs = infer(script, [["A", "a"], ["B", "b"], ["C", "c"]], tmp_path)
    assert outputs == {
        "A": {"file": "A.npy", "shape": [3, 2, 3]},
        "B": {"file": "B.npy", "shape": [3, 5]},
        "C": {"file": "C.npy", "shape": [3, 1]},
    }
    for head, sign in (("A", 1), ("B", -1)):
        stored = np.load(tmp_path / f"{head}.npy")
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(stored.reshape(3, -1)[:, 0], sign * np.arange(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.npy", "B.npy", "C.npy"]


def test_float16_outputs_become_float32(tmp_path: Path) -> None:
    infer(lambda _: {"a": np.full((1, 2), 0.5, np.float16)}, [["A", "a"]], tmp_path)
    stored = np.load(tmp_path / "A.npy")
    assert stored.dtype == np.float32
    assert (stored == 0.5).all()


@pytest.mark.parametrize("head", ["../x", "a/b", "", ".", "größe", "-", "a\nb", "x" * 300, "nul\0"])
def test_no_head_name_leaves_the_folder(tmp_path: Path, head: str) -> None:
    outputs = infer(lambda _: {"a": row(1, 2), "b": row(1, 2)}, [["A", "a"], [head, "b"]], tmp_path)
    assert outputs[head]["file"] == "head-1.npy"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.npy", "head-1.npy"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (lambda number: {"a": row(1, 2 + number)}, "shape .3,. after .2,.*depends on the image"),
        (lambda _: {"a": np.ones((1, 2), np.int64)}, "head A is int64, expected floating point"),
    ],
)
def test_unusable_outputs_leave_no_file(tmp_path: Path, script: Script, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer(script, [["A", "a"]], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_writer_wants_exactly_the_announced_images(tmp_path: Path) -> None:
    writer = arrays.ArrayWriter(str(tmp_path / "x.npy"), 2, (3,))
    writer.append(row(3))
    with pytest.raises(ValueError, match="1 images are missing"):
        writer.close()
    assert not (tmp_path / "x.npy").exists()
    writer.append(row(3))
    with pytest.raises(ValueError, match="more images than announced"):
        writer.append(row(3))
    writer.close()
    writer.discard()
    assert np.load(tmp_path / "x.npy").shape == (2, 3)


@pytest.mark.parametrize(
    "content",
    [np.zeros((2, 3)), np.zeros(3, "f4"), np.zeros((0, 3), "f4"), np.zeros((2, 3), ">f4")],
)
def test_images_of_another_kind_are_refused(tmp_path: Path, content: np.ndarray) -> None:
    np.save(tmp_path / "images.npy", content)
    with pytest.raises(ValueError, match="expected float32"):
        arrays.load_images(str(tmp_path / "images.npy"))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"{}", b"\x80\x04N."])
def test_what_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images.npy"
    path.write_bytes(content)
    with pytest.raises((ValueError, EOFError)):
        arrays.load_images(str(path))


def test_calibration_sees_every_image_once_and_includes_the_input() -> None:
    shown: list[str] = []
    session = ScriptedSession(lambda number: {"t": row(1, 5, value=number - 1), "z": row(1)})
    histograms = calibrate.calibrate(
        session, "image", IMAGES, ["t", "image"], ["mse", "entropy"], shown.append
    )
    assert session.calls == 3
    assert shown == ["0/3", "1/3", "2/3"]
    assert [(histogram.tensor, histogram.amax) for histogram in histograms] == [
        ("t", 1.0),
        ("image", 11.0),
    ]
    for one, wanted in zip(histograms, (15, 12), strict=True):
        assert one.order_free.counts.sum() == one.doubling.counts.sum() == wanted


def test_calibration_reports_tensors_without_a_range() -> None:
    session = ScriptedSession(lambda _: {"t": row(1, value=2), "z": row(4, value=0)})
    histograms = calibrate.calibrate(session, "image", IMAGES, ["t", "z"], ["mse"], lambda _: None)
    algorithms = [{"name": "minmax", "options": None}, {"name": "mse"}]
    answer = calibrate.tables(histograms, algorithms)
    made = answer["algorithms"]
    assert made["minmax"] == {"t": 2.0}
    assert made["mse"].keys() == {"t"}
    assert answer["unusable"] == {"z": "zero in every image"}
    assert answer["seen"] == {"t": 2.0, "z": 0.0}
    assert answer["clipped"]["minmax"] == {"t": 0.0}
    assert answer["clipped"].keys() == made.keys()


def test_calibration_stops_at_a_tensor_that_is_not_finite() -> None:
    session = ScriptedSession(lambda number: {"t": row(2, value=np.nan if number == 1 else 0)})
    with pytest.raises(ValueError, match="'t' holds NaN"):
        calibrate.calibrate(session, "image", IMAGES, ["t"], ["mse"], lambda _: None)


class Clock:
    """Advances by the next of `durations` with each call that is timed, then by the last."""

    def __init__(self, durations: list[float]) -> None:
        self.now = 0.0
        self.durations = iter(durations[:-1])
        self.last = durations[-1]

    def call(self) -> None:
        self.now += next(self.durations, self.last)

    def __call__(self) -> float:
        return self.now


def measure(clock: Clock, **limits: float) -> dict[str, Any]:
    given = {"min_samples": 3, "max_samples": 100, "max_s": 1.0, "warm_up_max_s": 100.0, **limits}
    return timing.measure(clock.call, clock=clock, **given)


def test_warm_up_ends_when_two_windows_agree() -> None:
    slow = [1.0] * 5 + [0.5] * 5 + [0.25] * 5
    found = measure(Clock([*slow, 0.25]))
    assert found["warm_up"] == 20
    assert found["stable"]
    assert set(found["samples_s"]) == {0.25}


def test_warm_up_is_bounded() -> None:
    found = measure(Clock([2.0**-k for k in range(60)]), warm_up_max_s=1.5)
    assert found["warm_up"] == 2
    assert not found["stable"]


@pytest.mark.parametrize(
    ("limits", "samples"),
    [
        ({"max_s": 1.0}, 4),  # 4 calls of 0.25 s
        ({"max_s": 0.0}, 3),  # at least min_samples
        ({"max_s": 1e9}, 100),  # at most max_samples
        ({"max_s": 1e9, "min_samples": 7, "max_samples": 7}, 7),
    ],
)
def test_number_of_samples(limits: dict[str, float], samples: int) -> None:
    assert measure(Clock([0.25]), **limits)["samples_s"] == [0.25] * samples


@pytest.mark.parametrize("limits", [{"min_samples": 0}, {"min_samples": 9, "max_samples": 8}])
def test_impossible_numbers_of_samples_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="1 <= min_samples <= max_samples"):
        measure(Clock([0.25]), **limits)


def test_stages_show_and_time_themselves(tmp_path: Path) -> None:
    stages = Stages(str(tmp_path))
    with stages.enter("infer", "int8-shared-entropy"):
        assert (tmp_path / "stage.txt").read_text() == "infer int8-shared-entropy\n"
        stages.show("3/4")
        assert (tmp_path / "stage.txt").read_text() == "infer 3/4\n"
    with pytest.raises(OSError, match="gone"), stages.enter("time"):
        raise OSError("gone")
    assert stages.current == "time"
    assert stages.seconds.keys() == {"infer", "time"}
    stages.restart()
    assert stages.seconds == {}


def test_comparison_of_files_and_its_table(tmp_path: Path) -> None:
    r = np.ones((2, 100), np.float32)
    y = r + np.float32(0.125)
    y[0, 0] = np.nan
    for name, content in (("y", y), ("r", r), ("zero", 0 * r), ("nan", np.nan * r)):
        np.save(tmp_path / f"{name}.npy", content.astype(np.float32))

    def errors(name: str, reference: str) -> dict[str, Any]:
        return comparison.compare_files(
            str(tmp_path / f"{name}.npy"), str(tmp_path / f"{reference}.npy")
        )

    found = {
        "a": errors("y", "r"),
        "long name": errors("r", "r"),
        "z": errors("r", "zero"),
        "n": errors("nan", "r"),
    }
    assert found["a"]["sqnr_db"] == pytest.approx(10 * np.log10(64), abs=1e-4)
    assert (found["a"]["mae"], found["a"]["max_abs"], found["a"]["nonfinite"]) == (0.125, 0.125, 1)
    assert found["z"]["sqnr_db"] is None
    assert (found["n"]["mae"], found["n"]["max_abs"]) == (None, None)
    assert comparison.table(["a", "long name", "z", "n"], found).splitlines() == [
        "head         SQNR dB    MAE  max |d|  non-finite",
        "a              18.06  0.125    0.125           1",
        "long name  identical      0        0           0",
        "z                  -      1        1           0",
        "n                  -      -        -         200",
    ]


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    protocol.write_json(str(path), {"ü": "a\udcff\ud800"})
    assert protocol.read_json(str(path)) == {"ü": "a\udcff\ud800"}
    for value, error in ((float("nan"), ValueError), (object(), TypeError)):
        with pytest.raises(error):
            protocol.write_json(str(path), value)
    assert protocol.read_json(str(path)) == {"ü": "a\udcff\ud800"}
    assert [one.name for one in path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "", "{", "\ufeff{}"])
def test_what_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"."):
        protocol.read_json(str(tmp_path / "x.json"))


def test_error_descriptions_survive_json(tmp_path: Path) -> None:
    try:
        raise ValueError("bad \udc80 name")
    except ValueError as error:
        described = protocol.describe_error(error)
    protocol.write_json(str(tmp_path / "x.json"), described)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == described
    assert described["type"] == "ValueError"
    assert "test_error_descriptions_survive_json" in described["traceback"]
