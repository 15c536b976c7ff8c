"""Answers a job's request from recorded outputs: the same files that a job would have written.

What engine wrote them is what the user says; every such value carries `STATED`, wherever it shows.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from job import protocol
from runner.core.network import graph
from runner.core.network.calibration_graph import calibration_model
from runner.core.tables import trt_cache
from runner.core.tables.coverage import enough
from runner.dumps.recorded import Found, Recorded, Shape, write_head
from runner.dumps.tensor import DumpError

STATED = "(stated, not probed)"

REFUSED = "recorded outputs"
"""What an error is said to be about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedPass:
    outputs: Recorded
    cache: Path | None
    """TensorRT's calibration cache that the program ran with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answering:
    """Everything that is known of one program's outputs."""

    engine: str
    version: str
    stated: Mapping[str, str]
    passes: Mapping[str, RecordedPass]
    """pass name → its files."""
    shapes: Mapping[str, Shape]
    """head → axes of one image; default: as the network says."""
    least_coverage: float
    """Least share of the network's tensors that a cache must name, or its simulation would say
    nothing: what it leaves out stays float there."""

    def facts(self) -> dict[str, Any]:
        """Returns what the user states, each value marked; keys as a job's probe has them."""
        gpu = self.stated.get("GPU")
        return {
            "engine": {"name": self.engine, "version": f"{self.version} {STATED}"},
            "gpu": {"name": f"{gpu} {STATED}"} if gpu else None,
            "stated": {
                name: f"{value} {STATED}" for name, value in self.stated.items() if name != "GPU"
            },
        }


def answer(answering: Answering, request: Path, result: Path, log: Path) -> None:
    """Writes probe.json, every pass and result.json; a pass that cannot be read says why."""
    asked = protocol.read_request(str(request))
    probe: dict[str, Any] = {"schema_version": protocol.SCHEMA_VERSION, **answering.facts()}
    with log.open("a", encoding="utf-8") as stream:
        for one in asked["passes"]:
            seen, told = _pass(answering, asked, one, result)
            probe.setdefault("files", {})[one["name"]] = seen
            stream.writelines(f"{one['name']}: {line}\n" for line in told)
    protocol.write_json(str(result / protocol.PROBE), probe)
    protocol.write_json(
        str(result / protocol.RESULT),
        {
            "schema_version": protocol.SCHEMA_VERSION,
            "status": "ok",
            "stage": "infer",
            "error": None,
        },
    )


def _pass(
    answering: Answering, asked: Mapping[str, Any], one: Mapping[str, Any], result: Path
) -> tuple[dict[str, Any], list[str]]:
    """Writes one pass; returns facts of its files, and lines for the log."""
    name = one["name"]
    folder = result / protocol.PASSES / name
    folder.mkdir(parents=True)
    started = time.perf_counter()
    content: dict[str, Any] = {
        "schema_version": protocol.SCHEMA_VERSION,
        "name": name,
        "model": Path(one["model"]).name,
        "status": "ok",
        "error": None,
        "outputs": {},
        "latency": None,
        "executed": None,
    }
    facts: dict[str, Any] = {}
    told: list[str] = []
    try:
        recorded = answering.passes[name]
        model = onnx.load(one["model"])
        for index, (head, output) in enumerate(asked["heads"]):
            shape = answering.shapes.get(head) or _declared(model, head, output)
            file = f"{index}.npy"
            found = write_head(
                recorded.outputs, head, shape, asked.get("repeat") or 0, folder / file
            )
            content["outputs"][head] = {
                "file": file,
                "shape": [len(recorded.outputs.images), *shape],
            }
            facts[head] = _seen(found)
            told += _lines(head, found)
        if recorded.cache is not None:
            told += _take_cache(
                recorded.cache, model, one, folder, content, answering.least_coverage
            )
    except (DumpError, OSError, DecodeError) as error:
        told_error = {"type": REFUSED, "message": str(error)}
        content |= {"status": "job_failed", "outputs": {}, "error": told_error}
        told.append(str(error))
    content["stages"] = {"infer": time.perf_counter() - started}
    protocol.write_json(str(folder / protocol.PASS), content)
    return facts, told


