"""What `migrate` says of the table itself: of this network or not, held against its ranges or why not, how to go on."""

import dataclasses
import functools
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from tests.unit import small_networks as networks
from tests.unit.migrations import HEADER, MATRIX, Call, cache_of, images, noise, with_cache
from trt_matrix.commands.migration.migrating import MigrationWish, migrate_to_qdq
from trt_matrix.commands.migration.proving import proof
from trt_matrix.config import matrix as configuration
from trt_matrix.config.shared_table import SharedTable
from trt_matrix.config.yaml_file import Document, quoted
from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.mistakes import FAR, LEAST_TENSORS, far_above
from trt_matrix.core.tables.trt_cache import Cache
from trt_matrix.errors import ExitCode


@pytest.fixture
def call(call: Call) -> Call:
    return functools.partial(call, "migrate")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return with_cache(tmp_path)


def fed(here: Path, number: int = 8) -> tuple[str, ...]:
    """Arguments of a comparison on images of noise."""
    np.save(here / "x.npy", np.concatenate([noise(seed) for seed in range(number)]))
    return ("-m", "net.onnx", "-o", "out.onnx", "--force", "--check", "x.npy")


def scales(here: Path) -> dict[str, float]:
    return dict(trt_cache.parse((here / "net.cache").read_text()).scales)


def changed(here: Path, made: Mapping[str, float]) -> None:
    (here / "t.cache").write_text(trt_cache.write(Cache(header=HEADER, scales=made)))


# Held against ranges, or why not


def test_a_table_that_fits_is_told_so_with_how_many_ranges(here: Path, call: Call) -> None:
    code, out, _ = call("net.cache", *fed(here))
    assert code == ExitCode.OK
    assert "the table's 15 ranges fit those that the network has on these images" in out
    assert "warning" not in out


def not_held(call: Call, *arguments: str) -> str:
    """Why a table was not held against ranges."""
    code, out, err = call(*arguments)
    assert code == ExitCode.OK, err
    (line,) = [line for line in out.splitlines() if "not held against the network's ranges" in line]
    assert "fit those" not in out
    return line.split("ranges: ", 1)[1]


def test_without_images_it_says_what_would_give_some(here: Path, call: Call) -> None:
    why = not_held(call, "net.cache", "-m", "net.onnx", "-o", "out.onnx")
    assert why == "no images were given (--check IMAGES, or matrix.yaml)"
    _, told, _ = call("net.cache", "-m", "net.onnx", "-o", "two.onnx", "--json")
    assert json.loads(told)["ranges"]["not_held_against_any"] == why


def test_where_no_check_was_asked_for_images_are_not_missed(here: Path, call: Call) -> None:
    images(here)
    (here / "matrix.yaml").write_text(MATRIX)
    assert not_held(call, "net.cache", "-o", "out.onnx", "--no-check") == "--no-check was said"


@pytest.mark.parametrize(
    ("number", "told"), [(1, "1 image is too few"), (3, "3 images are too few")]
)
def test_too_few_images_are_told(here: Path, call: Call, number: int, told: str) -> None:
    assert not_held(call, "net.cache", *fed(here, number)) == f"{told}: 4 are the least"


def test_a_network_that_cannot_run_here_is_told(here: Path, call: Call) -> None:
    b = networks.Builder()
    b.conv("image", "c", 3, 4)
    b.node("Upscale", ["c"], "up", domain="their.own")
    b.conv("up", "y", 4, 2)
    model = b.model({"image": [1, 3, 8, 8]}, ["c"])
    model.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2, 16, 16])
    )
    (here / "custom.onnx").write_bytes(model.SerializeToString())
    changed(here, {"image": 0.1, "c": 0.2, "up": 0.2, "y": 0.3})
    why = not_held(call, "t.cache", "-m", "custom.onnx", "-o", "out.onnx")
    assert "has no operator 'Upscale' (their.own), and so cannot run the network here" in why


def test_a_reference_that_is_not_finite_is_told(here: Path, call: Call) -> None:
    arguments = fed(here)
    np.save(here / "x.npy", np.full((8, 3, 16, 16), np.inf, "f4"))
    assert "nothing could be compared" in not_held(call, "net.cache", *arguments)


def test_a_table_of_few_tensors_fits_nothing_for_sure(here: Path, call: Call) -> None:
    few = {name: scale for name, scale in scales(here).items() if name in ("image", "s2", "s4")}
    changed(here, few)
    _, out, _ = call("t.cache", *fed(here))
    assert f"of the table {len(few)} tensors alone can be held against ranges" in out
    assert "fit those" not in out
    assert len(few) < LEAST_TENSORS


