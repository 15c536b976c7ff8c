"""Which files of a folder are of one head, as far as their names tell."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

_ARRAY = re.compile(r"(?P<file>.*)\[(?P<array>[^\[\]]*)\]", re.DOTALL)
_LAST = re.compile(r"[._-](?!\d+$)[^._-]+$")
_FIRST = re.compile(r"(?!\d+[._-])[^._-]+[._-]")


def grouped(names: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Returns glob → places in `names` of the files that it stands for, at least two each.

    Tried are, in this order: the arrays' names (`x.npz[small]`), the last folder (`small/0.bin`), the last
    word of the names (`0_small.bin`), the first (`small_0.bin`). Taken is the first by which there are
    several heads with the same number of files; a word of digits counts images, and is no head.
    """
    for called, head_of in (
        ("*[{}]", _array),
        ("{}/*", _folder),
        ("*{}.*", _last_word),
        ("{}*", _first_word),
    ):
        groups: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            if (head := head_of(name)) is None:
                break
            groups.setdefault(head, []).append(place)
        else:
            sizes = {len(places) for places in groups.values()}
            if len(groups) > 1 and len(sizes) == 1 and min(sizes) > 1:
                return {called.format(head): places for head, places in groups.items()}
    return {}


def _array(name: str) -> str | None:
    match = _ARRAY.fullmatch(name)
    return match["array"] if match else None


def _folder(name: str) -> str | None:
    parent = PurePosixPath(name).parent
    return None if parent == PurePosixPath() else str(parent)


def _last_word(name: str) -> str | None:
    match = _LAST.search(PurePosixPath(name).stem)
    return match[0] if match else None


def _first_word(name: str) -> str | None:
    match = _FIRST.match(PurePosixPath(name).stem)
    return match[0] if match else None
