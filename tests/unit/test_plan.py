import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.passes import FP32, SHARED
from trt_matrix.core.cells import Cell, Pass, Precision, Status
from trt_matrix.core.plan import Axis, expand, passes, recordable, select, without_device

NO_DRIVER = (Status.UNAVAILABLE, "no NVIDIA driver")
INT8 = SHARED


def axis(name: str, *kinds: str, obstacle: tuple[Status, str] | None = None) -> Axis:
    return Axis(
        environment=name,
        devices=frozenset(kinds),
        precisions=frozenset({Precision.FP32, Precision.INT8}),
        obstacle=lambda device: None if device == "cpu" else obstacle,
    )


def ids(cells: tuple[Cell, ...]) -> list[str]:
    return [cell.id for cell in cells]


def test_int8_runs_once_with_every_table() -> None:
    found = passes([Precision.FP32, Precision.INT8], ["entropy", "minmax"], "entropy", ["entropy2"])
    assert [pass_.name for pass_ in found] == [
        "fp32", "int8-shared-entropy", "int8-own-entropy", "int8-own-minmax",
        "int8-implicit-shared-entropy", "int8-implicit-own-entropy2",
    ]  # fmt: skip


def test_own_tables_are_made_by_the_job_or_by_tensorrt() -> None:
    found = passes([Precision.FP32, Precision.INT8], ["minmax"], "entropy", ["minmax"])
    ort = axis("ort", "cpu")
    trt = dataclasses.replace(axis("trt", "cpu"), implicit=True)
    assert ids(expand([ort, trt], ["cpu"], found)) == [
        "ort/cpu/fp32", "ort/cpu/int8-shared-entropy", "ort/cpu/int8-own-minmax",
        "trt/cpu/fp32", "trt/cpu/int8-shared-entropy", "trt/cpu/int8-implicit-shared-entropy",
        "trt/cpu/int8-implicit-own-minmax",
    ]  # fmt: skip


def test_no_shared_table_no_shared_pass() -> None:
    assert [pass_.name for pass_ in passes([Precision.INT8], ["mse"], None)] == ["int8-own-mse"]


def test_a_precision_without_tables_is_one_pass() -> None:
    found = passes([Precision.TF32, Precision.FP16], ["entropy"], "entropy")
    assert [pass_.name for pass_ in found] == ["tf32", "fp16"]


def test_cells_come_in_the_order_of_the_file() -> None:
    cells = expand([axis("b", "cpu"), axis("a", "cpu")], ["cpu"], [FP32, INT8])
    assert ids(cells) == [
        "b/cpu/fp32", "b/cpu/int8-shared-entropy", "a/cpu/fp32", "a/cpu/int8-shared-entropy",
    ]  # fmt: skip


def test_an_environment_is_crossed_with_the_devices_that_it_can_use() -> None:
    axes = [axis("ort", "cpu"), axis("ngc", "gpu"), axis("both", "cpu", "gpu")]
    assert ids(expand(axes, ["cpu", "gpu:*"], [FP32])) == [
        "ort/cpu/fp32", "ngc/gpu:*/fp32", "both/cpu/fp32", "both/gpu:*/fp32",
    ]  # fmt: skip


@pytest.mark.parametrize("device", ["gpu:*", "gpu:0", "gpu:A10", "GPU-1234"])
def test_a_gpu_however_named_is_none_for_an_engine_on_the_cpu(device: str) -> None:
    assert expand([axis("ort", "cpu")], [device], [FP32]) == ()
    assert ids(expand([axis("ngc", "gpu")], [device], [FP32])) == [f"ngc/{device}/fp32"]


def test_a_cell_that_cannot_run_stays_with_its_reason() -> None:
    cells = expand([axis("a", "cpu", "gpu", obstacle=NO_DRIVER)], ["cpu", "gpu:*"], [FP32])
    assert {cell.id: cell.obstacle for cell in cells} == {
        "a/cpu/fp32": None,
        "a/gpu:*/fp32": NO_DRIVER,
    }


