"""Writes what real TensorRT bindings offer into tests/data/tensorrt_surfaces/surfaces.json.

    pip download --no-deps --python-version 3.10 -d WHEELS tensorrt-bindings==8.6.1 …
    python tests/contract/extract_surfaces.py --python python3.10 WHEELS/*.whl

The bindings are one extension module. Its few undefined symbols (the entry points of libnvinfer and
of the parsers) are defined by stub libraries made here with gcc, so that it can be imported where
neither TensorRT nor a GPU is; nothing of TensorRT is ever called.
"""

import argparse
import json
import re
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
SURFACES = HERE.parent / "data" / "tensorrt_surfaces" / "surfaces.json"

CLASSES = (
    "Builder", "BuilderFlag", "CalibrationAlgoType", "DataType", "EngineInspector", "IBuilderConfig",
    "ICudaEngine", "IExecutionContext", "IHostMemory", "IInt8Calibrator", "IInt8EntropyCalibrator",
    "IInt8EntropyCalibrator2", "IInt8LegacyCalibrator", "IInt8MinMaxCalibrator", "ILayer", "ILogger",
    "ILogger.Severity",
    "INetworkDefinition", "IOptimizationProfile", "IPluginRegistry", "IProfiler", "ITensor",
    "ITimingCache", "LayerInformationFormat", "LayerType", "Logger", "MemoryPoolType",
    "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError", "ProfilingVerbosity", "Runtime",
    "TacticSource", "TensorIOMode", "UffParser",
)  # fmt: skip
"""What an adapter may need; everything else of the module is known by name only."""

# Runs in the interpreter that the wheel is for.
LISTING = r"""
import inspect, json, operator, sys
sys.path.insert(0, sys.argv[1])
module = __import__(sys.argv[2])
def members(kind):
    enum = getattr(kind, "__members__", None)
    for name in sorted(dir(kind)):
        if name.startswith("_") and name != "__init__":
            continue
        if enum and name in enum:
            yield name, str(int(enum[name]))
            continue
        value = inspect.getattr_static(kind, name)
        yield name, "attribute" if isinstance(value, property) else (getattr(kind, name).__doc__ or "")
surface = {"": {name: "" for name in dir(module) if not name.startswith("_")}}
for name in sys.argv[3].split(","):
    if hasattr(module, name.split(".")[0]):
        surface[name] = dict(members(operator.attrgetter(name)(module)))
json.dump({"version": module.__version__, "surface": surface}, sys.stdout)
"""


def extract(wheel: Path, python: str) -> tuple[str, dict[str, dict[str, str]]]:
    """Returns the version of a wheel, and class → name → signature, enum value or `attribute`.

    Class "" stands for the module.
    """
    with tempfile.TemporaryDirectory() as folder:
        bindings = unpacked(wheel, Path(folder))
        done = subprocess.run(
            [
                python,
                "-W",
                "ignore",
                "-c",
                LISTING,
                folder,
                bindings.parent.name,
                ",".join(CLASSES),
            ],
            env={"LD_LIBRARY_PATH": folder, "PATH": "/usr/bin:/bin"},
            check=True,
            stdout=subprocess.PIPE,
        )
    told = json.loads(done.stdout)
    surface = {
        kind: {name: signature(text, name) for name, text in names.items()}
        for kind, names in told["surface"].items()
    }
    return told["version"], surface


def unpacked(wheel: Path, folder: Path) -> Path:
    """Returns the extension module of a wheel, unpacked into `folder` beside stub libraries."""
    with zipfile.ZipFile(wheel) as archive:
        wanted = [
            name
            for name in archive.namelist()
            if name.startswith(("tensorrt/", "tensorrt_bindings/"))
            and (name.endswith(".py") or re.fullmatch(r"[^/]*/tensorrt[^/]*\.so", name))
        ]
        archive.extractall(folder, wanted)
    (bindings,) = folder.glob("tensorrt*/tensorrt*.so")
    stub_libraries(bindings, folder)
    return bindings


