"""What can differ between two cells, from what was found inside: versions, devices, options.

Only what the process really mapped is a factor: an installed cuDNN that was never loaded decided
nothing. Versions that always come together are one factor: an engine with its own package, CUDA
with cuBLAS and the rest of the toolkit.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trt_matrix.core.qdq.placements import placed_of
from trt_matrix.core.records import Start


class EffectKind(StrEnum):
    """What an effect is about: decides which factors can matter for it."""

    ENGINE = "engine"
    """The numbers of the engine, at the same scales."""
    CALIBRATOR = "calibrator"
    """The table that an environment made."""
    LATENCY = "latency"


ENGINE = "engine"
PROVIDER = "option provider"
ACTIVATIONS = "type of activations"
OUTPUTS = "outputs of int8"
CHOSEN = frozenset({ACTIVATIONS, OUTPUTS})
"""Factors that were chosen here, for a processor or by matrix.yaml, and come with no version."""
TITLES = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
"""Engine → what the factor is called where both cells have it."""

FAMILIES = {
    "TensorRT": re.compile(r"lib(nvinfer|nvonnxparser)"),
    "TensorRT-RTX": re.compile(r"libtensorrt(_onnxparser)?_rtx"),
    "cuDNN": re.compile(r"libcudnn"),
    "CUDA": re.compile(r"lib(cudart|cublas|cufft|curand|cusparse|cusolver|nvrtc)"),
    "driver": re.compile(r"libcuda\.so"),
    "C++ library": re.compile(r"libstdc\+\+"),
    "OpenMP": re.compile(r"lib(gomp|iomp)"),
    "MKL": re.compile(r"libmkl"),
    "oneDNN": re.compile(r"libdnnl"),
}
"""Factor → the libraries, by base name, whose versions together are its value."""

ENGINE_LIBRARY = re.compile(r"lib(nvinfer|onnxruntime|tensorrt_)|onnxruntime")
"""The engine itself, by base name: what lies in one folder with it came with it."""

VARIABLES = ("CUDA_MODULE_LOADING", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS")
"""Environment variables that are factors, beside all that matrix.yaml states; images set many more
that only repeat versions."""

LEADING = {"cuDNN": re.compile(r"libcudnn\."), "CUDA": re.compile(r"libcudart")}
"""Factor → the library whose version stands for all of it."""
SONAME = re.compile(r"\.so\.([0-9.]+)$")
WHOLE = ("driver", "GPU")
"""Factors that are shown as they are."""

PASSIVE = "the engine computes; this only hands float32 arrays to it and back"
ARITHMETIC = "tables are computed by the engine and numpy; Python only calls them"
HARMLESS: Mapping[EffectKind, Mapping[str, str]] = {
    EffectKind.ENGINE: {"Python": PASSIVE, "numpy": PASSIVE},
    EffectKind.CALIBRATOR: {"Python": ARITHMETIC},
    EffectKind.LATENCY: {},
}
"""What cannot matter, and why. Everything else can: a factor is innocent only where that is known."""

NOT_MAPPED = "installed, but not mapped into the process"
WITH_THE_ENGINE = "only one of the two loads it: a part of that change"


@dataclass(frozen=True, slots=True)
class Library:
    """A shared library that the process mapped."""

    path: str
    version: str | None
    package: str | None
    """The distribution that installed it."""
    size_bytes: int | None

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """`libcudnn` of `libcudnn.so.8.9.2`."""
        return self.name.partition(".so")[0]

    @property
    def known_version(self) -> str:
        """Its version; where nobody knows, its size stands for that."""
        return self.version or f"{self.size_bytes} bytes"

    @property
    def family(self) -> str | None:
        """The factor that it belongs to."""
        families = (family for family, known in FAMILIES.items() if known.match(self.name))
        return next(families, None)


@dataclass(frozen=True)
class Factors:
    """The factors of one cell's place: an environment on a device."""

    values: Mapping[str, str]
    """factor → value; a library that was not mapped, or a GPU on a CPU, is absent."""
    installed: Mapping[str, str]
    """Distribution → version, of those that were not mapped."""
    stated: frozenset[str] = frozenset()
    """Factors that somebody set in matrix.yaml: no engine brings them along."""

    @functools.cached_property
    def _key(self) -> tuple[object, ...]:
        return tuple(sorted(self.values.items())), tuple(sorted(self.installed.items()))

    def __hash__(self) -> int:
        return hash(self._key)