def _declared(model: onnx.ModelProto, head: str, output: str) -> Shape:
    """Returns the shape of one image that the network says, a batch axis of one left out as in jobs.

    Raises:
        DumpError: the network leaves it open.
    """
    declared = next((info.shape for info in graph.outputs(model) if info.name == output), None)
    sizes = tuple(size for size in declared or () if isinstance(size, int) and size > 0)
    if declared is None or len(sizes) < len(declared) or not sizes:
        message = f"the network does not say the shape of {output!r}: give it as `shapes: {{{head}: […]}}`"
        raise DumpError(message)
    return sizes[1:] if len(sizes) > 1 and sizes[0] == 1 else sizes


def _seen(found: Found) -> dict[str, Any]:
    return {
        "files": found.files,
        "files_of_no_image": found.extra[:20],
        "nonfinite": dict(list(found.nonfinite.items())[:20]),
    }


def _lines(head: str, found: Found) -> list[str]:
    lines = [
        f"{head}: {name} holds {count:,} NaN or infinite" for name, count in found.nonfinite.items()
    ]
    if found.extra:
        lines.append(
            f"{head}: {len(found.extra):,} files belong to no evaluation image, such as {found.extra[0]}"
        )
    return lines


def _take_cache(
    cache: Path,
    model: onnx.ModelProto,
    one: Mapping[str, Any],
    folder: Path,
    content: dict[str, Any],
    least_coverage: float,
) -> list[str]:
    """Hands on the table that the program ran with, where it is one of this network.

    Raises:
        DumpError: the file is no calibration cache, or not the table that the pass is said to have.
    """
    try:
        text = cache.read_bytes()
        parsed = trt_cache.parse(text.decode("utf-8"))
    except (UnicodeDecodeError, trt_cache.CacheError) as error:
        message = f"{cache}: {error}"
        raise DumpError(message) from error
    if not parsed.scales:
        message = f"{cache} names no tensor: did the program that wrote it end, and close the file?"
        raise DumpError(message)
    table = trt_cache.to_table(parsed)
    _, wanted = calibration_model(model)
    unmapped = [tensor for tensor in wanted if tensor not in table.amax]
    known = set(wanted)
    unknown = [tensor for tensor in table.amax if tensor not in known]
    scales = {
        "table": len(table.amax),
        "mapped": len(wanted) - len(unmapped),
        "unmapped": unmapped,
        "unknown": unknown,
        "zero": sorted(table.unusable),
    }
    protocol.write_json(str(folder / protocol.BUILD), {"scales": scales, "warnings": []})
    content["build"] = protocol.BUILD
    if one["table"] is not None:
        _check_shared(cache, parsed.scales, json.loads(Path(one["table"]).read_text("utf-8")))
        return []
    if not enough(len(wanted) - len(unmapped), len(wanted), least_coverage):
        return [
            f"{cache.name} names {len(wanted) - len(unmapped)} of the network's {len(wanted)} tensors, "
            f"less than {least_coverage:.0%}: it is not simulated, so there is no budget; it lacks {', '.join(unmapped[:NAMED])}"
        ]
    protocol.write_bytes(str(folder / protocol.CACHE), text)
    content["cache"] = protocol.CACHE
    return []


NAMED = 5
"""Tensors that a line names."""


def _check_shared(cache: Path, scales: Mapping[str, float], amax: Mapping[str, float]) -> None:
    """Raises DumpError where a cache has not the scales of the table that all environments get."""
    # A cache rounds a scale to float32.
    wrong = [
        name
        for name, value in amax.items()
        if not abs(scales.get(name, 0.0) * 127 - value) <= 1e-6 * value
    ]
    if wrong:
        message = (
            f"{cache} is not this experiment's shared table: {len(wrong):,} of {len(amax):,} scales are "
            f"others, such as that of {wrong[0]!r}; record again with the shared table"
        )
        raise DumpError(message)
