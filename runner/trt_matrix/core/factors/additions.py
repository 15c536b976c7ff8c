"""Cells to add: entries of matrix.yaml that tell factors apart which so far changed together.

From one environment to another over k factors, k − 1 cells between are enough: each takes one
factor more from the other. An entry is written from what an environment stated of itself, all else
pinned, so that it differs in that factor alone.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trt_matrix.core.factors.cell_factors import ENGINE, engine_name, options, packages
from trt_matrix.core.factors.container_additions import crossed
from trt_matrix.core.factors.places import Entry, FactorPoint, line
from trt_matrix.core.verdicts.attribution import Addition

REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
PINNED = re.compile(r"(onnxruntime|onnxruntime-gpu)==([0-9][A-Za-z0-9._+-]*)")
"""What an entry can say in short: a package and its version."""
NAME_LENGTH = 60


def addition(
    place: FactorPoint, other: FactorPoint, confounded: Collection[str], *, uniform: Collection[str]
) -> Addition:
    """Returns the fewest cells that separate `confounded`, the factors that `other` changed.

    `place` is the nearer to the baseline. An entry need not state factors that are `uniform` in all of the
    matrix.
    """
    if place.stated.get("kind") == other.stated.get("kind") == "image":
        return crossed(place, other, confounded)
    there = _entries(place, other, confounded, uniform)
    entries = max(there, _entries(other, place, confounded, uniform), key=len)
    separated = [factor for factor, _ in entries]
    left = sorted(set(confounded) - set(separated))
    return Addition(
        yaml="\n".join(line(entry) for _, entry in entries) or None,
        names=tuple("-".join([entry["name"], *entry.get("versions", ())]) for _, entry in entries),
        left=tuple(left) if len(left) > 1 else (),
    )


def _entries(
    base: FactorPoint, target: FactorPoint, confounded: Collection[str], uniform: Collection[str]
) -> list[tuple[str, Entry]]:
    """Returns (factor, the entry that takes it from `target` too), each on top of those before."""
    entries: list[tuple[str, Entry]] = []
    # A new engine often installs with an old library, the inverse seldom does: so it goes last.
    for factor in sorted(confounded, key=lambda name: (name == ENGINE, name)):
        if len(entries) == len(confounded) - 1:
            break
        taken = [*(before for before, _ in entries), factor]
        if entry := _entry(base, target, taken, confounded, uniform):
            entries.append((factor, entry))
    return entries


def _entry(
    base: FactorPoint,
    target: FactorPoint,
    taken: Sequence[str],
    confounded: Collection[str],
    uniform: Collection[str],
) -> Entry | None:
    """Returns `base` with the factors `taken` as in `target`; None where no entry can say that."""
    kinds = [place.stated.get("kind") for place in (base, target)]
    if kinds == ["venv", "venv"]:
        entry = _venv(base, target, taken)
    elif kinds == ["interpreter", "interpreter"]:
        entry = _interpreter(base, target, taken)
    else:
        return None
    if entry is None:
        return None
    if not all(value in uniform for value in base.factors.values if value.startswith("option ")):
        entry["options"] = _overlaid(options(base.start), options(target.start), taken)
    if "Python" in uniform:
        entry.pop("python", None)
    entry["name"] = _name(entry, base, target, taken, confounded)
    return entry


def _venv(base: FactorPoint, target: FactorPoint, taken: Sequence[str]) -> Entry | None:
    stated, others = _requirements(base), _requirements(target)
    engine, theirs = engine_name(base.start), packages(target.start)
    mapped = packages(base.start)
    pins = {name: f"{name}=={mapped[name]}" for name in mapped if not name.startswith(engine)}
    python = base.start.probe.get("python")
    for factor in taken:
        if factor == ENGINE:
            mine, its = (
                {name for name in each if name.startswith(engine)} for each in (stated, others)
            )
            if not mine or mine != its:
                return None
            stated |= {name: others[name] for name in mine}
        elif factor == "Python":
            python = target.start.probe.get("python")
        elif behind := [factor] if factor in theirs else _packages_behind(target, factor):
            pins |= {name: f"{name}=={theirs[name]}" for name in behind}
        elif not factor.startswith("option "):
            return None
    wanted = list({**stated, **pins}.values())
    for index, requirement in enumerate(wanted):
        if short := PINNED.fullmatch(requirement):
            rest = wanted[:index] + wanted[index + 1 :]
            entry: Entry = {"venv": short.group(1), "versions": [short.group(2)], "python": python}
            return entry | ({"with": rest} if rest else {})
    return {"venv": {"requirements": wanted}, "python": python}


def _packages_behind(place: FactorPoint, factor: str) -> list[str]:
    """Returns the packages that a library's factor came with; none where one came without."""
    names = {library.package for library in place.libraries(factor)}
    return [] if None in names else sorted(name for name in names if name)


def _interpreter(base: FactorPoint, target: FactorPoint, taken: Sequence[str]) -> Entry | None:
    folders = list(base.stated.get("libraries", {}))
    variables = dict(base.stated.get("variables", {}))
    for factor in taken:
        if mapped := [library for library in target.libraries(factor) if library.package is None]:
            taken_from = sorted({library.folder for library in mapped})
            folders = [*taken_from, *(folder for folder in folders if folder not in taken_from)]
        elif factor.startswith("variable ") and factor in target.factors.values:
            variables[factor.removeprefix("variable ")] = target.factors.values[factor]
        elif not factor.startswith("option "):
            return None
    engine = engine_name(base.start)
    stated = {
        "interpreter": base.stated.get("executable"),
        "engine": "" if engine == "onnxruntime" else engine,
        "library_path": folders,
        "env": variables,
    }
    return {key: value for key, value in stated.items() if value or key == "interpreter"}


def _requirements(place: FactorPoint) -> dict[str, str]:
    """Returns name → requirement, as stated in matrix.yaml."""
    stated = place.stated.get("requirements", ())
    return {match.group(1): text for text in stated if (match := REQUIREMENT.match(text))}


def _overlaid(
    mine: Mapping[str, Any], its: Mapping[str, Any], taken: Sequence[str], prefix: str = "option"
) -> dict[str, Any]:
    """Returns the options of one, those among `taken` as the other has them."""
    result: dict[str, Any] = {}
    for name in dict.fromkeys((*mine, *its)):
        factor = f"{prefix} {name}"
        source = its if factor in taken else mine
        if isinstance(mine.get(name), Mapping) and isinstance(its.get(name), Mapping):
            result[name] = _overlaid(mine[name], its[name], taken, factor)
        elif name in source:
            result[name] = source[name]
    return result


def _name(
    entry: Entry,
    base: FactorPoint,
    target: FactorPoint,
    taken: Sequence[str],
    confounded: Collection[str],
) -> str:
    """Returns `ort-numpy-1.26.4`: the prefix of ids where the entry states versions, else the id."""
    prefix, named = base.environment, list(taken)
    if versions := entry.get("versions"):
        # The id goes on with the engine's version, so the name tells all else that was confounded.
        own = _requirements(base).get(entry["venv"], "").rpartition("==")[2]
        prefix = prefix.removesuffix(f"-{own}")
        named = [factor for factor in sorted(confounded) if factor != ENGINE]
        named = named or [f"engine {versions[0]}"]
    parts = []
    for factor in named:
        values = (target if factor in taken else base).factors.values
        parts.append(f"{factor.split(' ')[-1]}-{values.get(factor, 'none').split(' ')[-1]}")
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", "-".join([prefix, *parts]))
    return name[:NAME_LENGTH].strip("-")
