"""GPUs by name: compute capability, and whether it is a data-centre card.

From https://developer.nvidia.com/cuda-gpus and https://developer.nvidia.com/cuda-legacy-gpus (read in
November 2026), whose columns tell data-centre cards from the others. Only for questions about GPUs that are
not here (`trt-matrix catalog --for-gpu T4`): of one that is here, the driver says it.
"""

import difflib
import re
from dataclasses import dataclass

from trt_matrix.core.hosts.gpus import Capability, holds, words

DATA_CENTRE: dict[Capability, str] = {
    (12, 0): "RTX PRO 6000 Blackwell Server Edition, RTX PRO 4500 Blackwell Server Edition",
    (10, 3): "GB300, B300",
    (10, 0): "GB200, B200",
    (9, 0): "GH200, H200, H100",
    (8, 9): "L4, L40, L40S",
    (8, 6): "A40, A10, A16, A2",
    (8, 0): "A100, A30",
    (7, 5): "T4",
    (7, 0): "V100",
    (6, 1): "P40, P4",
    (6, 0): "P100",
    (5, 2): "M60, M40",
    (3, 7): "K80",
    (3, 5): "K40, K20",
    (3, 0): "K10",
}
OTHERS: dict[Capability, str] = {
    (12, 1): "GB10",
    (12, 0): "RTX PRO 6000 Blackwell, RTX PRO 5000 Blackwell, RTX PRO 4500 Blackwell, "
    "RTX PRO 4000 Blackwell, RTX PRO 2000 Blackwell, RTX 5090, RTX 5080, RTX 5070 Ti, RTX 5070, "
    "RTX 5060 Ti, RTX 5060, RTX 5050",
    (11, 0): "Jetson T5000, Jetson T4000, Thor",
    (8, 9): "RTX 6000 Ada, RTX 5000 Ada, RTX 4500 Ada, RTX 4000 Ada, RTX 4000 SFF Ada, "
    "RTX 2000 Ada, RTX 4090, RTX 4080, RTX 4070 Ti, RTX 4070, RTX 4060 Ti, RTX 4060, RTX 4050",
    (8, 7): "AGX Orin, Orin NX, Orin Nano",
    (8, 6): "RTX A6000, RTX A5000, RTX A4000, RTX A3000, RTX A2000, RTX 3090 Ti, RTX 3090, "
    "RTX 3080 Ti, RTX 3080, RTX 3070 Ti, RTX 3070, RTX 3060 Ti, RTX 3060, RTX 3050",
    (7, 5): "RTX 8000, RTX 6000, RTX 5000, RTX 4000, RTX 3000, T2000, T1200, T1000, T600, T500, "
    "T400, GTX 1650 Ti, GTX 1650, GTX 1660 Ti, GTX 1660, TITAN RTX, RTX 2080 Ti, RTX 2080, "
    "RTX 2070, RTX 2060",
    (7, 2): "AGX Xavier, Xavier NX",
    (7, 0): "GV100, TITAN V",
    (6, 2): "TX2",
    (6, 1): "P6000, P5200, P5000, P4000, P2200, P2000, P1000, P620, P600, P400, TITAN Xp, TITAN X, "
    "GTX 1080 Ti, GTX 1080, GTX 1070 Ti, GTX 1070, GTX 1060, GTX 1050",
    (6, 0): "GP100",
    (5, 2): "M6000, M5000, M4000, M2000, GTX TITAN X, GTX 980 Ti, GTX 980, GTX 970, GTX 960, "
    "GTX 950",
    (5, 0): "K2200, K1200, K620, GTX 750 Ti, GTX 750",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuModel:
    name: str
    capability: Capability
    data_centre: bool


MODELS = tuple(
    GpuModel(name=name, capability=capability, data_centre=table is DATA_CENTRE)
    for table in (DATA_CENTRE, OTHERS)
    for capability, names in table.items()
    for name in names.split(", ")
)


def model(name: str) -> GpuModel | None:
    """Returns the model that a name means, written as the driver does, in short, or as `8.6`, `sm_86`.

    >>> model("NVIDIA A100-SXM4-80GB").capability
    (8, 0)
    """
    if match_ := re.fullmatch(r"(?:sm_?)?(\d{1,2})(?:\.|(?=\d$))(\d)", name.strip().casefold()):
        capability = (int(match_[1]), int(match_[2]))
        same = [gpu for gpu in MODELS if gpu.capability == capability]
        if not same:
            return None
        # Without a name, what is asked about is the architecture: a data-centre card may do more.
        return GpuModel(
            name=f"compute capability {capability[0]}.{capability[1]}",
            capability=capability,
            data_centre=any(gpu.data_centre for gpu in same),
        )
    wanted = words(name)
    named = [gpu for gpu in MODELS if holds(wanted, words(gpu.name))]
    if named:
        # The longest: a GeForce RTX 4070 Ti is no RTX 4070.
        return max(named, key=lambda gpu: len(words(gpu.name)))
    longer = [gpu for gpu in MODELS if holds(words(gpu.name), wanted)]
    if len({gpu.capability for gpu in longer}) == 1:
        return min(longer, key=lambda gpu: len(words(gpu.name)))
    return None


def similar(name: str) -> list[str]:
    """Returns up to three names of GPUs that look like one that is not known."""
    by_key = {" ".join(words(gpu.name)): gpu.name for gpu in MODELS}
    close = difflib.get_close_matches(" ".join(words(name))[:60], by_key, n=3, cutoff=0.5)
    return [by_key[key] for key in close]
