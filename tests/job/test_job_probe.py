import json
import os
from pathlib import Path

from job import probe


def test_only_harmless_variables_that_matter_are_recorded() -> None:
    environment = {
        "NVIDIA_VISIBLE_DEVICES": "all",
        "CUDA_MODULE_LOADING": "LAZY",
        "LD_LIBRARY_PATH": "/x",
        "OMP_NUM_THREADS": "2",
        "HOME": "/home/me",
        "NVIDIA_API_KEY": "nvapi-1",
        "CUDA_DOWNLOAD_TOKEN": "x",
        "OMP_NUM_THREADS_OLD": "3",
        "MY_NVIDIA_NAME": "x",
    }
    assert sorted(probe.variables(environment)) == [
        "CUDA_MODULE_LOADING",
        "LD_LIBRARY_PATH",
        "NVIDIA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
    ]


def test_processors_of_two_kinds() -> None:
    x86 = "processor : 0\nmodel name : Model: 7\nflags : sse avx2 avx512_vnni\n\nprocessor : 1\n"
    assert probe._cpu(x86) == {"model": "Model: 7", "flags": ["avx2", "avx512_vnni"]}
    arm = "processor : 0\nFeatures : fp asimd asimddp\n"
    assert probe._cpu(arm) == {"model": None, "flags": ["asimd", "asimddp"]}
    assert probe._cpu(None) == {"model": None, "flags": None}


def test_facts_are_json_and_name_this_process() -> None:
    facts = json.loads(json.dumps(probe.facts(), allow_nan=False))
    assert facts["packages"]["numpy"]
    assert facts["logical_cores"] == os.cpu_count()
    assert facts["memory_bytes"] is None or facts["memory_bytes"] > 1e6


def test_files_that_a_platform_lacks_are_none(tmp_path: Path) -> None:
    assert probe._read(str(tmp_path / "absent")) is None
    assert probe._memory_bytes("MemTotal:   2 kB\n") == 2048
    assert probe._memory_bytes(None) is None
