"""GPUs, images and hosts as tests need them."""

from typing import Any

from trt_matrix.config import catalog
from trt_matrix.core.hosts.compatibility import HostFacts, ImageFacts
from trt_matrix.core.hosts.gpu_models import model
from trt_matrix.core.hosts.gpus import Gpu


def gpu(name: str, index: int = 0, **facts: Any) -> Gpu:
    known = model(name)
    assert known is not None, name
    return Gpu(
        index=index,
        name=f"NVIDIA {name}",
        uuid=facts.pop("uuid", f"GPU-{index:08x}-0000"),
        capability=known.capability,
        data_centre=known.data_centre,
        **facts,
    )


def row(month: str) -> ImageFacts:
    facts = catalog.find(f"{month}-py3")
    assert facts is not None, month
    return facts


def host(*gpus: Gpu, driver: str | None = "610.43.02", **facts: Any) -> HostFacts:
    """Returns a host where nothing is missing but what is said."""
    complete: dict[str, Any] = {
        "docker_version": "28.2.2",
        "nvidia_runtime": True,
        "disk_free_bytes": 10**12,
    }
    return HostFacts(driver=driver, gpus=gpus, **(complete | facts))
