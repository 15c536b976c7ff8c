"""A small experiment that is carried to another machine and back."""

import csv
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.unit import small_networks as networks
from tests.unit.archives import unpack
from tests.unit.experiments import noise_images
from tests.unit.matrices import Told, run_offline
from tests.unit.programs import ran
from trt_matrix.commands import session
from trt_matrix.packs.merging import merge
from trt_matrix.packs.packing import Packed, pack

MATRIX = """
name: tiny
model: {{onnx: tiny.onnx}}
heads: {{large: {{stride: 4}}, small: {{stride: 2}}}}
data:
  calibration: {{images: images}}
  evaluation: {{images: images}}
calibration: {{algorithms: [minmax], shared: entropy}}
repeats: 2
baseline: here
timing: {{min_samples: 2, max_samples: 3, max_s: 0.01, warm_up_max_s: 0.01}}
engines: {{onnxruntime: {{threads: 1}}}}
environments:
  - {{interpreter: {python}, name: here}}
  - {{interpreter: {python}, name: lab}}
"""


def experiment(folder: Path) -> Path:
    folder.joinpath("tiny.onnx").write_bytes(networks.detector().SerializeToString())
    noise_images(folder, 7, images=3)
    path = folder / "matrix.yaml"
    path.write_text(MATRIX.format(python=sys.executable))
    return path


def answer_there(lab: Path, results: Path, variables: Mapping[str, str]) -> None:
    """Runs the jobs of the pack in `lab` as its machine would, and carries what they answered back."""
    ran(sys.executable, "pack/run-pack.py", cwd=lab, env=variables)
    merge(lab / "pack" / "results.tar", results)


class Trip:
    """One way there and back."""

    def __init__(self, folder: Path) -> None:
        self.matrix = experiment(folder)
        self.results = folder / "results"
        self.lab = folder / "lab"
        self.packs = 0

    def pack(self) -> Packed:
        self.packs += 1
        return pack(
            self.matrix, self.results, self.matrix.parent / f"pack-{self.packs}.tar",
            select=["lab/*"], progress=Told(), settling=session.settling,
        )  # fmt: skip

    def carry(self, packed: Packed, *arguments: str, expected: int = 0) -> str:
        shutil.rmtree(self.lab, ignore_errors=True)
        unpack(packed.file, self.lab)
        return self.run(*arguments, expected=expected)

    def run(self, *arguments: str, expected: int = 0) -> str:
        done = ran(sys.executable, "pack/run-pack.py", *arguments, code=None, cwd=self.lab)
        assert done.returncode == expected, done.stderr
        return done.stdout

    @property
    def answers(self) -> Path:
        return self.lab / "pack" / "results.tar"

    def rows(self, *select: str) -> dict[tuple[str, str, str], dict[str, str]]:
        run_offline(self.matrix, self.results, select=select)
        with (self.results / "latest" / "results.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        return {(row["environment"], row["pass_name"], row["head"]): row for row in rows}

    def started(self, cell: str) -> list[str]:
        """Returns when each repeat was started, as the newest run tells it."""
        records = map(
            json.loads, map(Path.read_text, self.results.glob("latest/records/**/*.json"))
        )
        (record,) = (record for record in records if record["cell"] == cell)
        return [measurement["start"]["started"] for measurement in record["measurements"]]

    def began(self, name: str) -> str:
        """Returns when run-pack.py started this there."""
        ending = self.lab / "pack" / "work" / f"lab@cpu@{name}" / "start-1" / "ending.json"
        return str(json.loads(ending.read_text())["started"])
