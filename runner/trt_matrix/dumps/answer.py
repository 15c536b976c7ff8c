"""Answers a job's request from recorded outputs: the same files that a job would have written.

What engine wrote them is what the user says; every such value carries `STATED`, wherever it shows.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from trt_matrix.containers.job import protocol
from trt_matrix.core.network import graph
from trt_matrix.dumps.layers import LayerFiles, take_layers
from trt_matrix.dumps.recorded import Found, Recorded, Shape, write_head
from trt_matrix.dumps.table import TableContext, shared_table, take
from trt_matrix.dumps.table_file import TableFile
from trt_matrix.dumps.tensor import DumpError

STATED = "(stated, not probed)"

REFUSED = "recorded outputs"
"""What an error is said to be about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DumpedPass:
    outputs: Recorded
    table: TableFile | None
    """That the program ran with."""
    layers: LayerFiles = field(default_factory=LayerFiles)
    """What it recorded of its engine's layers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramAnswer:
    """Everything that is known of one program's outputs."""

    engine: str
    version: str
    stated: Mapping[str, str]
    passes: Mapping[str, DumpedPass]
    """pass name → its files."""
    shapes: Mapping[str, Shape]
    """head → axes of one image; default: as the network says."""
    least_coverage: float
    """Least share of a head's tensors that a table must name, or its simulation would say nothing: what it
    leaves out stays float there."""

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


def answer(answering: ProgramAnswer, request: Path, result: Path, log: Path) -> None:
    """Writes probe.json, every pass and result.json; a pass that cannot be read says why."""
    asked = protocol.read_request(str(request))
    probe: dict[str, Any] = {"schema_version": protocol.SCHEMA_VERSION, **answering.facts()}
    with log.open("a", encoding="utf-8") as stream:
        for pass_ in asked["passes"]:
            answered, lines = _pass(answering, asked, pass_, result)
            probe.setdefault("files", {})[pass_["name"]] = answered
            stream.writelines(f"{pass_['name']}: {line}\n" for line in lines)
    protocol.write_json(str(result / protocol.PROBE), probe)
    ended = {"status": "ok", "stage": "infer", "error": None}
    protocol.write_json(
        str(result / protocol.RESULT), {"schema_version": protocol.SCHEMA_VERSION, **ended}
    )


def _pass(
    answering: ProgramAnswer, asked: Mapping[str, Any], pass_: Mapping[str, Any], result: Path
) -> tuple[dict[str, Any], list[str]]:
    """Writes one pass; returns facts of its files, and lines for the log."""
    name = pass_["name"]
    folder = result / protocol.PASSES / name
    folder.mkdir(parents=True)
    started = time.perf_counter()
    content: dict[str, Any] = {
        "schema_version": protocol.SCHEMA_VERSION,
        "name": name,
        "model": Path(pass_["model"]).name,
        "status": "ok",
        "error": None,
        "outputs": {},
        "latency": None,
        "executed": None,
    }
    facts: dict[str, Any] = {}
    lines: list[str] = []
    try:
        recorded = answering.passes[name]
        model = onnx.load(pass_["model"])
        for index, (head, output) in enumerate(asked["heads"]):
            shape = answering.shapes.get(head) or _declared(
                model, head, output, protocol.batch_size(asked)
            )
            file, repeat = f"{index}.npy", asked.get("repeat") or 0
            written = write_head(recorded.outputs, head, shape, repeat, folder / file)
            whole = [len(recorded.outputs.images), *shape]
            content["outputs"][head] = {"file": file, "shape": whole}
            facts[head] = {
                "files": written.files,
                "files_of_no_image": written.extra[:20],
                "nonfinite": dict(list(written.nonfinite.items())[:20]),
            }
            lines += _lines(head, written)
        # Of another precision a table says nothing, and the shared one of Q/DQ nodes is in the network.
        own = (pass_.get("implicit") or {}).get("scales") == "calibrate"
        if recorded.table is not None and (own or pass_["table"] is not None):
            wanted = TableContext(
                model=model,
                engine=answering.engine,
                heads=[(head, output) for head, output in asked["heads"]],
                least=answering.least_coverage,
                shared=shared_table(pass_["table"]),
            )
            lines += _take_table(recorded.table, wanted, folder, content)
        if recorded.layers.paths():
            lines += _take_layers(recorded.layers, model, folder, content)
    except (DumpError, OSError, DecodeError) as error:
        reason = {"type": REFUSED, "message": str(error)}
        content |= {"status": "job_failed", "outputs": {}, "error": reason}
        lines.append(str(error))
    content["stages"] = {"infer": time.perf_counter() - started}
    protocol.write_json(str(folder / protocol.PASS), content)
    return facts, lines


def _declared(model: onnx.ModelProto, head: str, output: str, batch: int) -> Shape:
    """Returns the shape of one image that the network says, the batch's axis left out as in jobs.

    Raises:
        DumpError: the network leaves it open.
    """
    declared = next((info.shape for info in graph.outputs(model) if info.name == output), None)
    sizes = tuple(size for size in declared or () if isinstance(size, int) and size > 0)
    if declared is None or len(sizes) < len(declared) or not sizes:
        message = f"the network does not say the shape of {output!r}: give it as `shapes: {{{head}: […]}}`"
        raise DumpError(message)
    return sizes[1:] if len(sizes) > 1 and sizes[0] == batch else sizes


def _lines(head: str, output: Found) -> list[str]:
    lines = [
        f"{head}: {name} holds {count:,} NaN or infinite"
        for name, count in output.nonfinite.items()
    ]
    if output.extra:
        lines.append(
            f"{head}: {len(output.extra):,} files belong to no evaluation image, such as {output.extra[0]}"
        )
    return lines


def _take_table(
    file: TableFile, asked: TableContext, folder: Path, content: dict[str, Any]
) -> Sequence[str]:
    """Hands on the table that the program ran with, or why it is not used; returns lines for the log."""
    taken = take(file, asked)
    if taken.scales is not None:
        build = {"scales": taken.scales, "warnings": list(taken.notes)}
        protocol.write_json(str(folder / protocol.BUILD), build)
        content["build"] = protocol.BUILD
    if taken.cache is not None:
        protocol.write_bytes(str(folder / protocol.CACHE), taken.cache)
        content["cache"] = protocol.CACHE
    content |= {"table_problem": taken.problem, "table_notes": list(taken.notes)}
    return [*([f"its table is not used: {taken.problem}"] if taken.problem else []), *taken.notes]


def _take_layers(
    files: LayerFiles, model: onnx.ModelProto, folder: Path, content: dict[str, Any]
) -> Sequence[str]:
    """Hands on what was recorded of layers; returns lines for the log, which stand beside the table's too."""
    taken = take_layers(files, model)
    if taken.answer is not None:
        protocol.write_json(str(folder / protocol.LAYERS), taken.answer)
        content["layers"] = protocol.LAYERS
    content["table_notes"] = [*content.get("table_notes", ()), *taken.notes]
    return taken.notes