@dataclass(frozen=True, slots=True)
class FactorDifference:
    """What tells two places apart."""

    factors: frozenset[str]
    harmless: Mapping[str, str]
    """What differs too and cannot matter → why."""


def factors(start: Start, placement: str | None = None) -> Factors:
    """Reads the factors from what was probed; what is unknown is absent, in old records more.

    Of an int8 cell the placement counts: the type of its activations decides which kernels run.
    """
    placed = placed_of(placement or "")
    probe = start.probe
    engine = _mapping(probe.get("engine"))
    installed = _texts(probe.get("packages"))
    # Before libraries were probed with their packages, numpy was mapped all the same: the job needs it.
    loaded = packages(start) or {name: installed[name] for name in installed if name == "numpy"}
    mapped = libraries(start)
    stated = _texts(start.identity.get("variables"))
    variables = {f"variable {name}": value for name, value in stated.items()}
    values = {
        ENGINE: _engine(engine),
        ACTIVATIONS: str(placed.activations) if placed and placed.engine == "onnxruntime" else None,
        OUTPUTS: placed.outputs if placed else None,
        "Python": _joined(probe.get("implementation"), probe.get("python")),
        "libc": _text(probe.get("libc")),
        "processor": _processor(probe),
        "GPU": _gpu(_mapping(probe.get("gpu"))),
        **_families(mapped, engine_name(start)),
        **_packages(loaded, mapped, engine_name(start)),
        **{
            f"variable {name}": _text(value)
            for name, value in _mapping(probe.get("environment")).items()
            if name in VARIABLES
        },
        **variables,
        **_folders(mapped, start.identity),
        **dict(_options(options(start))),
        **_texts(probe.get("stated")),
    }
    return Factors(
        values={name: value for name, value in values.items() if value},
        installed={name: version for name, version in installed.items() if name not in loaded},
        stated=frozenset(variables),
    )


def difference(one: Factors, other: Factors, question: EffectKind) -> FactorDifference:
    """Returns the factors of which the two have different values, as far as they can matter.

    A library that only one of the two mapped is no factor of its own where the engine or its
    provider differs as well: which libraries an engine loads is a property of the engine.
    """
    innocent = HARMLESS[question]
    values, others = one.values, other.values
    replaced = any(values.get(name) != others.get(name) for name in (ENGINE, PROVIDER))
    kept = {PROVIDER, *one.stated, *other.stated}
    differing: set[str] = set()
    harmless: dict[str, str] = {}
    for name in sorted(values.keys() | others.keys()):
        if values.get(name) == others.get(name):
            continue
        if name in innocent:
            harmless[name] = innocent[name]
        elif replaced and name not in kept and (name not in values or name not in others):
            harmless[name] = WITH_THE_ENGINE
        else:
            differing.add(name)
    both = one.installed.keys() & other.installed.keys()
    for name in sorted(both):
        if one.installed[name] != other.installed[name]:
            harmless.setdefault(name, NOT_MAPPED)
    return FactorDifference(frozenset(differing), harmless)


def title(factor: str, one: Factors, other: Factors) -> str:
    """Returns what to call a factor: the engine by its name where both have the same."""
    if factor != ENGINE:
        return factor
    names = {each.values.get(ENGINE, "").split(" ")[0] for each in (one, other)}
    name = names.pop() if len(names) == 1 else ENGINE
    return TITLES.get(name, name) or ENGINE


def versions(start: Start) -> Mapping[str, str]:
    """Returns `TensorRT`, `cuDNN`, `CUDA`, `driver`, `GPU` → version; what was not there is absent."""
    values = factors(start).values
    name = engine_name(start)
    engine = values.get(ENGINE, "").split(" ")
    named = {TITLES.get(name, name): engine[1]} if name and len(engine) > 1 else {}
    mapped = libraries(start)
    for factor, pattern in LEADING.items():
        if factor in values and (version := _version(mapped, pattern)):
            named[factor] = version
    return named | {factor: values[factor] for factor in WHOLE if factor in values}


