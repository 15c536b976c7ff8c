import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.config.yaml_file import LIMIT_BYTES, Document, parse, read
from trt_matrix.errors import ConfigError


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "matrix.yaml")
    return "\n".join(caught.value.problems)


def test_values_are_those_of_json() -> None:
    document = parse("a: {b: [1, 2.5, x, yes, ~], c: '1'}\nd: |\n  two\n  lines\n", "f")
    assert document.value == {"a": {"b": [1, 2.5, "x", True, None], "c": "1"}, "d": "two\nlines\n"}


def test_every_place_has_its_line() -> None:
    document = parse("a:\n  - x\n  - b: 1\n    c: 2\nd: 3\n", "f")
    assert document.where(("a", 1, "c")) == "a[1].c (line 4)"
    assert document.where(("d",)) == "d (line 5)"


def test_what_is_missing_stands_where_it_belongs() -> None:
    assert parse("a:\n  b: 1\n", "f").where(("a", "z")) == "a.z (line 1)"
    assert Document("f", {}).where(("a", "z")) == "a.z"


def test_what_yaml_made_of_plain_text_is_remembered() -> None:
    document = parse("versions: [1.10, '1.10', on]\n", "f")
    assert document.value == {"versions": [1.1, "1.10", True]}
    assert document.written == {("versions", 0): "1.10", ("versions", 2): "on"}


def test_an_alias_is_its_value() -> None:
    assert parse("a: &x {k: 1}\nb: *x\n", "f").value == {"a": {"k": 1}, "b": {"k": 1}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty; write one with `trt-matrix init"),
        ("# a comment\n", "the file is empty"),
        ("- a\n- b\n", "the top level must be `key: value`"),
        ("just text\n", "the top level must be `key: value`"),
        ("a:\n\tb: 1\n", "line 2: a tab; YAML wants spaces there"),
        ("a:\n  \tb: 1\n", "line 2: a tab"),
        ("a: 1\nb: 2\na: 3\n", "a (line 3): given twice, first on line 1"),
        ("a:\n  b: 1\n  b: 2\n", "a.b (line 3): given twice, first on line 2"),
        ("a: x\0y\n", "line 1: the character '\\x00'; is this a text file?"),
        ('a: 1\nb: "x\\0y"\n', "line 2: an escaped control character"),
        ('a: "\\ud800"\n', "line 1: an escaped control character"),
        ("a: [1, 2\nb: 3\n", "line 2: "),
        ("a: 'open\n", "line 2: found unexpected end of stream"),
        ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
        ("a: *nowhere\n", "line 1: found undefined alias"),
        ("a: !!python/object/apply:os.system [ls]\n", "python/object/apply:os.system is not allowed"),
        ("a: !!python/name:os.system ''\n", "python/name:os.system is not allowed"),
        ("a: !!set {x, y}\n", "line 1: the tag tag:yaml.org,2002:set is not allowed"),
        ("a: !mine {x: 1}\n", "line 1: the tag !mine is not allowed"),
        ("a: !!binary aGVsbG8=\n", "line 1: aGVsbG8= is read as a bytes; put it in quotes"),
        ("a: !!int x\n", "line 1: 'x' does not fit its type"),
        ("a: !!int ''\n", "line 1: '' does not fit its type"),
        ("a: !!bool maybe\n", "line 1: 'maybe' does not fit its type"),
        ("a: !!timestamp soon\n", "line 1: 'soon' does not fit its type"),
        ("a: 2026-13-45\n", "line 1: '2026-13-45' does not fit its type"),
        ("a: 2026-11-23\n", "line 1: 2026-11-23 is read as a date; put it in quotes"),
        (f"a: {10**30}\n", "is read as a int; put it in quotes"),
        (f"a: {'9' * 5000}\n", "does not fit its type"),
        ("1.10: x\n", 'line 1: the key 1.10 is no text: "1.10"'),
        ("yes: x\n", 'line 1: the key yes is no text: "yes"'),
        ("? [a, b]\n: x\n", "line 1: a list or mapping as a key; keys are text"),
        ("a: &x {k: 1}\nb:\n  <<: *x\n", "line 3: merge keys (<<) are not read"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    assert told in problem(text)


def test_several_problems_are_told_at_once() -> None:
    assert len(problem("a: 1\na: 2\nb: !x 3\nyes: 4\n").splitlines()) == 3


@pytest.mark.parametrize(
    "text", ["a:\r\n  b: 1\r\n", 'a: "x\ty"\n', "a: |\n  x\n  \ty\n", "\n\n a: {}  \n"]
)
def test_harmless_white_space_is_read(text: str) -> None:
    assert list(parse(text, "f").value) == ["a"]


BILLION = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 6)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BILLION, "an alias (*name) makes too many values"),
        ("a: &a [*a]\n", "an alias (*name) makes too many values"),
        ("a: &a {b: *a}\n", "an alias (*name) makes too many values"),
        (f"a: &a [{'*a, ' * 40} {'x, ' * 9_000}]\n", "an alias (*name) makes too many values"),
        (f"a: &a x\nb: [{', '.join(['*a'] * 51)}]\n", "line 2: more than 50 aliases"),
        ("a: " + "[" * 5000 + "]" * 5000, "line 1: more than 50 levels"),
        ("a: " + "[" * 5000, "line 1: more than 50 levels"),
        ("".join(" " * i + f"k{i}:\n" for i in range(200)), "line 50: more than 50 levels"),
        ("a: [" + "x, " * 20_001 + "]", "line 1: more than 20000 values"),
    ],
)
def test_bombs_are_refused(text: str, told: str) -> None:
    assert told in problem(text)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_bytes("\ufeffname: größe\n".encode())
    assert read(path).value == {"name": "größe"}


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.source == str(path)
    return "\n".join(caught.value.problems)


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "m.yaml") == "no such file; write one with `trt-matrix init MODEL.onnx`"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    with path.open("wb") as stream:
        stream.truncate(100 * LIMIT_BYTES)  # sparse: 100 MB that take no disk
    assert refusal(path) == "larger than 1000 kB: this is no matrix.yaml"


def test_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes("a: 1\nname: größe\n".encode("latin-1"))
    assert refusal(path) == "line 2: not UTF-8; save it in that encoding"
    path.write_bytes("a: 1\n".encode("utf-16"))
    assert refusal(path).startswith("line 1: not UTF-8")


YAML = st.text(st.sampled_from("ab1. :-[]{}&*!|>'\"#%@,?<~\n\t\\x0é\u2028=0"), max_size=60)


def found(text: str) -> Document | None:
    """Returns what is read, None where it is refused with at least one reason."""
    try:
        return parse(text, "f")
    except ConfigError as error:
        return None if all(error.problems) and error.problems else pytest.fail(f"{error!r}")


@given(YAML | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    document = found(text)
    lines = document.lines.values() if document else ()
    assert all(1 <= line <= len(text) + 1 for line in lines)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with contextlib.suppress(ConfigError):
        assert isinstance(read(path).value, dict)
