"""Wheels of a few bytes, an index that knows nothing else, and environments made of them."""

import base64
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trt_matrix.environments.base import JobRun
from trt_matrix.environments.venv import VenvEnvironment

ROOT = Path(__file__).parents[2]
Make = Callable[..., VenvEnvironment]


def make_wheel(
    folder: Path, name: str, version: str, *, tag: str = "py3-none-any", needs: tuple[str, ...] = ()
) -> Path:
    """Writes a wheel whose one module tells its version."""
    info = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text)}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def only_index(folder: Path) -> Path:
    """Returns a configuration of uv that knows no other index than this folder of wheels."""
    configuration = folder / "uv.toml"
    configuration.write_text(f"no-index = true\nfind-links = [{json.dumps(str(folder))}]\n")
    return configuration


def run_job(environment: VenvEnvironment, result: Path) -> dict[str, Any]:
    log = result.parent / "job.log"
    ending = environment.run(
        JobRun(request=result.parent / "request", result=result, log=log, deadline_s=600)
    )
    assert ending.exit_code == 0, log.read_text()
    assert log.read_text() == "done\n"
    return json.loads((result / "result.json").read_text())


def folders(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "environments").iterdir())