def _version(mapped: Iterable[Library], pattern: re.Pattern[str]) -> str | None:
    """Returns the version of the first library of this name; the major that its name ends in, at least."""
    for library in mapped:
        if pattern.match(library.name):
            soname = SONAME.search(library.name)
            return library.version or (soname[1] if soname else None)
    return None


# What was probed, as far as it has the form that it should: what a job wrote may be anything


def libraries(start: Start) -> list[Library]:
    """Returns the shared libraries that the process had mapped."""
    listed = _mapping(start.probe.get("mapped")).get("libraries")
    return [
        Library(
            path=path,
            version=_text(library.get("version")),
            package=_text(library.get("package")),
            size_bytes=size if isinstance(size := library.get("size_bytes"), int) else None,
        )
        for library in map(_mapping, listed if isinstance(listed, list) else ())
        if (path := _text(library.get("path")))
    ]


def packages(start: Start) -> dict[str, str]:
    """Returns the distributions that have a library mapped → version."""
    return _texts(_mapping(start.probe.get("mapped")).get("packages"))


def engine_name(start: Start) -> str:
    return _text(_mapping(start.probe.get("engine")).get("name")) or ""


def options(start: Start) -> Mapping[str, Any]:
    """Returns the options that the engine was given."""
    return _mapping(_mapping(start.probe.get("engine")).get("options"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: Any) -> dict[str, str]:
    return {name: text for name, text in _mapping(value).items() if isinstance(text, str)}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


# Values


def _engine(engine: Mapping[str, Any]) -> str | None:
    """Returns `onnxruntime 1.26.0 (387127404e)`: a build of one's own has the same version."""
    commit = re.search(r"git-commit-id=(\w+)", _text(engine.get("build")) or "")
    built = f"({commit.group(1)})" if commit else None
    return _joined(engine.get("name"), engine.get("version"), built)


def _processor(probe: Mapping[str, Any]) -> str | None:
    flags = probe.get("processor_flags")
    return _joined(
        probe.get("processor"),
        probe.get("machine"),
        *(flags if isinstance(flags, list) else ()),
        f"cores={probe['usable_cores']}" if probe.get("usable_cores") else None,
    )


def _gpu(gpu: Mapping[str, Any]) -> str | None:
    """Returns model and compute capability: two cards of one model compute alike."""
    return _joined(gpu.get("name"), gpu.get("compute_capability"))


def _families(mapped: Iterable[Library], engine: str) -> Mapping[str, str | None]:
    versions: dict[str, dict[str, str]] = {}
    for library in mapped:
        if library.family and TITLES.get(engine) != library.family:
            versions.setdefault(library.family, {})[library.stem] = library.known_version
    # One version where all libraries agree, as cuDNN's do; else each with its own.
    return {
        name: next(iter(parts.values()))
        if len(set(parts.values())) == 1
        else ", ".join(f"{stem} {version}" for stem, version in sorted(parts.items()))
        for name, parts in versions.items()
    }


def _folders(mapped: Sequence[Library], identity: Mapping[str, Any]) -> Mapping[str, str | None]:
    """Returns what an interpreter with stated folders mapped and no other factor stands for.

    Nothing of the engine's own folder: a tar file of TensorRT holds much that changes with it. The
    folders themselves do not count, only what was mapped: the same file may lie elsewhere.
    """
    if not _mapping(identity.get("libraries")):
        return {}
    engines = {library.folder for library in mapped if ENGINE_LIBRARY.match(library.name)}
    return {
        f"library {library.stem}": library.known_version
        for library in mapped
        if library.folder not in engines and library.family is None and library.package is None
    }


def _packages(
    loaded: Mapping[str, str], mapped: Iterable[Library], engine: str
) -> Mapping[str, str | None]:
    """Returns the mapped packages that no other factor stands for already."""
    stood_for = {library.package for library in mapped if library.family}
    return {
        name: version
        for name, version in loaded.items()
        if name not in stood_for
        and not (engine and name.lower().replace("_", "-").startswith(engine))
    }


def _options(given: Mapping[str, Any], prefix: str = "option") -> Iterable[tuple[str, str]]:
    """Yields every option of the engine as a factor: `option session_config session.x`."""
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from _options(value, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", str(value)


def _joined(*parts: Any) -> str | None:
    return " ".join(str(part) for part in parts if part) or None
