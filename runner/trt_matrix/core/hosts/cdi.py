"""GPUs as devices of CDI, the Container Device Interface: by which name a container gets one. Pure.

A specification is a YAML or JSON file with one `kind` and `devices`, each with a `name`; a container is given
`KIND=NAME` (https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md). `nvidia-ctk cdi generate`
names GPUs by number, by uuid, and all of them `all`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trt_matrix.core.hosts.gpus import Gpu

KIND = "nvidia.com/gpu"
PREFIX = f"{KIND}="

FOLDER = "/etc/cdi"

GENERATE = f"`sudo nvidia-ctk cdi generate --output={FOLDER}/nvidia.yaml`"


@dataclass(frozen=True, slots=True)
class Cdi:
    """What an engine that has CDI can give of NVIDIA's."""

    names: frozenset[str] | None
    """As its specifications have them; None where nobody can look: the folders of another machine."""
    folder: str = FOLDER
    """Where a specification is to be written: one of the user's own where a rootless engine reads such."""

    @property
    def generate(self) -> str:
        """The command that writes one."""
        if self.folder == FOLDER:
            return GENERATE
        return f"`nvidia-ctk cdi generate --output={self.folder}/nvidia.yaml`"

    def device(self, gpu: Gpu, gpus: Sequence[Gpu]) -> str | None:
        """Returns the CDI device that is this GPU and no other; None where no specification gives it.

        Where it is the only one of all `gpus` of its machine, `all` is it too.
        """
        if self.names is None:
            return PREFIX + gpu.uuid
        called = [gpu.uuid, str(gpu.index), *(["all"] if len(gpus) == 1 else [])]
        return next((PREFIX + name for name in called if name in self.names), None)

    def obstacle(self, gpus: Sequence[Gpu], of: Sequence[Gpu]) -> str | None:
        """Returns why a container gets none of `gpus`, which are some `of` a machine's; None where it gets one."""
        if any(self.device(gpu, of) for gpu in gpus):
            return None
        if not self.names:
            return (
                f"this engine has CDI, but no specification of NVIDIA's GPUs: {self.generate} writes one "
                "(nvidia-container-toolkit has it)"
            )
        wanted = " or ".join(f"{gpu.uuid}, {gpu.index}" for gpu in gpus)
        return (
            f"the CDI specification gives no {wanted}, only {', '.join(sorted(self.names))}: it is of "
            f"other GPUs than are here now; write it again with {self.generate}"
        )


def listed(ids: Iterable[Any]) -> frozenset[str]:
    """Returns the names of NVIDIA's GPUs among device ids, as an engine lists them: `nvidia.com/gpu=0`."""
    named = (str(id_) for id_ in ids)
    return frozenset(name.removeprefix(PREFIX) for name in named if name.startswith(PREFIX))


def specified(document: Any) -> frozenset[str]:
    """Returns the names of NVIDIA's GPUs that one specification gives; none where it is something else."""
    if not isinstance(document, Mapping) or document.get("kind") != KIND:
        return frozenset()
    devices = document.get("devices")
    return frozenset(
        device["name"]
        for device in (devices if isinstance(devices, Sequence) else ())
        if isinstance(device, Mapping) and isinstance(device.get("name"), str)
    )
