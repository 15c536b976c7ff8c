"""Arrays in JSON: what Polygraphy and trtexec save, told from each other and from all else."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trt_matrix.commands.compare.comparing import compare_paths
from trt_matrix.commands.compare.grouping import grouped
from trt_matrix.commands.compare.options import formats
from trt_matrix.dumps.files import tensors
from trt_matrix.dumps.recorded import Recorded, write_head
from trt_matrix.dumps.tensor import ChannelOrder, DumpError, FileFormat, NoNumbersError, Tensor
from trt_matrix.errors import ConfigError
from trt_matrix.store.arrays import read_array

DATA = Path(__file__).parents[1] / "data" / "polygraphy"

VALUES = np.arange(6, dtype=np.float32).reshape(1, 2, 3)


def read(tensor: Tensor) -> np.ndarray:
    return np.concatenate([block.copy() for block in tensor.blocks(1)]).reshape(tensor.shape)


def arrays(path: Path) -> Mapping[str, np.ndarray]:
    return {
        str(tensor.member).removesuffix(".npy"): read(tensor)
        for tensor in tensors(path, FileFormat())
    }


def reason(path: Path) -> str:
    with pytest.raises(DumpError) as caught:
        arrays(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def trtexec(outputs: Mapping[str, np.ndarray]) -> str:
    """What exportJSONOutput and dumpBuffer of NVIDIA/TensorRT's samples/common write, letter by letter."""
    text, mark = "[\n", "  "
    for name, array in outputs.items():
        values = ", ".join(f"{value:g}" for value in array.reshape(-1))
        dimensions = "x".join(str(axis) for axis in array.shape)
        text += f'{mark}{{ "name" : "{name}"\n'
        mark = ", "
        text += f'  , "dimensions" : "{dimensions}"\n  , "values" : [ {values} ]\n  }}\n'
    return text + "]\n"


def encoded(array: np.ndarray, save: Any = np.save) -> str:
    stream = io.BytesIO()
    save(stream, array)
    return base64.b64encode(stream.getvalue()).decode()


def polygraphy(payloads: Sequence[str], name: str = "small") -> str:
    iterations = [{"outputs": {name: {"values": {"array": payload}}}} for payload in payloads]
    return json.dumps({"lst": [["runner", iterations]]})


ITERATION = {"small": {"values": {"array": encoded(VALUES)}}}


# Polygraphy


def test_iterations_of_a_real_file_are_put_together() -> None:
    found = arrays(DATA / "one-runner.json")
    np.testing.assert_array_equal(found["out/a"], np.concatenate([VALUES, VALUES + 1]))
    np.testing.assert_array_equal(found["labels"], [[1, 7], [1, 7]])
    labels = next(
        tensor
        for tensor in tensors(DATA / "one-runner.json", FileFormat())
        if "labels" in tensor.where
    )
    assert labels.note == "holds int64, compared as numbers"


def test_runners_are_told_apart_and_their_times_forgotten() -> None:
    found = arrays(DATA / "two-runners.json")
    assert list(found) == ["onnxrt-runner-N0/out/a", "trt-runner-N0/out/a"]
    np.testing.assert_array_equal(found["trt-runner-N0/out/a"], VALUES + 0.5)


