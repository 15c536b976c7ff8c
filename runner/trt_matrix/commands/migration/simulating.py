"""Runs networks on the host, in a process of its own, by this tool's own job: what is compared is exact float32.

ONNX Runtime computes Q/DQ networks here without graph optimisation: QuantizeLinear, then float arithmetic on
what the integers stand for. No engine is measured by that, and nothing of it is shown as measured.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from trt_matrix.containers.job import protocol
from trt_matrix.containers.job.reductions import compare
from trt_matrix.core.metrics import Sums, metrics
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.image_input import batch_of
from trt_matrix.environments.base import JobRun
from trt_matrix.environments.factory import reference_environment, reference_options
from trt_matrix.execution.classify import classify
from trt_matrix.execution.progress import Stage, untold
from trt_matrix.store.arrays import read_array

ALGORITHMS = ("minmax", "entropy")
"""Of the ranges that a table is held against: largest magnitudes, and clipped ones."""
DEADLINE_S = 6 * 3600.0
THREADS = 2
PLAIN_PASS = {"precision": "fp32", "table": None, "compare_with": None, "implicit": None}
"""What a request says of a network that is run as it is."""
LOG_END = 400
"""Characters of a job's last words that an error repeats."""


class SimulationError(Exception):
    """ONNX Runtime cannot run a network here; says which and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationImages:
    """What the networks are run on."""

    array: Path
    """float32 .npy, (images, …input)."""
    count: int
    told: str
    """Where they come from."""
    real: bool
    """False of a made-up one, which only shows that a network runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkOutputs:
    """Outputs of every network that ran, as long as their folder is there."""

    folder: Path
    heads: Sequence[str]
    outputs: Mapping[str, Mapping[str, Path]]
    """Network → head → .npy."""
    ranges: tuple[Mapping[str, float], ...]
    """Of the float network on these images, a mapping for each of `ALGORITHMS`: tensor → range."""

    def sqnr_db(self, network: str, reference: str) -> Mapping[str, float | None]:
        """Returns head → SQNR over all images; None where both are the same, or nothing is defined."""
        return {head: metrics(self._sums(network, reference, head)).sqnr_db for head in self.heads}

    def identical(self, network: str, reference: str) -> bool:
        """Whether two networks gave the same values in all heads."""
        return all(metrics(self._sums(network, reference, head)).identical for head in self.heads)

    def _sums(self, network: str, reference: str, head: str) -> Sums:
        y, r = (read_array(self.outputs[name][head], mapped=True) for name in (network, reference))
        sums: Sums = compare(y, r)
        return sums


@contextmanager
def ran(
    networks: Mapping[str, onnx.ModelProto | Path],
    heads: Sequence[tuple[str, str]],
    images: MigrationImages,
    *,
    ranges_of: onnx.ModelProto | None = None,
    stage: Stage = untold,
) -> Iterator[NetworkOutputs]:
    """Runs networks (or their files), by name, over the same images; heads, (head, tensor), may be inner tensors.

    `ranges_of` is the float network whose ranges are wanted too.

    Raises:
        SimulationError: one of them cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory(prefix="trt-matrix-migrate-") as name:
        folder = Path(name)
        request, result = folder / "request", folder / "result"
        request.mkdir()
        result.mkdir()
        passes = []
        first: onnx.ModelProto | None = None
        for index, (called, network) in enumerate(networks.items()):
            model = onnx.load(network) if isinstance(network, Path) else network
            first = first or model
            file = f"network-{index}.onnx"
            (request / file).write_bytes(_with_outputs(model, heads).SerializeToString())
            passes.append({**PLAIN_PASS, "name": called, "model": file})
        (request / "images.npy").symlink_to(images.array.absolute())
        assert first is not None  # noqa: S101 - there is always a float network
        protocol.write_json(
            str(request / protocol.REQUEST),
            {
                "schema_version": protocol.SCHEMA_VERSION,
                "engine": "onnxruntime",
                "engine_options": dict(reference_options(THREADS)),
                "input": _input(first),
                "heads": [list(pair) for pair in heads],
                "evaluation": "images.npy",
                "calibration": _calibration(ranges_of, request) if ranges_of else None,
                "passes": passes,
                "timing": None,
                "batch": {"size": batch_of(first), "alone": False},
            },
        )
        log = folder / "job.log"
        stage_file = result / protocol.STAGE
        job = JobRun(
            request=request,
            result=result,
            log=log,
            deadline_s=DEADLINE_S,
            tick=lambda: stage("simulation", _text(stage_file)),
        )
        ending = reference_environment().run(job)
        passed = result / protocol.PASSES
        answers = {called: _answer_of(passed / called / protocol.PASS) for called in networks}
        told = _answer_of(result / protocol.RESULT)
        for called, answer in answers.items():
            if answer is None:
                error = (told or {}).get("error") or {}
                _, why = classify(ending, _text(stage_file) or None, error.get("message"))
                said = _text(log)[-LOG_END:].strip()
                last_words = f"; it said: {said}" if said else ""
                raise SimulationError(f"{called}: {why}{last_words}")
            if answer["status"] != "ok":
                raise SimulationError(f"{called}: {(answer['error'] or {}).get('message')}")
        calibrated = _answer_of(result / "calibration.json") if ranges_of else None
        yield NetworkOutputs(
            folder=folder,
            heads=[head for head, _ in heads],
            outputs={
                called: {
                    head: passed / called / output["file"]
                    for head, output in answer["outputs"].items()
                }
                for called, answer in answers.items()
                if answer
            },
            ranges=tuple((calibrated or {}).get("algorithms", {}).values()),
        )


def _input(model: onnx.ModelProto) -> str:
    initialisers = {tensor.name for tensor in model.graph.initializer}
    return next(value.name for value in model.graph.input if value.name not in initialisers)


def _with_outputs(model: onnx.ModelProto, heads: Sequence[tuple[str, str]]) -> onnx.ModelProto:
    """Returns a network that gives out all heads, inner tensors among them."""
    known = {value.name for value in model.graph.output}
    missing = [tensor for _, tensor in heads if tensor not in known]
    if not missing:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in dict.fromkeys(missing)
    )
    return result


def _calibration(model: onnx.ModelProto, request: Path) -> Mapping[str, Any]:
    wide, tensors = calibration_model(model)
    (request / "calibration.onnx").write_bytes(wide.SerializeToString())
    return {
        "model": "calibration.onnx",
        "images": "images.npy",
        "tensors": list(tensors),
        "algorithms": [{"name": name, "options": {}} for name in ALGORITHMS],
    }


def _answer_of(path: Path) -> Mapping[str, Any] | None:
    try:
        answer: Mapping[str, Any] = protocol.read_json(str(path))
    except (OSError, ValueError):  # a job that was killed wrote none
        return None
    return answer


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:  # not entered yet
        return ""