def test_a_precision_that_the_engine_lacks_is_unsupported() -> None:
    fp16 = Pass(precision=Precision.FP16)
    unsupported, fine = expand([axis("a", "cpu")], ["cpu"], [fp16, FP32])
    assert unsupported.obstacle == (
        Status.UNSUPPORTED,
        "this engine offers fp32, int8, not fp16: on a CPU it would compute in fp32 between conversions, "
        "which measures nothing",
    )
    assert fine.obstacle is None


def test_bf16_is_recorded_and_asked_of_those_that_have_it() -> None:
    bf16 = Pass(precision=Precision.BF16)
    (cell,) = expand([axis("a", "gpu")], ["gpu:*"], [bf16])
    assert cell.obstacle == (Status.UNSUPPORTED, "this engine offers fp32, int8, not bf16")
    has_it = dataclasses.replace(axis("a", "gpu"), precisions=frozenset({Precision.BF16}))
    (cell,) = expand([has_it], ["gpu:*"], [bf16])
    assert cell.obstacle is None
    assert "bf16" in recordable("tensorrt", None, ())


def test_unsupported_is_told_before_unavailable() -> None:
    # What no machine could do says more than what this one lacks.
    fp16 = Pass(precision=Precision.FP16)
    (cell,) = expand([axis("a", "gpu", obstacle=NO_DRIVER)], ["gpu:*"], [fp16])
    assert cell.obstacle is not None
    assert cell.obstacle[0] is Status.UNSUPPORTED


def test_an_obstacle_is_asked_for_once_a_device() -> None:
    asked = []

    def obstacle(device: str) -> None:
        asked.append(device)

    one = Axis(
        environment="a",
        devices=frozenset({"cpu", "gpu"}),
        precisions=frozenset(Precision),
        obstacle=obstacle,
    )
    expand([one], ["cpu", "gpu:0"], [FP32, INT8])
    assert asked == ["cpu", "gpu:0"]


CELLS = expand(
    [axis("ort-1.26.0", "cpu"), axis("ort-1.32.0", "cpu"), axis("ngc-19.09-py3", "gpu")],
    ["cpu", "gpu:*"],
    [FP32, INT8],
)


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        ([], 6),
        (["*"], 6),
        (["ort-1.26*"], 2),
        (["*/fp32"], 3),
        (["ort-*/cpu/int8-*"], 2),
        (["ort-1.26.0/cpu/fp32"], 1),
        (["ngc-*"], 2),
        (["*/gpu:[*]/*"], 2),
        (["ort-1.26*", "*/fp32"], 4),
        (["ORT-*"], 0),
        (["ort-1.26.0"], 0),
        ([""], 0),
    ],
)
def test_globs_select_cells(patterns: list[str], count: int) -> None:
    assert len(select(CELLS, patterns)) == count


@given(st.lists(st.text(max_size=12), max_size=3))
def test_what_is_selected_keeps_its_order(patterns: list[str]) -> None:
    chosen = select(CELLS, patterns)
    assert chosen == tuple(cell for cell in CELLS if cell in chosen)


def test_every_cell_has_an_id_of_its_own() -> None:
    assert len({cell.id for cell in CELLS}) == len(CELLS)


def test_an_environment_without_a_device_is_told_with_what_to_write() -> None:
    axes = [axis("ort", "cpu"), axis("trt", "gpu"), axis("rtx", "gpu")]
    assert without_device(axes, ["cpu", "gpu:*"]) == ()
    told = without_device(axes, ["cpu"])
    assert [one.partition(" ")[0] for one in told] == ["trt", "rtx"]
    assert told[0] == (
        "trt is left out: it runs on gpu, and `devices` has cpu alone; add it: "
        '`devices: [cpu, "gpu:*"]`'
    )
    assert len(without_device(axes, ["gpu:*"])) == 1
