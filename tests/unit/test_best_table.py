"""The table `best`: never worse than a single table where it was confirmed, and cheap whatever the network."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import small_networks as networks
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.qdq.adjustable import adjustable
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions, simulation_of
from trt_matrix.core.tables.best import MOST_TRIALS, BestTable, ImagePart, Ranges, best_ranges
from trt_matrix.core.tables.table import Provenance, Table, TableError, from_ranges
from trt_matrix.execution.best import CHOOSE_IMAGES, CONFIRM_IMAGES, ImageSubset, TableSimulator

Table_ = Mapping[str, float]


def nothing(_done: int, _all: int) -> None:
    pass


class Bowl:
    """Each head's error is the sum, over the tensors before it, of how far a range is from its best."""

    def __init__(
        self,
        best: Table_,
        heads: Sequence[Sequence[str]],
        disturb: Callable[[ImagePart], float] = lambda _: 0.0,
    ) -> None:
        self.best, self.heads, self.disturb = best, heads, disturb
        self.trials = dict.fromkeys(ImagePart, 0)

    def __call__(self, amax: Ranges, part: ImagePart) -> list[float]:
        self.trials[part] += 1
        shift = self.disturb(part)
        return [
            sum(
                1e-4 + (math.log(amax[tensor] / self.best[tensor]) + shift) ** 2
                for tensor in tensors
            )
            for tensors in self.heads
        ]


def search(tables: Mapping[str, Table_], simulate: Bowl, most: int = MOST_TRIALS) -> BestTable:
    return best_ranges(tables, list(simulate.best), simulate, nothing, most=most)


def test_each_tensor_gets_the_algorithm_that_suits_it() -> None:
    tables = {"entropy": {"a": 1.0, "b": 1.0, "c": 1.0}, "minmax": {"a": 4.0, "b": 4.0, "c": 1.01}}
    found = search(tables, Bowl({"a": 4.0, "b": 1.0, "c": 1.0}, ["ab", "c"]))
    assert found.amax == {"a": 4.0, "b": 1.0, "c": found.amax["c"]}
    assert found.cost < found.start_cost
    assert found.left == 0


def test_what_differs_by_little_is_not_tried() -> None:
    simulate = Bowl({"a": 1.0, "b": 1.0}, ["ab"])
    found = search({"entropy": {"a": 1.0, "b": 1.0}, "mse": {"a": 1.02, "b": 0.98}}, simulate)
    assert (found.trials, found.changed) == (0, {})
    assert simulate.trials == {ImagePart.CHOOSE: 2, ImagePart.CONFIRM: 2}, "the single tables alone"


def test_equal_tables_end_at_the_first() -> None:
    tables = {"entropy": {"a": 2.0}, "minmax": {"a": 2.0}}
    found = search(tables, Bowl({"a": 1.0}, ["a"]))
    assert (found.start, found.amax, found.changed) == ("entropy", {"a": 2.0}, {})


def test_what_only_the_first_images_like_is_not_taken() -> None:
    """On the images that it is chosen by, wide ranges are best; on those that confirm it, narrow ones."""
    tables = {"entropy": {"a": 1.0}, "minmax": {"a": 8.0}}
    simulate = Bowl({"a": 1.0}, ["a"], lambda part: -2.0 if part is ImagePart.CHOOSE else 0.0)
    found = search(tables, simulate)
    assert (found.start, found.changed, found.trials) == ("entropy", {}, 1)


def test_no_head_pays_for_another() -> None:
    """J would fall, since one head gains a hundred times; the other would lose."""
    tables = {"entropy": {"a": 1.0, "b": 1.0}, "minmax": {"a": 2.0, "b": 1.0}}

    def simulate(amax: Ranges, _part: ImagePart) -> list[float]:
        wide = amax["a"] > 1.5
        return [0.01 if wide else 1.0, 0.0101 if wide else 0.01]

    found = best_ranges(tables, ["a"], simulate, nothing)
    assert found.start == "minmax", "it costs least of the single ones"
    narrow = best_ranges({"entropy": tables["entropy"], "x": {"a": 2.0, "b": 9.0}}, ["a"],
                         lambda amax, part: [1.0 * (amax["b"] > 5) * 50 + simulate(amax, part)[0],
                                             simulate(amax, part)[1]], nothing)  # fmt: skip
    assert narrow.start == "entropy"
    assert narrow.changed == {}


def test_a_simulation_that_breaks_is_never_taken() -> None:
    def simulate(amax: Ranges, _part: ImagePart) -> list[float]:
        return [math.nan if amax["a"] > 2 else 0.5 / amax["a"]]

    found = best_ranges({"entropy": {"a": 1.0}, "minmax": {"a": 4.0}}, ["a"], simulate, nothing)
    assert (found.start, found.changed) == ("entropy", {})
    broken = best_ranges({"x": {"a": 1.0}, "y": {"a": 4.0}}, ["a"], lambda *_: [math.inf], nothing)
    assert (broken.start, broken.changed) == ("x", {})


