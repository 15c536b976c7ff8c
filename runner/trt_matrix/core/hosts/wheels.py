"""TensorRT and TensorRT-RTX as packages: which of them a version is, for which CUDA, Python and GPU. Pure.

From the files that the packages have (read in November 2026); docs/how-to/packages.md tells it as a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from trt_matrix.core.cells import Status
from trt_matrix.core.hosts.compatibility import (
    CAPABILITIES,
    MINOR_VERSION_DRIVER,
    ImageFacts,
    Obstacle,
    capability_range,
    gpu_obstacle,
    version,
)
from trt_matrix.core.hosts.gpus import Capability, Gpu, written

TENSORRT, RTX = "tensorrt", "tensorrt-rtx"

Python = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _WheelLine:
    """Versions that are had alike."""

    first: str
    last: str
    """The newest that was there when this was written."""
    cuda: tuple[int, ...]
    """Majors of CUDA that there are packages for."""
    newest_python: int
    """The last minor of Python 3 with wheels."""
    oldest_python: int = 8


LINES: dict[str, tuple[_WheelLine, ...]] = {
    TENSORRT: (
        _WheelLine("8.5.1.7", "8.5.3.1", (11,), 10, 6),
        _WheelLine("8.6.0", "8.6.0", (12,), 10, 6),
        _WheelLine("8.6.1", "8.6.1", (12,), 11, 6),
        _WheelLine("10.0.1", "10.8.0.43", (11, 12), 12),
        _WheelLine("10.9.0.34", "10.13.0.35", (11, 12), 13),
        _WheelLine("10.13.2.6", "11.0.0.114", (12, 13), 13),
        _WheelLine("11.1.0.106", "11.4.0.106", (12, 13), 14),
    ),
    RTX: (
        _WheelLine("1.4.0.76", "1.5.0.114", (12, 13), 13),
        _WheelLine("1.6.1.120", "1.7.1.116", (12, 13), 14),
    ),
}
UNNAMED = ("9", "10")
"""From, to: what NVIDIA gave out in between has no packages under these names."""

TRIED: dict[str, tuple[str, ...]] = {
    "8.5": ("nvidia-cuda-runtime-cu11==11.8.89", "nvidia-cublas-cu11==11.11.3.6", "nvidia-cudnn-cu11==8.6.0.163"),
    "8.6": ("nvidia-cuda-runtime-cu12==12.1.105", "nvidia-cublas-cu12==12.1.3.1", "nvidia-cudnn-cu12==8.9.2.26"),
}  # fmt: skip
"""Of the whole wheels: the libraries that they ran with on H200s. They ask for any version, and cuDNN 9 is none
that they can load."""

RTX_CAPABILITIES: tuple[Capability, ...] = ((7, 5), (8, 0), (8, 6), (8, 9))
RTX_FROM: Capability = (12, 0)
"""TensorRT-RTX 1.7 refuses a GPU of 9.0 with the list "8.0 8.6 8.9 12.0 12.1 >12.0"; its builder also makes
plans for 7.5."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """One version, as it is installed."""

    package: str
    """TENSORRT or RTX."""
    version: str
    cuda: int
    requirements: tuple[str, ...]
    pythons: tuple[Python, Python]
    """Oldest and newest that it has wheels for."""

    def obstacle(self, driver: str | None, gpus: Sequence[Gpu]) -> Obstacle | None:
        """Returns why it runs on none of these GPUs with this driver; None where it runs on one."""
        reasons = [self._obstacle(driver, gpu) for gpu in gpus]
        return reasons[0] if all(reasons) and reasons else None

    def _obstacle(self, driver: str | None, gpu: Gpu) -> Obstacle | None:
        if self.package == RTX:
            known = gpu.capability in RTX_CAPABILITIES or gpu.capability >= RTX_FROM
            if not known:
                capabilities = ", ".join(map(written, RTX_CAPABILITIES))
                return Status.UNSUPPORTED, (
                    f"TensorRT-RTX runs on compute capability {capabilities}, {written(RTX_FROM)} and later; "
                    f"{gpu.name} has {written(gpu.capability)}: take `venv: tensorrt` there"
                )
        return gpu_obstacle(self._facts(), driver, gpu)

    def _facts(self) -> ImageFacts:
        named = f"{self.package}-cu{self.cuda} {self.version}"
        if self.package == RTX:
            return ImageFacts(tag=named, cuda_major=self.cuda)
        # The newest CUDA of its major: what is installed beside it.
        cuda = {11: "11.8", 12: "12.9"}.get(self.cuda)
        oldest, newest = capability_range(self.version, cuda)
        return ImageFacts(
            tag=named,
            tensorrt=self.version,
            cuda_major=self.cuda,
            capability_min=oldest,
            capability_max=newest,
        )


def offered(package: str, driver: str | None, gpus: Sequence[Gpu]) -> str | None:
    """Returns which versions run on one of these GPUs, by CUDA: `CUDA 12: 8.6.0 to 11.4.0.106`; None where none does."""
    by_cuda = []
    for cuda in sorted({major for line in LINES[package] for major in line.cuda}):
        lines = [line for line in LINES[package] if cuda in line.cuda]
        # What a version runs on changes from line to line, and where TensorRT dropped or learnt GPUs.
        starts = [line.first for line in lines]
        starts += [
            first
            for first, _, _ in CAPABILITIES
            if package == TENSORRT and any(_before(line.first, first, line.last) for line in lines)
        ]
        starts.sort(key=version)
        ranges: list[str] = []
        begun = None
        for start in starts:
            runs = wheel(f"{package}-cu{cuda}", start, None).obstacle(driver, gpus) is None
            if runs and begun is None:
                begun = start
            elif not runs and begun is not None:
                ranges, begun = [*ranges, f"{begun} to before {start}"], None
        if begun is not None:
            ranges.append(f"{begun} to {lines[-1].last}")
        by_cuda += [f"CUDA {cuda}: {', '.join(ranges)}"] if ranges else []
    return "; ".join(by_cuda) or None


def _before(*versions: str) -> bool:
    """Says whether versions are in rising order, none twice."""
    return all(version(lower) < version(upper) for lower, upper in pairwise(versions))


def wheel(named: str, of: str, driver: str | None) -> Wheel:
    """Returns how a version is installed.

    Args:
        named: `tensorrt`, `tensorrt-rtx`, or one of them for one CUDA: `tensorrt-cu12`.
        of: Its version: `10.9.0.34`.
        driver: Decides the CUDA where `named` does not: the newest that it runs; None: nobody knows yet.

    Raises:
        ValueError: there are no packages of that version, or none for that CUDA; says what to do.
    """
    package, _, stated = named.partition("-cu")
    line = _line(package, of)
    if stated:
        if int(stated) not in line.cuda:
            there = " and ".join(f"{package}-cu{major}" for major in line.cuda)
            message = f"{package} {of} has no packages for CUDA {stated}; there are {there}"
            raise ValueError(message)
        cuda = int(stated)
    else:
        cuda = _newest(line.cuda, driver)
    return Wheel(
        package=package,
        version=of,
        cuda=cuda,
        requirements=_requirements(package, of, cuda),
        pythons=((3, line.oldest_python), (3, line.newest_python)),
    )


def _line(package: str, of: str) -> _WheelLine:
    release = version(of).release
    known = [line for line in LINES[package] if version(line.first).release <= release]
    if not known:
        first = LINES[package][0].first
        message = (
            f"{package} {of}: packages begin with {first}; containers have older ones (`ngc:`)"
        )
        raise ValueError(message)
    if package == TENSORRT and version(UNNAMED[0]).release <= release < version(UNNAMED[1]).release:
        message = (
            f"{package} {of}: there are no packages of that name; state what you have as "
            "`venv: {requirements: […]}`"
        )
        raise ValueError(message)
    return known[-1]


def _newest(majors: Sequence[int], driver: str | None) -> int:
    """Returns the newest CUDA that a driver runs; where it runs none, the oldest, which it is told about."""
    if driver is None:
        return 12 if 12 in majors else majors[-1]
    runs = [major for major in majors if version(driver) >= version(MINOR_VERSION_DRIVER[major])]
    return max(runs, default=min(majors))


def _requirements(package: str, of: str, cuda: int) -> tuple[str, ...]:
    """Returns what is installed: bindings and libraries apart, since what joins them is no wheel.

    numpy is the job's; the CUDA runtime is what it copies images with.
    """
    release = version(of).release
    if package == TENSORRT and release < version("8.6.1").release:
        line = ".".join(map(str, release[:2]))
        return (f"tensorrt=={of}", *TRIED[line], "numpy<2")
    runtime = f"nvidia-cuda-runtime-cu{cuda}" if cuda < 13 else "nvidia-cuda-runtime==13.*"
    if package == TENSORRT and release < version("10").release:
        return (f"tensorrt-bindings=={of}", f"tensorrt-libs=={of}", runtime, "numpy<2")
    parts = (f"{package}-cu{cuda}-{part}=={of}" for part in ("bindings", "libs"))
    return (*parts, runtime, "numpy")