def stub_libraries(bindings: Path, folder: Path) -> None:
    """Makes the NVIDIA libraries that `bindings` needs: every function in them returns 0."""
    dynamic = _output("readelf", "--dynamic", "--wide", str(bindings))
    needed = re.findall(r"Shared library: \[(libnv[^\]]*)\]", dynamic)
    symbols = re.findall(
        r" U (\S+)$", _output("nm", "--dynamic", "--undefined-only", str(bindings)), re.MULTILINE
    )
    ours = [
        name for name in symbols if "@" not in name and not name.startswith(("Py", "_Py", "dl"))
    ]
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in ours))
    for library in needed:
        soname = f"-Wl,-soname,{library}"
        _output("gcc", "-shared", "-fPIC", soname, "-o", str(folder / library), str(source))


def signature(text: str, name: str) -> str:
    """Returns the signatures in a pybind docstring, without what differs between builds only.

    `set_flag(self: tensorrt.tensorrt.IBuilderConfig, flag: tensorrt.tensorrt.BuilderFlag) -> None`
    becomes `(self: IBuilderConfig, flag: BuilderFlag) -> None`.
    """
    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if re.match(rf"(?:\d+\. )?{re.escape(name)}\(.*", line)]
    overloads = found[1:] if "Overloaded function." in lines else found[:1]
    if not overloads:
        return "attribute" if text == "attribute" else text if text.isdigit() else ""
    return " | ".join(_plain(line[line.index("(") :]) for line in overloads)


def _plain(text: str) -> str:
    text = re.sub(r"\b(?:tensorrt|tensorrt_bindings)\.(?:tensorrt\.)?", "", text)
    text = re.sub(r"\b(?:typing|typing_extensions|collections\.abc)\.", "", text)
    for new, old in (
        ("SupportsInt | SupportsIndex", "int"),
        ("SupportsInt", "int"),
        ("SupportsFloat | SupportsIndex", "float"),
        ("SupportsFloat", "float"),
        ("Sequence[", "List["),
        ("list[", "List["),
        ("Buffer", "buffer"),
    ):
        text = text.replace(new, old)
    return re.sub(r"<(\w+)\.(\w+): \d+>", r"\1.\2", text)


def merged(surfaces: dict[str, dict[str, dict[str, str]]]) -> dict[str, dict[str, list[list[str]]]]:
    """Returns class → name → [[first version, last version, signature]], runs in version order."""
    versions = list(surfaces)
    result: dict[str, dict[str, list[list[str]]]] = {}
    for index, version in enumerate(versions):
        for kind, names in surfaces[version].items():
            for name, text in names.items():
                runs = result.setdefault(kind, {}).setdefault(name, [])
                if runs and runs[-1][1:] == [versions[index - 1], text]:
                    runs[-1][1] = version
                else:
                    runs.append([version, version, text])
    return result


def write(surfaces: dict[str, dict[str, dict[str, str]]], target: Path) -> None:
    """Writes one line a name."""
    classes = merged(surfaces)
    lines = [
        f" {json.dumps(kind)}: {{\n"
        + ",\n".join(
            f"  {json.dumps(name)}: {json.dumps(runs)}" for name, runs in sorted(names.items())
        )
        + "\n }"
        for kind, names in sorted(classes.items())
    ]
    versions = json.dumps(list(surfaces))
    target.write_text(
        f'{{"versions": {versions},\n"classes": {{\n' + ",\n".join(lines) + "\n}}\n",
        encoding="utf-8",
    )


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def number(version: str) -> tuple[int, ...]:
    """Returns a version for sorting: `10.14.1.48.post1` → (10, 14, 1, 48)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def main(wheels: Iterable[Path], python: str, target: Path) -> None:
    found = dict(
        sorted((extract(wheel, python) for wheel in wheels), key=lambda one: number(one[0]))
    )
    write(found, target)
    print(f"{target}: {len(found)} versions, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument(
        "--python", default="python3.10", help="interpreter that the wheels are for"
    )
    parser.add_argument("--output", type=Path, default=SURFACES)
    given = parser.parse_args()
    main(given.wheels, given.python, given.output)
