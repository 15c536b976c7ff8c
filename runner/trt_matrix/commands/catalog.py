"""What `trt-matrix catalog` tells: NVIDIA's TensorRT containers, and which run on a GPU."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trt_matrix.commands.columns import columns
from trt_matrix.config import catalog
from trt_matrix.core.hosts.compatibility import (
    MINOR_VERSION_DRIVER,
    DriverSupport,
    ImageFacts,
    Obstacle,
    driver_support,
    gpu_obstacle,
    version,
)
from trt_matrix.core.hosts.gpu_models import model, similar
from trt_matrix.core.hosts.gpus import Gpu, written
from trt_matrix.errors import ConfigError

FOR_GPU, DRIVER = "--for-gpu", "--driver"

LAST_WITH_CALIBRATORS = 10
"""TensorRT's major version that still has INT8 calibrators; from 11 on Q/DQ nodes only."""


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One container, and what came of the question whether it runs."""

    image: ImageFacts
    obstacle: Obstacle | None = None
    support: DriverSupport | None = None
    """How the driver runs it; None where no driver was named, or it cannot."""

    def summary(self) -> Mapping[str, Any]:
        image = self.image
        return {
            "tag": image.tag,
            "image": image.reference,
            "tensorrt": image.tensorrt,
            "cuda": image.cuda,
            "cudnn": image.cudnn,
            "python": image.python,
            "driver": image.driver_min,
            "driver_branches_data_centre": list(image.driver_branches),
            "compute_capability": [_written(image.capability_min), _written(image.capability_max)],
            "size_bytes_about": image.size_bytes,
            "confidence": image.confidence,
            "status": str(self.obstacle[0]) if self.obstacle else "ok",
            "reason": self.obstacle[1] if self.obstacle else None,
            "driver_support": str(self.support) if self.support else None,
        }


@dataclass(frozen=True, slots=True)
class CatalogListing:
    rows: Sequence[CatalogRow]
    gpu: Gpu | None
    driver: str | None

    def summary(self) -> Mapping[str, Any]:
        return {
            "gpu": self.gpu
            and {"name": self.gpu.name, "compute_capability": written(self.gpu.capability)},
            "driver": self.driver,
            "containers": [row.summary() for row in self.rows],
        }

    def text(self) -> str:
        running = [row for row in self.rows if row.obstacle is None]
        lines = []
        if self.gpu:
            lines.append(f"{len(running)} of {len(self.rows)} containers run on {self._where()}")
        if running:
            lines += _table(running, with_support=self.driver is not None)
        refused = [row for row in self.rows if row.obstacle is not None]
        for reason, group in itertools.groupby(refused, _short):
            tags = [row.image.tag or "" for row in group]
            span = tags[0] if len(tags) == 1 else f"{tags[0]} to {tags[-1]} ({len(tags)})"
            lines.append(f"not {span}: {reason}")
        lines.append(
            "from published texts: what a container reports about itself wins; "
            "sources are in containers/catalog.yaml"
        )
        return "\n".join(lines)

    def _where(self) -> str:
        assert self.gpu is not None  # noqa: S101 - asked for where a GPU was named
        capability = f"compute capability {written(self.gpu.capability)}"
        name = self.gpu.name if capability in self.gpu.name else f"{self.gpu.name} ({capability})"
        return f"{name} with driver {self.driver}" if self.driver else f"{name} with a new driver"


def listing(for_gpu: str | None, driver: str | None) -> CatalogListing:
    """Returns all containers, with why some cannot run on a GPU: `T4`, `RTX 4090`, `8.6`; None asks nothing.

    `driver` is the version beside it; None for one that is new enough.

    Raises:
        ConfigError: no such GPU is known, or the driver is no version.
    """
    if for_gpu is None:
        if driver is not None:
            raise ConfigError(DRIVER, ["needs --for-gpu beside it: older drivers do on some GPUs"])
        return CatalogListing([CatalogRow(row) for row in catalog.rows()], None, None)
    gpu = _gpu(for_gpu)
    try:
        version("0" if driver is None else driver)
    except ValueError as error:
        raise ConfigError(DRIVER, [f"{error}; such as 535.104.05, or 535"]) from error
    return CatalogListing([_asked(row, gpu, driver) for row in catalog.rows()], gpu, driver)


def _asked(image: ImageFacts, gpu: Gpu, driver: str | None) -> CatalogRow:
    obstacle = gpu_obstacle(image, driver, gpu)
    support = driver_support(image, driver, gpu) if driver and obstacle is None else None
    return CatalogRow(image, obstacle, support)


def _gpu(name: str) -> Gpu:
    gpu = model(name)
    if gpu is None:
        close = ", ".join(similar(name))
        meant = f"did you mean {close}?" if close else "T4, A100, RTX 4090 and others are."
        problem = f"{name!r:.60} is not known; {meant} Or give its compute capability, such as 8.6"
        raise ConfigError(FOR_GPU, [problem])
    return Gpu(
        index=0, name=gpu.name, uuid="", capability=gpu.capability, data_centre=gpu.data_centre
    )


HEADINGS = ("tag", "TensorRT", "CUDA", "Python", "driver", "capability", "INT8", "known from")


def _table(rows: Sequence[CatalogRow], *, with_support: bool) -> list[str]:
    headings = (*HEADINGS, "runs by") if with_support else HEADINGS
    return columns([headings, *(_cells(row, with_support=with_support) for row in rows)])


def _cells(row: CatalogRow, *, with_support: bool) -> tuple[str, ...]:
    image = row.image
    major = version(image.tensorrt).major if image.tensorrt else 0
    least = _least_driver(image)
    cells = (
        image.tag or "",
        image.tensorrt or "?",
        (image.cuda or "?").partition(" ")[0],
        image.python or "?",
        f"{least}+" if least else "?",
        f"{_written(image.capability_min) or '?'} to {_written(image.capability_max) or '?'}",
        "calibrators" if major <= LAST_WITH_CALIBRATORS else "Q/DQ only",
        image.confidence or "?",
    )
    return (*cells, str(row.support or "")) if with_support else cells


def _least_driver(image: ImageFacts) -> str | None:
    """Returns the oldest driver that runs it on any GPU."""
    known = [image.driver_min, MINOR_VERSION_DRIVER.get(image.cuda_major or 0)]
    return min(filter(None, known), key=version, default=None)


def _short(row: CatalogRow) -> str:
    """Says why it cannot run, alike for all containers with the same reason."""
    image = row.image
    if row.obstacle is None:
        return ""
    if row.obstacle[0] == "unsupported":
        newest = _written(image.capability_max)
        return f"for compute capability {_written(image.capability_min)} to {newest or '?'} only"
    branches = ", ".join(f"R{first.partition('.')[0]}" for first in image.driver_branches)
    return f"needs driver {_least_driver(image)} or later" + (
        f" (data-centre GPUs also {branches})" if branches else ""
    )


def _written(capability: tuple[int, int] | None) -> str | None:
    return written(capability) if capability else None
