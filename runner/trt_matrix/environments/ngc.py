"""NVIDIA's TensorRT containers, by tag: what each holds and needs is in containers/catalog.yaml."""

from pathlib import Path

from trt_matrix.config import catalog
from trt_matrix.core.hosts.compatibility import HostFacts, Obstacle
from trt_matrix.environments.docker.environment import DockerEnvironment
from trt_matrix.environments.preflight import preflight_tag

REPOSITORY = "nvcr.io/nvidia/tensorrt"


class NgcEnvironment(DockerEnvironment):
    """One of them; its row in the catalogue says before a pull whether it can run."""

    def __init__(self, *, name: str, tag: str, cache: Path, address: str | None = None) -> None:
        row = catalog.find(tag)
        super().__init__(
            name=name,
            engine="tensorrt",
            image=(row and row.reference) or f"{REPOSITORY}:{tag}",
            cache=cache,
            stated=row,
            address=address,
        )
        self.tag = tag

    def _preflight(self, device: str, host: HostFacts | None) -> Obstacle | None:
        return preflight_tag(self.tag, device, host)
