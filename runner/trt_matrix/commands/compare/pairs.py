"""What is compared with what: files by name, arrays of archives by name; and what forbids it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trt_matrix.dumps.files import files_below, shapes_that_fit, spelled, tensors
from trt_matrix.dumps.suspicions import looks_like, order_of, other_dtype
from trt_matrix.dumps.tensor import DumpError, FileFormat, NoNumbersError, Tensor, sample
from trt_matrix.errors import ConfigError

MOST_PROBLEMS = 20

Forms = tuple[FileFormat, FileFormat]
"""Of A and of B."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorPair:
    """One tensor of A and the tensor of B that it is compared with."""

    name: str
    a: Tensor
    b: Tensor
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchedTensors:
    pairs: tuple[TensorPair, ...]
    only_a: tuple[str, ...]
    """Names that B lacks."""
    only_b: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Files of folders that hold no numbers, and why."""


def match(a: Path, b: Path, forms: Forms, select: Sequence[str] = ()) -> MatchedTensors:
    """Pairs all that is in `a` and `b`, two files or two folders.

    Raises:
        ConfigError: nothing can be compared, or something is wrong with a file; says all of it.
    """
    source = f"compare {a} {b}"
    refusal = _refusal(a, b)
    if refusal:
        raise ConfigError(source, [refusal])
    try:
        of_a, of_b = (_files(path, select) for path in (a, b))
    except DumpError as error:
        raise ConfigError(source, [str(error)]) from error
    # Two files are compared whatever they are called.
    names = same_names(of_a, of_b) if a.is_dir() else {a.name: b.name}
    if not names:
        raise ConfigError(source, [f"no name is in both: A has {_some(of_a)}; B has {_some(of_b)}"])
    problems: list[str] = []
    pairs: list[TensorPair] = []
    only_a = [name for name in of_a if name not in names]
    only_b = [name for name in of_b if name not in names.values()]
    # What lies beside the outputs of a folder stops nothing; a file that was named is meant.
    left_out: list[str] | None = [] if a.is_dir() else None
    for name_a, name_b in names.items():
        found_a, found_b = (
            _tensors(path, form, problems, left_out)
            for path, form in zip((of_a[name_a], of_b[name_b]), forms, strict=True)
        )
        members = _same_members(found_a, found_b)
        if found_a and found_b and not members:
            problems.append(
                f"{name_a}: no array is in both: A has {_arrays(found_a)}; B has {_arrays(found_b)}"
            )
        for member, other in members.items():
            pair = TensorPair(name=_joined(name_a, member), a=found_a[member], b=found_b[other])
            problems += _problems(pair, forms)
            pairs.append(_noted(pair, forms))
        only_a += [_joined(name_a, array) for array in found_a if array not in members]
        only_b += [_joined(name_b, array) for array in found_b if array not in members.values()]
    if not pairs and left_out:
        problems += left_out
    if problems:
        rest = len(problems) - MOST_PROBLEMS
        more = [f"… and {rest:,} more"] if rest > 0 else []
        if a.is_dir() and len(names) > 1:
            more.append("-s 'GLOB' compares the files whose names match alone")
        raise ConfigError(source, problems[:MOST_PROBLEMS] + more)
    return MatchedTensors(
        pairs=tuple(pairs),
        only_a=tuple(only_a),
        only_b=tuple(only_b),
        left_out=tuple(left_out or ()),
    )


def _refusal(a: Path, b: Path) -> str | None:
    for path in (a, b):
        if not path.exists():
            return f"{path} does not exist"
    if a.samefile(b):
        return "A and B are the same: name the outputs of two programs"
    if a.is_dir() != b.is_dir():
        folder, file = (a, b) if a.is_dir() else (b, a)
        return (
            f"{folder} is a folder, {file} is a file: give two folders, or two files as "
            f"{folder / file.name} and {file}"
        )
    return None


def _files(path: Path, select: Sequence[str]) -> dict[str, Path]:
    return files_below(path, select) if path.is_dir() else {path.name: path}


def _tensors(
    path: Path, form: FileFormat, problems: list[str], left_out: list[str] | None
) -> dict[str, Tensor]:
    """Returns name within the file → tensor; nothing, and a problem more, where it is unusable.

    One that holds no numbers at all is `left_out` where that is a list.
    """
    try:
        return {tensor.member or "": tensor for tensor in tensors(path, form)}
    except NoNumbersError as error:
        (problems if left_out is None else left_out).append(str(error))
        return {}
    except DumpError as error:
        problems.append(str(error))
        return {}


def _joined(name: str, member: str) -> str:
    return f"{name}[{member.removesuffix('.npy')}]" if member else name


def same_names(a: Iterable[str], b: Iterable[str]) -> dict[str, str]:
    """Returns name in A → name in B: equal, or equal but for the suffix where only one is so."""
    in_a, in_b = set(a), set(b)
    found = {name: name for name in in_a & in_b}
    stems_a, stems_b = (_by_stem(names - found.keys()) for names in (in_a, in_b))
    for stem in stems_a.keys() & stems_b.keys():
        if len(stems_a[stem]) == len(stems_b[stem]) == 1:
            found[stems_a[stem][0]] = stems_b[stem][0]
    return dict(sorted(found.items()))


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = {}
    for name in names:
        stems.setdefault(Path(name).with_suffix("").as_posix(), []).append(name)
    return stems


def _same_members(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, str]:
    """As `same_names`; where each file holds one tensor its name does not matter."""
    if len(a) == len(b) == 1:
        return {next(iter(a)): next(iter(b))}
    return {name: name for name in a if name in b}


def _arrays(members: Iterable[str]) -> str:
    return _some(member.removesuffix(".npy") or "one without a name" for member in members)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:3]) or "no files"
    return f"{shown} and {len(listed) - 3:,} more" if len(listed) > 3 else shown


def _problems(pair: TensorPair, forms: Forms) -> list[str]:
    """Returns why the numbers of a pair would mean nothing."""
    problems = [] if any(form.sure for form in forms) else _misread(pair)
    return problems or _sizes(pair) or _axes(pair)  # sizes and axes of misread bytes are no wiser


def _noted(pair: TensorPair, forms: Forms) -> TensorPair:
    """Returns the pair with what its reader should know before its numbers."""
    notes = []
    if pair.a.path.samefile(pair.b.path):
        notes.append("one and the same file in A and in B")
    if any(form.sure for form in forms):
        notes += _misread(pair)
    for tensor in (pair.a, pair.b):
        if tensor.dtype.itemsize == 8:
            notes.append(f"{tensor.where} is float64: rounded to float32, relative error 6e-8")
        if tensor.note:
            notes.append(f"{tensor.where}: {tensor.note}")
    shapes = [_long_axes(tensor.shape) for tensor in (pair.a, pair.b)]
    if all(shapes) and shapes[0] != shapes[1]:
        notes.append(
            f"compared in the order of the files: A is {pair.a.shape}, B is {pair.b.shape}"
        )
    return TensorPair(name=pair.name, a=pair.a, b=pair.b, notes=tuple(notes))


def _misread(pair: TensorPair) -> list[str]:
    """Says what raw files look like, where that is not what they are read as."""
    others = [_likely(tensor) for tensor in (pair.a, pair.b)]
    if not any(others):
        return []
    read = [tensor.dtype for tensor in (pair.a, pair.b)]
    likely = [other or dtype for dtype, other in zip(read, others, strict=True)]
    options = [
        f"{option} {','.join(dict.fromkeys(map(word_of, likely)))}"
        for option, word_of in (("--byte-order", order_of), ("--dtype", lambda dtype: dtype.name))
        if [*map(word_of, likely)] != [*map(word_of, read)]
    ]
    return [
        f"{tensor.where} looks like {looks_like(other)}: read so, its magnitudes make sense, as "
        f"{looks_like(tensor.dtype)} they do not; try {' '.join(options)}"
        for tensor, other in zip((pair.a, pair.b), others, strict=True)
        if other is not None
    ]


def _likely(tensor: Tensor) -> np.dtype[np.floating] | None:
    return other_dtype(sample(tensor), tensor.dtype) if tensor.raw else None


def _sizes(pair: TensorPair) -> list[str]:
    a, b = pair.a, pair.b
    if a.elements == b.elements:
        return []
    return [f"{pair.name}: A has {a.elements:,} elements, B has {b.elements:,}: {_guess(a, b)}"]


def _guess(a: Tensor, b: Tensor) -> str:
    """Says what a difference in size may come from."""
    (side, more), (_, less) = sorted(
        (("A", a), ("B", b)), key=lambda side: side[1].elements, reverse=True
    )
    if more.elements == less.elements + 1:
        return f"{side} has one more, as a loop up to i <= n writes; cut it off"
    for known, unknown, name in ((b, a, "A"), (a, b, "B")):
        if known.shape is not None and unknown.shape is None:
            fitting = " or ".join(map(spelled, shapes_that_fit(unknown.elements, known.shape)))
            if fitting:
                return f"{name} would fit {fitting}, where the other is {spelled(known.shape)}"
    times, rest = divmod(more.elements, less.elements)
    if rest:
        return "are they the same head of the same images?"
    if times == 2 and more.raw:
        word = "float64,float32" if side == "A" else "float32,float64"
        halves = word.replace("float32", "float16").replace("float64", "float32")
        return (
            f"{side} has 2 times as many: 2 times the images, doubles there (--dtype {word}) "
            f"or half floats in the other (--dtype {halves})?"
        )
    return f"{side} has {times:,} times as many: that many times the images?"


def _axes(pair: TensorPair) -> list[str]:
    """Refuses shapes that differ in the order of their axes: such numbers do not belong together."""
    a, b = (_long_axes(tensor.shape) for tensor in (pair.a, pair.b))
    if a == b or sorted(a) != sorted(b):
        return []
    return [
        f"{pair.name}: A is {pair.a.shape}, B is {pair.b.shape}: the same axes in another order; "
        "where one has its channels last, try --layout nhwc,nchw or nchw,nhwc, or else transpose it"
    ]


def _long_axes(shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Returns the axes that are longer than 1: the others change no order."""
    return tuple(axis for axis in shape or () if axis > 1)
