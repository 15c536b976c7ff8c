"""NVIDIA's TensorRT containers: containers/catalog.yaml as typed rows, and how matrix.yaml picks some.

A row says what was published about a container. What the container reports about itself wins
(`reported`, `corrected`), and `differences` says where the two disagree.
"""

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet

from trt_matrix.containers.job import protocol
from trt_matrix.core.hosts.compatibility import ImageFacts, capability, capability_range, version

CATALOG = Path(protocol.__file__).resolve().parents[1] / "catalog.yaml"

REPOSITORY = "nvcr.io/nvidia/tensorrt"

TAG = re.compile(r"\d\d\.\d\d-py3")

UNPACKED = 2.0
"""Bytes on disk per byte pulled, at most: 2.0 for 24.08 and 1.7 for 25.01."""


@functools.cache
def rows() -> tuple[ImageFacts, ...]:
    """Returns every container of the catalogue, oldest first."""
    # The same as yaml.safe_load, ten times faster where libyaml is there.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    read = yaml.load(CATALOG.read_text(encoding="utf-8"), loader)  # noqa: S506  (both are safe)
    return completed(read["containers"])


def completed(raw: Sequence[Mapping[str, Any]]) -> tuple[ImageFacts, ...]:
    """Returns rows with what follows from the months around them.

    One CUDA release has one driver and one compatibility package, so what is known of one container
    holds for the others with it; and an image takes about what its neighbours take.
    """
    stated = [row.get("cuda") for row in raw]
    releases = _filled([_release(cuda) for cuda in stated])
    majors = _filled([release and release.partition(".")[0] for release in releases])
    drivers = _by_release(releases, [row.get("min_driver") for row in raw])
    branches = _by_release(releases, [row.get("min_driver_tesla") for row in raw])
    sizes = [_size_gb(row) for row in raw]
    facts = []
    for n, row in enumerate(raw):
        cuda, release, major = stated[n] or releases[n], releases[n], majors[n]
        oldest, newest = capability_range(row["tensorrt"], cuda)
        facts.append(
            ImageFacts(
                tag=row["tag"],
                tensorrt=row["tensorrt"],
                cuda=cuda,
                cuda_major=int(major) if major else None,
                cudnn=row.get("cudnn"),
                python=row.get("python"),
                driver_min=row.get("min_driver") or drivers.get(release),
                driver_branches=tuple(row.get("min_driver_tesla") or branches.get(release) or ()),
                capability_min=_capability(row, "compute_capability_min") or oldest,
                capability_max=_capability(row, "compute_capability_max") or newest,
                size_bytes=_near(sizes, n),
                confidence=row["confidence"],
                reference=f"{REPOSITORY}:{row['tag']}",
            )
        )
    return tuple(facts)


def _release(cuda: str | None) -> str | None:
    """Returns `11.7` of `11.7 Update 1`."""
    return ".".join(map(str, version(cuda).release[:2])) if cuda else None


def _filled(values: Sequence[str | None]) -> list[str | None]:
    """Returns the values, and for those not known what the rows before and after agree on."""
    return [value or _between(values, n) for n, value in enumerate(values)]


def _between(values: Sequence[str | None], place: int) -> str | None:
    before = next((value for value in reversed(values[:place]) if value), None)
    after = next((value for value in values[place + 1 :] if value), None)
    return before if before == after else None


def _by_release(releases: Sequence[str | None], values: Sequence[Any]) -> dict[str | None, Any]:
    """Returns CUDA release → the last value told of it."""
    pairs = zip(releases, values, strict=True)
    return {release: value for release, value in pairs if release and value}


def _size_gb(row: Mapping[str, Any]) -> float | None:
    if "size_gb" in row:
        return float(row["size_gb"])
    return float(row["download_gb"]) * UNPACKED if "download_gb" in row else None


def _near(sizes: Sequence[float | None], place: int) -> int | None:
    """Returns the size on disk in bytes, or the larger one of the nearest known before and after."""
    if (own := sizes[place]) is not None:
        return int(own * 1e9)
    before = next((size for size in reversed(sizes[:place]) if size), 0.0)
    after = next((size for size in sizes[place + 1 :] if size), 0.0)
    return int(max(before, after) * 1e9) or None


def _capability(row: Mapping[str, Any], field: str) -> tuple[int, int] | None:
    return capability(row[field]) if row.get(field) else None


# Selectors


def newest_of_each(depth: int, tensorrt: str | None = None) -> tuple[str, ...]:
    """Returns the newest tag of each TensorRT release, oldest first; no release candidates.

    `depth` is how much of the version makes a release: 1 the major, 2 the minor version; `tensorrt` a range such as
    `>=6,<11`, None for all.
    """
    wanted = SpecifierSet(tensorrt or "")
    newest: dict[tuple[int, ...], str] = {}
    for row in rows():
        release = version(row.tensorrt or "0")
        if not release.is_prerelease and release in wanted:
            newest[release.release[:depth]] = row.tag or ""
    return tuple(newest.values())