def test_all_of_a_table_that_cannot_be_used_is_told(here: Path, call: Call) -> None:
    """Zeros in most tensors: what is left may be chance, and nothing is said of it."""
    made = {name: 0.0 if index else 0.01 for index, name in enumerate(scales(here))}
    changed(here, made)
    code, out, _ = call("t.cache", *fed(here))
    assert code == ExitCode.OK
    assert "not held against the network's ranges: no range in it can be used" in out


# Another network's


def test_names_that_are_no_tensors_are_told_and_few_of_them_warn_of_nothing(
    here: Path, call: Call
) -> None:
    changed(here, scales(here) | {"old_head": 0.1, "older_head": 0.2})
    _, out, _ = call("t.cache", *fed(here))
    assert "2  of names that no tensor has: old_head and older_head" in out
    assert "another network" not in out


def test_where_most_names_are_no_tensors_it_seems_another_networks(here: Path, call: Call) -> None:
    others = {f"backbone.{index}.conv": 0.1 * (1 + index) for index in range(20)}
    changed(here, others | {"image": 0.01, "s2": 0.01})
    code, out, _ = call("t.cache", "-m", "net.onnx", "-o", "out.onnx")
    assert code == ExitCode.OK
    assert (
        "warning: 20 of the table's 22 names are no tensors of net.onnx: it seems another network's"
        in out
    )


def test_layers_of_the_parser_are_no_other_network(here: Path, call: Call) -> None:
    added = {f"(Unnamed Layer* {index}) [Shuffle]_output": 0.1 for index in range(60)}
    changed(here, scales(here) | added)
    _, out, _ = call("t.cache", "-m", "net.onnx", "-o", "out.onnx")
    assert "another network" not in out


def test_ranges_that_fit_nothing_seem_another_networks(here: Path, call: Call) -> None:
    """Names of convolutions are the same everywhere: ranges tell."""
    b = networks.Builder()
    last = "image"
    for index in range(20):
        size = 10.0 ** np.random.default_rng(index).uniform(-2, 2)
        b.conv(last, f"c{index}", 3, 3)
        last = b.node("Mul", [f"c{index}", b.weight(f"k{index}", np.float32(size))], f"m{index}")
    model = b.model({"image": [1, 3, 16, 16]}, [last])
    (here / "net.onnx").write_bytes(model.SerializeToString())
    right = dict(trt_cache.parse(cache_of(model, joined=None).decode()).scales)
    ordered = sorted(right.values())
    turned = {name: ordered[-1 - ordered.index(scale)] for name, scale in right.items()}
    changed(here, turned)
    _, out, _ = call("t.cache", *fed(here))
    assert (
        "warning: the table is likely wrong: its scales have nothing to do with the ranges on the images in x.npy"
        in out
    )
    assert "another network's" in out
    assert "far" not in out, "where all is wrong no single range is"
    changed(here, right)
    _, out, _ = call("t.cache", *fed(here))
    assert "warning" not in out


# Single ranges


def test_a_single_range_far_above_all_that_was_seen_is_told(here: Path, call: Call) -> None:
    made = scales(here)
    changed(here, made | {"s4": 40 * made["s4"]})
    _, out, _ = call("t.cache", *fed(here))
    (line,) = [line for line in out.splitlines() if line.startswith("warning")]
    assert line.startswith("warning: s4: its range")
    assert "times the largest magnitude on 8 images" in line
    assert "3.2 of 127 steps" in line or "3.1 of 127 steps" in line or "3.3 of 127 steps" in line
    _, told, _ = call("t.cache", *fed(here), "--json")
    (one,) = json.loads(told)["ranges"]["far_above"]
    assert one["tensor"] == "s4"


def test_ranges_that_nothing_uses_may_be_what_they_are(here: Path, call: Call) -> None:
    """A head that stays in float, and what is inside a fusion."""
    made = scales(here)
    changed(here, made | {"small": 100 * made["small"], "c5": 100 * made["c5"]})
    _, out, _ = call("t.cache", *fed(here))
    assert "warning" not in out


def test_a_factor_in_all_ranges_is_no_single_ranges_fault() -> None:
    seen = [{f"t{index}": 1.0 + index for index in range(20)}]
    times_ten = {name: 10 * amax for name, amax in seen[0].items()}
    assert far_above(times_ten, seen) == ()
    (above,) = far_above(times_ten | {"t3": 1000.0}, seen)
    assert above.tensor == "t3"


def test_what_was_never_seen_but_as_zero_has_no_ratio() -> None:
    assert (
        far_above({"a": 1.0, "b": float("nan"), "c": 0.0, "d": 1.0}, [{"a": 0.0, "b": 1.0}]) == ()
    )
    assert far_above({}, []) == ()


def test_a_range_is_held_against_the_largest_of_all_that_was_seen() -> None:
    """Entropy clips: what it kept is not all that was seen."""
    seen = dict.fromkeys("abcd", 1.0)
    table = seen | {"a": 2 * FAR}
    assert far_above(table, [seen | {"a": 3.0}, seen]) == ()
    assert far_above(table, [seen])[0].ratio == pytest.approx(2 * FAR)