def test_heads_that_say_nothing_leave_the_first_table() -> None:
    found = best_ranges({"x": {"a": 1.0}, "y": {"a": 4.0}}, ["a"], lambda *_: [], nothing)
    assert (found.start, found.changed, found.cost) == ("x", {}, 0.0)


def test_the_cost_of_a_large_network_is_bounded_and_those_furthest_apart_come_first() -> None:
    names = [f"t{index}" for index in range(600)]
    tables = {
        "entropy": dict.fromkeys(names, 1.0),
        "minmax": {name: 1.1 + index for index, name in enumerate(names)},
        "mse": dict.fromkeys(names, 1.05),
    }
    simulate = Bowl(tables["minmax"], [names])
    simulate.best = {name: max(amax.get(name, 0) for amax in tables.values()) for name in names}
    found = search(tables, simulate)
    assert found.start == "minmax"
    simulate = Bowl(dict.fromkeys(names, 1.0), [names])
    found = best_ranges({"minmax": tables["minmax"], "entropy": tables["entropy"], "p": dict.fromkeys(names, 1.1)},
                        names, simulate, nothing, most=100)  # fmt: skip
    assert found.trials <= 100
    assert simulate.trials[ImagePart.CHOOSE] <= 103
    assert found.left >= 500


def test_the_furthest_apart_have_their_turn_first() -> None:
    names = [f"t{index}" for index in range(9)]
    tables = {
        "entropy": dict.fromkeys(names, 1.0),
        "minmax": {name: 1.5 + index for index, name in enumerate(names)},
    }
    best = {name: 9.5 if name == "t8" else 1.0 for name in names}
    found = search(tables, Bowl(best, [names]), most=1)
    assert found.changed == {"t8": "minmax"}
    assert found.left == 8


@given(
    st.lists(
        st.tuples(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10)),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 30),
)
def test_it_is_never_worse_where_it_was_confirmed_and_takes_only_known_ranges(
    rows: list[tuple[float, float, float, float]], most: int
) -> None:
    names = [f"t{index}" for index in range(len(rows))]
    tables = {
        algorithm: {name: row[column] for name, row in zip(names, rows, strict=True)}
        for column, algorithm in enumerate(("entropy", "minmax", "mse"))
    }
    best = {name: row[3] for name, row in zip(names, rows, strict=True)}
    heads = [names, names[: len(names) // 2 + 1]]
    simulate = Bowl(best, heads, lambda part: 0.3 * part)
    found = search(tables, simulate, most)
    assert found.cost <= found.start_cost
    assert found.trials <= most
    for name in names:
        assert found.amax[name] in {table[name] for table in tables.values()}
    after = simulate(found.amax, ImagePart.CONFIRM)
    before = simulate(tables[found.start], ImagePart.CONFIRM)
    assert all(now <= was for now, was in zip(after, before, strict=True))


# The simulation


def table(amax: Table_) -> Table:
    return from_ranges(amax, Provenance(algorithm="minmax"))


def ranges(model: onnx.ModelProto, images: np.ndarray) -> dict[str, float]:
    inner, names = calibration_model(model)
    made = [networks.run(inner, {"image": image[np.newaxis]}) for image in images]
    known = {name: max(float(np.abs(array[name]).max()) for array in made) for name in made[0]}
    known["image"] = float(np.abs(images).max())
    return {name: known[name] for name in names if known[name] > 0}


@pytest.mark.parametrize("options", [TENSORRT, ONNXRUNTIME])
def test_scales_as_inputs_give_what_the_written_ones_give(options: PlacementOptions) -> None:
    model = networks.detector()
    images = np.concatenate([networks.image(seed=seed) for seed in range(3)])
    amax = ranges(model, images)
    made = adjustable(model, table(dict.fromkeys(amax, 1.0)), options)
    onnx.checker.check_model(made.model)
    for factor in (1.0, 0.5):
        wanted = {name: factor * one for name, one in amax.items()}
        written = place(model, table(wanted), simulation_of(options)).model
        fed = networks.run(made.model, {"image": images[:1], **made.scales(wanted)})
        for head, exact in networks.run(written, {"image": images[:1]}).items():
            error = np.square(fed[head] - exact).sum() / np.square(exact).sum()
            assert error < 1e-3, "biases in float are all that differs: single values a step apart"
    assert set(made.tensors) <= set(amax)


def simulator(
    model: onnx.ModelProto, images: np.ndarray
) -> tuple[TableSimulator, dict[str, float]]:
    amax = ranges(model, images)
    made = adjustable(model, table(amax), TENSORRT)
    return (
        TableSimulator(
            model, made, images, image="image", outputs=["large", "small"], threads=1
        ),
        amax,
    )  # fmt: skip


def test_a_real_search_finds_the_tensors_that_were_spoilt() -> None:
    """Two tables of one network, each with another tensor that is almost wholly clipped."""
    images = np.concatenate([networks.image(seed=seed) for seed in range(12)])
    model = networks.detector()
    simulate, amax = simulator(model, images)
    tables = {"one": {**amax, "s2": amax["s2"] / 12}, "two": {**amax, "mixed": amax["mixed"] / 12}}
    found = best_ranges(tables, list(amax), simulate, nothing)
    assert {name: found.amax[name] for name in ("s2", "mixed")} == {
        "s2": amax["s2"],
        "mixed": amax["mixed"],
    }
    assert found.cost < 0.55 * found.start_cost, "one head is whole in either, the other in neither"
    assert best_ranges(tables, list(amax), simulate, nothing) == found, "and again the same"


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 1)), (2, (1, 1)), (3, (2, 1)), (500, (CHOOSE_IMAGES, CONFIRM_IMAGES))])  # fmt: skip
def test_images_are_parted(count: int, expected: tuple[int, int]) -> None:
    array = np.zeros((count, 1, 2, 2), np.float32)
    parts = ImageSubset(array, 100).parts
    assert tuple(len(parts[part]) for part in ImagePart) == expected
    if count > 1:
        assert not set(parts[ImagePart.CHOOSE]) & set(parts[ImagePart.CONFIRM])
    assert max(max(part) for part in parts.values()) < count