@pytest.mark.parametrize("kind", ["npz", "latin-1", "inputs", "fortran", "float16"])
def test_older_and_other_forms(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.json"
    if kind == "npz":
        text = polygraphy([encoded(VALUES, np.savez)])
    elif kind == "latin-1":
        text = polygraphy([base64.b64decode(encoded(VALUES)).decode("latin-1")])
    elif kind == "inputs":
        text = json.dumps([{"small": {"array": encoded(VALUES)}}])
    elif kind == "fortran":
        text = polygraphy([encoded(np.asfortranarray(VALUES))])
    else:
        text = polygraphy([encoded(VALUES.astype(np.float16))])
    path.write_text(text)
    np.testing.assert_array_equal(arrays(path)["small"], VALUES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (polygraphy([encoded(VALUES)[:-8]]), "was cut"),
        (polygraphy(["AAAA"]), "holds no array of numpy"),
        (polygraphy([encoded(np.array(["a"]))]), "convert it to float32"),
        (polygraphy([encoded(VALUES), encoded(VALUES[:, :1])]), "its iterations have shapes"),
        (polygraphy([encoded(VALUES[:0])]), "nothing to compare"),
        (json.dumps({"lst": [["r", [{"outputs": ITERATION}, {"outputs": {}}]]]}), "not every iteration has it"),
        (json.dumps({"lst": [["r", [{"outputs": {}}, {"outputs": ITERATION}]]]}), "not every iteration has it"),
        (json.dumps({"lst": [[f"r-06/19/26-10:00:0{n}", [{"outputs": ITERATION}]] for n in (1, 2)]}), "two runners are called 'r'"),
        ('{"lst": [["r", [{"outputs": {"a": {"values": {"tensor": "AAAA"}}}}]]]}', "none of Polygraphy's"),
        ('{"lst": [["r", [{"outputs": {"a": {"values": {"array": 5}}}}]]]}', "holds no array of numpy"),
        ('{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}', "none of Polygraphy's"),
        ("[" * 100_000, "no JSON"),
        ("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]", "none of Polygraphy's"),
        ('[{ "count" : 100 }, { "name" : "conv", "timeMs" : 1, "averageMs" : 1 }]', "`profile` of a pass"),
        ('{"Layers": ["conv1", "conv2"], "Bindings": ["images", "small"]}', "`layers` of a pass"),
    ],
)  # fmt: skip
def test_what_is_none_of_it(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert said in reason(tmp_path / "x.json")


def test_large_whole_numbers_are_rounded_no_further_than_doubles(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(polygraphy([encoded(np.array([[-(1 << 63), (1 << 24) + 1]]))]))
    (tensor,) = tensors(path, FileFormat())
    assert tensor.dtype == np.float64


# trtexec


def test_trtexecs_outputs_with_what_no_json_has(tmp_path: Path) -> None:
    odd = np.array([[1.5, np.nan, -np.nan, np.inf, -np.inf, 1e-30]], np.float32)
    path = tmp_path / "out.json"
    path.write_text(trtexec({'det/"small"': VALUES, "große": odd, "scalar": np.array(2.5)}))
    found = arrays(path)
    np.testing.assert_array_equal(found['det/"small"'], VALUES)
    np.testing.assert_array_equal(found["große"], odd)
    assert found["scalar"] == np.float32(2.5)
    assert "six digits" in tensors(path, FileFormat())[0].note


def test_channels_last_is_brought_in_order(tmp_path: Path) -> None:
    planes = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    (tmp_path / "x.json").write_text(trtexec({"a": np.moveaxis(planes, 1, -1)}))
    (tensor,) = tensors(tmp_path / "x.json", FileFormat(layout=ChannelOrder.NHWC))
    assert tensor.shape == planes.shape
    blocks = [block.copy() for block in tensor.blocks(24)]
    np.testing.assert_array_equal(np.concatenate(blocks).reshape(planes.shape), planes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1x2x3", "1x2x4", "its dimensions are '1x2x4'"),
        ("1x2x3", "1x-2x-3", "its dimensions are"),
        ("1x2x3", "a x b", "no shape"),
        ("[ 0, 1", "[ 0, one", "no number"),
        ("4, 5", "4", "5 values"),
        ("4, 5", "4,", "no number"),
        ("0, 1, 2, 3, 4, 5", "", "no number"),
        ("\n]", "\n]\n[", "more behind trtexec's list"),
        (" ]\n  }", "", "cut or damaged"),
        ("b", "a", "two arrays called 'a'"),
        ("1x2x3", "0x2x3", "its dimensions are"),
    ],
)
def test_a_damaged_file_of_trtexec(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "x.json"
    whole = trtexec({"a": VALUES, "b": VALUES})
    assert old in whole
    path.write_text(whole.replace(old, new))
    assert said in reason(path)


@settings(max_examples=60)
@given(st.data())
def test_any_damage_is_a_declared_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    whole = data.draw(
        st.sampled_from(
            [
                trtexec({"a": VALUES, "b": VALUES}).encode(),
                polygraphy([encoded(VALUES)]).encode(),
                polygraphy([encoded(VALUES, np.savez)]).encode(),
                (DATA / "two-runners.json").read_bytes(),
            ]
        )
    )
    content = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.one_of(st.sampled_from(b'"[]{},:x0-\n'), st.integers(0, 255)))
    path.write_bytes(content)
    try:
        arrays(path)
    except DumpError as error:
        assert str(path) in str(error)  # noqa: PT017 - either way is right


# Where outputs are read


def test_a_recorded_pass_of_json_files_an_image_and_of_one_file_of_all(tmp_path: Path) -> None:
    many = np.concatenate([VALUES, VALUES + 1])
    for number, image in enumerate(many):
        (tmp_path / f"{number}.json").write_text(trtexec({"a": image[np.newaxis]}))
    (tmp_path / "all.json").write_text(polygraphy([encoded(one[np.newaxis]) for one in many], "a"))
    for pattern in ("{image}.json", "all.json"):
        recorded = Recorded(folder=tmp_path, files=pattern, images=("0", "1"), names={"s": "a"})
        write_head(recorded, "s", (2, 3), 0, tmp_path / "s.npy")
        np.testing.assert_array_equal(read_array(tmp_path / "s.npy"), many)


def test_trtexec_against_polygraphy(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(trtexec({"a": VALUES + 1, "only": VALUES}))
    (tmp_path / "b.json").write_text(polygraphy([encoded(VALUES)], "a"))
    done = compare_paths(tmp_path / "a.json", tmp_path / "b.json", formats())
    assert [file.name for file in done.files] == ["a.json[a]"]
    assert done.files[0].error.mae == 1.0
    assert done.only_a == ("a.json[only]",)
    assert "six digits" in done.text()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for side, more in (("a", 1), ("b", 0)):
        for head, factor in (("small", 1), ("large", 10)):
            for image in range(2):
                path = tmp_path / side / head / f"{image}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                (VALUES + more * factor).tofile(path)
        (tmp_path / side / "notes.txt").write_text("a b\nc d e\n")
    return tmp_path / "a", tmp_path / "b"


def test_a_stray_text_is_a_note_and_a_head_has_a_total(folders: tuple[Path, Path]) -> None:
    done = compare_paths(*folders, formats())
    assert len(done.files) == 4
    assert "notes.txt holds text" in done.text()
    totals = {name: error.mae for name, error, _ in done.heads}
    assert totals == {"large/*": 10.0, "small/*": 1.0}
    assert done.summary()["heads"]["small/*"]["mae"] == 1.0
    assert any(row.startswith("all small/*") for row in done.text().splitlines())


def test_only_text_is_no_comparison(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match=r"notes\.txt holds text"):
        compare_paths(*folders, formats(), select=["*.txt"])
    with pytest.raises(ConfigError, match="holds text"):  # one that was named is meant
        compare_paths(folders[0] / "notes.txt", folders[1] / "notes.txt", formats())


def test_wrong_files_of_a_folder_hint_at_a_choice(folders: tuple[Path, Path]) -> None:
    (folders[0] / "small" / "0.bin").write_bytes(b"")
    with pytest.raises(ConfigError, match="-s 'GLOB'"):
        compare_paths(*folders, formats())


@pytest.mark.parametrize(
    ("names", "heads"),
    [
        (["x.npz[s]", "y.npz[s]", "x.npz[l]", "y.npz[l]"], ["*[s]", "*[l]"]),
        (["0_s.bin", "0_l.bin", "1_s.bin", "1_l.bin"], ["*_s.*", "*_l.*"]),
        (["s_0.bin", "s_1.bin", "l_0.bin", "l_1.bin"], ["s_*", "l_*"]),
        (["cat_0.bin", "cat_1.bin", "dog_0.bin"], []),  # not the same images of each
        (["img_0.bin", "img_1.bin"], []),
        (["0.bin", "1.bin"], []),
        (["small.bin", "large.bin"], []),
    ],
)
def test_files_of_one_head_by_their_names(names: list[str], heads: list[str]) -> None:
    assert list(grouped(names)) == heads


def test_text_of_few_letters_is_text_by_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\nbus\n")
    with pytest.raises(NoNumbersError):
        tensors(tmp_path / "labels.txt", FileFormat())
