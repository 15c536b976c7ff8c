"""A tiny finished run whose files are full of secrets, and what to look for in its ticket."""

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

from tests.unit import small_networks as networks
from tests.unit.experiments import noise_images
from tests.unit.matrices import run_offline

USER = "wilhelmina"
HOST = "zeppelin07"
OTHER_USER = "ottokar"
REGISTRY = "registry.acme-secret.net"
TOKEN = "nvapi-CanaryCanaryCanary0123456789"
PASSWORD = "Tr0ub4dor-and-3"
REGISTRY_PASSWORD = "c0rrect-horse-battery"
VARIABLE = "licence-4711-0815"
URL_PASSWORD = "staple-9000"
ADDRESS = "10.20.30.41"
ADDRESS_6 = "fd12:3456:789a::1f"
UUIDS = ("8a1f5c3e-1b2d-4c3e-9f00-aabbccddeeff", "8a1f5c3e-1b2d-4c3e-9f00-aabbccddee00")
MAIL = "wendy@acme-secret.net"
HIDDEN = "Project Nightjar"
BARE_HOST = "gpubox-basement"

PLANTED = (
    USER, HOST, OTHER_USER, REGISTRY, TOKEN, PASSWORD, REGISTRY_PASSWORD, VARIABLE, URL_PASSWORD,
    ADDRESS, ADDRESS_6, *UUIDS, MAIL, HIDDEN, BARE_HOST,
    base64.b64encode(f"{OTHER_USER}:{REGISTRY_PASSWORD}".encode()).decode(),
)  # fmt: skip

LOG = f"""
[I] reading /home/{OTHER_USER}/models/yolo.onnx on {HOST.upper()}
[I] GPU-{UUIDS[0]} and GPU-{UUIDS[1]}, driver 535.104.05, TensorRT 8.6.1.6, libnvinfer.so.8.6.1.6
[W] export NGC_API_KEY={TOKEN} ; db_password: "{PASSWORD}"
[W] and once more, bare: {PASSWORD} {VARIABLE}
[E] GET https://{OTHER_USER}:{URL_PASSWORD}@{REGISTRY}:5000/v2/ from {ADDRESS}:8080 and [{ADDRESS_6}]:80
[E] write to {MAIL} about {HIDDEN}; ssh {BARE_HOST} failed; C:\\Users\\{OTHER_USER}\\x.log
"""

MATRIX = """
# made by {user} for {hidden}
name: tiny
model: {{onnx: tiny.onnx}}
heads: {{large: {{stride: 4, gate: {{sqnr_db: 10}}}}, small: {{stride: 2, gate: {{sqnr_db: 10}}}}}}
data:
  calibration: {{images: calibration}}
  evaluation: {{images: evaluation}}
calibration: {{algorithms: [minmax], shared: entropy}}
repeats: 2
baseline: here
timing: {{min_samples: 2, max_samples: 3, max_s: 0.01, warm_up_max_s: 0.01}}
engines: {{onnxruntime: {{threads: 1}}}}
hosts: {{basement: "ssh://{user}@{host}:22"}}
environments:
  - {{interpreter: {python}, name: here, env: {{LICENCE: {variable}}}}}
  - {{image: "{registry}:5000/team/engine:1.0", name: inside, host: basement}}
"""


def detector() -> onnx.ModelProto:
    """A network with names in its tensors, nodes, comments and metadata."""
    model = networks.detector()
    for node in model.graph.node:
        node.doc_string = f"/home/{USER}/train.py"
        for names in (node.input, node.output):
            renamed = [f"{name}/{USER}" if name == "lateral" else name for name in names]
            del names[:]
            names.extend(renamed)
    model.graph.node[0].name = f"{HOST}/conv"
    model.metadata_props.add(key="author", value=MAIL)
    return model


def write(folder: Path) -> Path:
    """Writes the experiment; returns where matrix.yaml is."""
    (folder / "tiny.onnx").write_bytes(detector().SerializeToString())
    noise_images(folder, 7, calibration=4, evaluation=4)
    path = folder / "matrix.yaml"
    path.write_text(
        MATRIX.format(
            python=sys.executable, user=USER, host=BARE_HOST, hidden=HIDDEN, variable=VARIABLE,
            registry=REGISTRY,
        )
    )  # fmt: skip
    return path


def run(folder: Path) -> Path:
    """Runs the experiment; returns the folder of results."""
    results = folder / "results"
    run_offline(write(folder), results)
    return results


def plant(results: Path) -> None:
    """Puts secrets into what was stored: logs, reasons, facts, labels."""
    newest = results / "latest"
    for path in (newest / "logs").rglob("*.log"):
        path.write_text(path.read_text() + LOG)
    for path in (newest / "records").rglob("*.json"):
        record = json.loads(path.read_text())
        for measurement in record["measurements"]:
            measurement["log_tail"] = LOG
            measurement["start"]["command"] += ["--token", TOKEN]
            measurement["start"]["probe"]["environment"] = {
                "NVIDIA_VISIBLE_DEVICES": f"GPU-{UUIDS[0]}", "LICENCE": VARIABLE,
            }  # fmt: skip
            measurement["start"]["probe"]["gpu"] = {"name": "NVIDIA T4", "uuid": f"GPU-{UUIDS[1]}"}
            measurement["start"]["identity"]["path"] = f"/home/{USER}/venv"
        record["reason"] = record["reason"] or f"as {USER} on {HOST}: {LOG}"
        path.write_text(json.dumps(record))
    manifest = json.loads((newest / "manifest.json").read_text())
    manifest["facts"]["host"]["note"] = LOG
    manifest["facts"]["label"] = {"who": USER, "api_key": PASSWORD}
    (newest / "manifest.json").write_text(json.dumps(manifest))


def here(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Makes this process one of a user who has secrets."""
    config = {
        "auths": {
            f"https://{REGISTRY}:5000": {
                "auth": base64.b64encode(f"{OTHER_USER}:{REGISTRY_PASSWORD}".encode()).decode()
            }
        }
    }
    (folder / "docker").mkdir(exist_ok=True)
    (folder / "docker" / "config.json").write_text(json.dumps(config))
    for name, value in {
        "USER": USER, "LOGNAME": USER, "HOSTNAME": HOST, "MY_API_KEY": PASSWORD,
        "DOCKER_CONFIG": str(folder / "docker"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def texts(name: str, content: bytes, folder: Path) -> Iterator[str]:
    """Yields what a member of a ticket says, also where it is packed or encoded inside."""
    yield content.decode("latin-1")
    if name.endswith(".json"):
        yield json.dumps(json.loads(content), ensure_ascii=False)
    elif name.endswith(".onnx"):
        yield str(onnx.load_from_string(content))
    elif name.endswith(".parquet"):
        (folder / "x.parquet").write_bytes(content)
        yield pd.read_parquet(folder / "x.parquet").to_csv()
    elif name.endswith((".npy", ".npz")):
        (folder / "x.npy").write_bytes(content)
        assert np.load(folder / "x.npy", allow_pickle=False).dtype.kind in "fiuV"


def leaks(members: Mapping[str, bytes], folder: Path, secrets: Any = PLANTED) -> list[str]:
    """Returns `secret in member` for each planted secret that is in a ticket."""
    return [
        f"{secret} in {name}"
        for name, content in members.items()
        for text in (name, *texts(name, content, folder))
        for secret in secrets
        if secret.lower() in text.lower()
    ]