def test_large_outputs_take_fewer_images() -> None:
    parts = ImageSubset(np.zeros((500, 1), np.float32), 1 << 27).parts
    assert [len(part) for part in parts.values()] == [1, 1]


def test_a_head_that_is_zero_says_nothing() -> None:
    b = networks.Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8)], "r")
    b.conv("r", "large", 8, 4, k=1)
    b.weight("zero", np.zeros((4, 8, 1, 1), "f4"))
    b.node("Conv", ["r", "zero"], "small")
    model = b.model({"image": [1, 3, 16, 16]}, ["large", "small"])
    simulate, amax = simulator(model, networks.image())
    assert len(simulate(amax, ImagePart.CHOOSE)) == 1
    found = best_ranges({"a": amax, "b": {**amax, "r": amax["r"] / 9}}, list(amax), simulate, nothing)  # fmt: skip
    assert found.start == "a"


def two_heads(second: str) -> onnx.ModelProto:
    """`large` behind two convolutions; `small` has no layer of its own, or is the same but for a sign."""
    b = networks.Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8)], "r")
    b.conv("r", "large", 8, 4, k=1)
    b.node(second, ["image" if second == "Sigmoid" else "large"], "small")
    return b.model({"image": [1, 3, 16, 16]}, ["large", "small"])


@pytest.mark.parametrize("second", ["Sigmoid", "Neg"])
def test_heads_without_a_quantised_layer_and_heads_that_share_all(second: str) -> None:
    images = np.concatenate([networks.image(seed=seed) for seed in range(6)])
    simulate, amax = simulator(two_heads(second), images)
    errors = simulate(amax, ImagePart.CONFIRM)
    assert len(errors) == 2
    assert errors[0] > 0
    if second == "Neg":
        assert errors[1] == pytest.approx(errors[0])
    tables = {"a": {**amax, "r": amax["r"] / 15}, "b": {**amax, "image": amax["image"] / 15}}
    found = best_ranges(tables, list(amax), simulate, nothing)
    assert {name: found.amax[name] for name in ("r", "image")} == {
        "r": amax["r"],
        "image": amax["image"],
    }


def test_a_simulation_that_cannot_run_is_a_table_error() -> None:
    model = networks.detector()
    simulate, amax = simulator(model, networks.image())
    with pytest.raises(TableError, match="ONNX Runtime could not simulate it"):
        TableSimulator(model, adjustable(model, table(amax), TENSORRT), networks.image((1, 3, 8, 8)), image="image", outputs=["large"], threads=1)  # fmt: skip
    with pytest.raises(KeyError):
        simulate({}, ImagePart.CHOOSE)


def test_six_hundred_tensors_are_placed_and_simulated() -> None:
    b = networks.Builder()
    x = "image"
    for index in range(300):
        x = b.node("LeakyRelu", [b.conv(x, f"c{index}", 3, 3, k=1)], f"r{index}")
    b.conv(x, "large", 3, 4, k=1)
    b.conv("r5", "small", 3, 4, k=1)
    model = b.model({"image": [1, 3, 16, 16]}, ["large", "small"])
    images = np.concatenate([networks.image(seed=seed) for seed in range(4)])
    simulate, amax = simulator(model, images)
    assert len(amax) > 600 - 2
    tables = {"minmax": amax, "mse": {name: one * 0.8 for name, one in amax.items()}}
    found = best_ranges(tables, list(amax), simulate, nothing, most=20)
    assert found.trials <= 20
    assert found.cost <= found.start_cost