# How to go on


ODD = (
    "net.cache", "my net.cache", "it's.cache", 'say "cheese".cache', "a: b.cache", "a#b.cache", "# x.cache",
    "back\\slash.cache", "{x}.cache", "[x], y.cache", "*x.cache", "&x.cache", "!x.cache", "%x.cache", "- x.cache",
    "yes", "1.10", "~", "ünï.cache", "模型.cache", "\U0001f600.cache", "\u202exgp.cache", "\u2028.cache", " x.cache ",
    "tab\t.cache", "two\nlines.cache", "\x85.cache",
)  # fmt: skip


NEVER = ("bell\x07.cache", b"latin\xfc.cache".decode("utf-8", "surrogateescape"))
"""Of characters that matrix.yaml cannot have."""


def snippet(out: str) -> str:
    """The lines of matrix.yaml in a report."""
    _, after = out.split("To prove it in engines")
    lines = after.splitlines()[1:]
    return textwrap.dedent("\n".join(line for line in lines if line.startswith("  ")))


def with_snippet(here: Path, out: str) -> configuration.Config:
    """The project's own loader on a matrix.yaml into which the lines were put."""
    whole = yaml.safe_load(MATRIX) | yaml.safe_load(snippet(out))
    (here / "merged.yaml").write_text(yaml.safe_dump(whole, allow_unicode=False))
    config, _ = configuration.load(here / "merged.yaml")
    return config


def test_the_lines_for_matrix_yaml_are_valid_whatever_the_file_is_called(here: Path) -> None:
    done = migrate_to_qdq(
        MigrationWish(table=here / "net.cache", output=here / "out.onnx", model=here / "net.onnx")
    )
    done = dataclasses.replace(
        done, source=dataclasses.replace(done.source, document=Document(str(here / "m"), {}))
    )
    for name in ODD:
        out = "\n".join(
            proof(dataclasses.replace(done, wish=dataclasses.replace(done.wish, table=here / name)))
        )
        config = with_snippet(here, out)
        assert isinstance(config.calibration.shared, SharedTable)
        assert config.calibration.shared.table == Path(name)
        assert config.repeats == 5
        assert [str(precision) for precision in config.precisions] == ["fp32", "int8"]
        assert "\u202e" not in out
    for name in NEVER:
        out = "\n".join(
            proof(dataclasses.replace(done, wish=dataclasses.replace(done.wish, table=here / name)))
        )
        assert "rename the table first" in out
        assert "calibration:" not in out


def test_the_lines_fit_a_matrix_that_has_engines_and_a_table_elsewhere(
    here: Path, call: Call
) -> None:
    images(here)
    (here / "matrix.yaml").write_text(MATRIX)
    (here / "tables").mkdir()
    (here / "net.cache").rename(here / "tables" / "a b.cache")
    _, out, _ = call("tables/a b.cache", "-o", "out.onnx")
    config = with_snippet(here, out)
    assert isinstance(config.calibration.shared, SharedTable)
    assert config.calibration.shared.table == Path("tables/a b.cache")
    assert "environments:" not in snippet(out), "matrix.yaml has those that it needs"


def test_the_map_of_names_goes_into_matrix_yaml_too(here: Path, call: Call) -> None:
    """Without it the run would not know the tensor."""
    text = (here / "net.cache").read_text().replace("\ns2:", '\nfirst "of" all, #1:')
    (here / "named.cache").write_text(text)
    (here / "names.yaml").write_text("'first \"of\" all, #1': s2\n")
    code, out, err = call("named.cache", "-m", "net.onnx", "-o", "out.onnx", "--map", "names.yaml")
    assert code == ExitCode.OK, err
    config = with_snippet(here, out)
    assert isinstance(config.calibration.shared, SharedTable)
    assert config.calibration.shared.names == {'first "of" all, #1': "s2"}


def test_quoted_text_is_read_back() -> None:
    for name in (*ODD, "x" * 2000, "a b " * 100):
        assert yaml.safe_load(quoted(name)) == name
        assert "\n" not in quoted(name)


def test_tensorrt_in_a_virtual_environment_is_where_it_can_be_proved(
    here: Path, call: Call
) -> None:
    images(here)
    environments = [{"venv": "tensorrt", "versions": ["8.6.1"]}]
    whole = yaml.safe_load(MATRIX) | {"environments": environments, "baseline": "trt-8.6.1"}
    (here / "matrix.yaml").write_text(yaml.safe_dump(whole))
    code, out, err = call("net.cache", "-o", "out.onnx")
    assert code == ExitCode.OK, err
    assert "Then in trt-8.6.1: " in out
    assert "environments:" not in snippet(out)