def range_problem(tensorrt: str) -> str | None:
    """Returns why a TensorRT range selects nothing; None where it selects some."""
    try:
        newest = newest_of_each(2, tensorrt)
    except ValueError:
        return f"{tensorrt!r:.60} is no range of versions; such as '>=6,<11' or '==8.6.*'"
    if newest:
        return None
    known = [row.tensorrt for row in rows()]
    return f"no container has TensorRT {tensorrt:.60}; there are {known[0]} to {known[-1]}"


def find(tag: str) -> ImageFacts | None:
    """Returns the row of a tag.

    A month after the newest row is taken for that row's successor: it exists or will, and whether
    it can be pulled is found out by pulling.
    """
    known = {row.tag: row for row in rows()}
    newest = rows()[-1]
    if tag not in known and TAG.fullmatch(tag) and tag > (newest.tag or ""):
        return ImageFacts(
            tag=tag,
            tensorrt=newest.tensorrt,
            cuda=newest.cuda,
            cuda_major=newest.cuda_major,
            capability_min=newest.capability_min,
            size_bytes=newest.size_bytes,
            confidence="inferred",
            reference=f"{REPOSITORY}:{tag}",
        )
    return known.get(tag)


def unknown(tag: str) -> str:
    """Says that a tag is unknown, and which one was meant or comes nearest."""
    tags = [row.tag or "" for row in rows()]
    message = f"unknown tag {tag!r:.60}: {CATALOG.name} has no such container"
    if TAG.fullmatch(tag):
        before = [known_tag for known_tag in tags if known_tag < tag][-1:]
        after = [known_tag for known_tag in tags if known_tag > tag][:1]
        return f"{message}; the nearest: {' and '.join(before + after)}"
    close = difflib.get_close_matches(tag[:60], tags, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {tags[0]} to {tags[-1]}"
    return f"{message}; {hint}"


# What a container reports about itself

LABELS = {
    "tensorrt": "com.nvidia.tensorrt.version",
    "cuda": "com.nvidia.cuda.version",
    "cudnn": "com.nvidia.cudnn.version",
}
VARIABLES = {"tensorrt": "TENSORRT_VERSION", "cuda": "CUDA_VERSION", "cudnn": "CUDNN_VERSION"}
PROBE = ("tensorrt", "cuda", "cudnn", "python")


def reported(labels: Mapping[str, str], variables: Iterable[str] = ()) -> Mapping[str, str]:
    """Returns the versions in an image's labels and variables (`NAME=value`), without starting it."""
    env = dict(variable.partition("=")[::2] for variable in variables)
    facts = {}
    for field, label in LABELS.items():
        value = labels.get(label) or env.get(VARIABLES[field]) or ""
        if re.match(r"\s*v?\d", value):
            facts[field] = value.strip()
    return facts


def differences(row: ImageFacts, facts: Mapping[str, str]) -> tuple[str, ...]:
    """Says where a container disagrees with its row; a longer version of the same is no difference."""
    differing = []
    for field in PROBE:
        listed, real = getattr(row, field), facts.get(field)
        if listed and real and not _same(listed, real):
            differing.append(f"{field} is {real}, the catalogue says {listed}")
    return tuple(differing)


def corrected(row: ImageFacts, facts: Mapping[str, str]) -> ImageFacts:
    """Returns the row with what the container reports in place of what was published."""
    if not any(facts.get(field) for field in PROBE):
        return row
    cuda, tensorrt = facts.get("cuda") or row.cuda, facts.get("tensorrt") or row.tensorrt
    # The driver belongs to the CUDA release: another release, another driver, which nobody told.
    known = cuda == row.cuda or (cuda and row.cuda and _release(cuda) == _release(row.cuda))
    oldest, newest = capability_range(tensorrt, cuda)
    return dataclasses.replace(
        row,
        tensorrt=tensorrt,
        cuda=cuda,
        cuda_major=version(cuda).major if cuda else row.cuda_major,
        cudnn=facts.get("cudnn") or row.cudnn,
        python=facts.get("python") or row.python,
        driver_min=row.driver_min if known else None,
        driver_branches=row.driver_branches if known else (),
        capability_min=oldest,
        capability_max=newest,
        confidence="reported",
    )


def _same(listed: str, real: str) -> bool:
    parts = [version(written_version).release for written_version in (listed, real)]
    length = min(map(len, parts))
    return parts[0][:length] == parts[1][:length]
