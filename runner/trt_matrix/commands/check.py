"""What `trt-matrix check` tells: what NVIDIA's parser and builder say of a network's forms, node by node.

TensorRT-RTX has the parser of TensorRT 11 and builds for GPUs that are not there. Nothing is run.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from trt_matrix.commands.migration import files, sources
from trt_matrix.config import matrix as configuration
from trt_matrix.containers.job import protocol
from trt_matrix.core.cells import Precision
from trt_matrix.core.hosts import gpu_models
from trt_matrix.core.hosts.gpus import Capability
from trt_matrix.core.hosts.wheels import RTX, wheel
from trt_matrix.core.migration.to_qdq import to_qdq
from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.explicit import INT8, place
from trt_matrix.core.reduced.converting import convert
from trt_matrix.core.shipped.quantisation import quantisation_of
from trt_matrix.core.tables.reading import LIMIT_NETWORK_BYTES
from trt_matrix.core.tables.table import Provenance, Table, TableError
from trt_matrix.core.words import count
from trt_matrix.environments.venv import VenvEnvironment, default_cache
from trt_matrix.errors import ConfigError, EnvironmentUnavailableError, ExitCode

NEWEST = "1.7.1.116"
CAPABILITY: Capability = (8, 6)
LEAST = 0.9
DEADLINE_S = 1800.0
MADE_UP = Provenance(algorithm="none", note="every range 1: no scale is looked at")

FLOAT, HALF, QDQ, SHIPPED = "float", "float16", "Q/DQ", "as it is"
PRECISIONS = {FLOAT: "fp32", HALF: "fp16", QDQ: "int8", SHIPPED: "int8"}


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkForm:
    """One way to write the network."""

    name: str
    model: onnx.ModelProto | None
    """None where it cannot be written so."""
    notes: Mapping[str, str]
    """Node → why it is not as the form would have it."""
    problem: str | None = None
    """Why there is no model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    path: Path
    prepared: Sequence[str]
    """What was done to the network before."""
    forms: Sequence[NetworkForm]
    nodes: Sequence[tuple[str, str]]
    """(name, operator) of the network's nodes."""
    made_up: bool
    """Whether the Q/DQ form has no scales of a table."""
    answers: Sequence[Mapping[str, Any]]
    """Of each version: see `job.check`."""

    def exit_code(self) -> ExitCode:
        bad = any(
            form["refused"] or any("error" in built for built in form["built"].values())
            for answer in self.answers
            for form in answer["forms"].values()
        )
        return ExitCode.COULD_NOT_RUN if bad else ExitCode.OK

    def text(self, *, every_node: bool) -> str:
        lines = [f"{self.path.name}: {count(len(self.nodes), 'node')}", *self.prepared]
        if self.made_up:
            lines.append(
                "no --table: the Q/DQ form has made-up scales, which neither parser nor builder looks at"
            )
        lines += [
            f"{form.name}: not written: {form.problem}" for form in self.forms if form.problem
        ]
        for answer in self.answers:
            lines += ["", f"{_title(answer)}:"]
            lines += [f"  {name}: {_told(form)}" for name, form in self._in_order(answer)]
            lines += self._table(answer, every_node=every_node)
        return "\n".join(lines)

    def summary(self) -> Mapping[str, Any]:
        return {
            "model": str(self.path),
            "prepared": list(self.prepared),
            "made_up_scales": self.made_up,
            "not_written": {form.name: form.problem for form in self.forms if form.problem},
            "versions": [
                {
                    "engine": answer["engine"],
                    "version": answer["version"],
                    "forms": {name: _short(form) for name, form in self._in_order(answer)},
                    "nodes": [
                        {"name": name, "operator": operator, **self._fates(answer, name)}
                        for name, operator in self.nodes
                    ],
                }
                for answer in self.answers
            ],
        }

    def _in_order(self, answer: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [(form.name, answer["forms"][form.name]) for form in self.forms if form.model]

    def _table(self, answer: Mapping[str, Any], *, every_node: bool) -> list[str]:
        """Returns a line a node; without `every_node` of those that differ from what their form is for."""
        chosen = [
            (name, operator, self._fates(answer, name))
            for name, operator in self.nodes
            if every_node or self._is_notable(answer, name)
        ]
        if not chosen:
            return []
        width = max(len(f"{name} ({operator})") for name, operator, _ in chosen)
        head = "" if every_node else " that are not as the form is for (--nodes: all)"
        return [
            f"  {count(len(chosen), 'node')}{head}:",
            *(
                f"    {f'{name} ({operator})':<{width}}  "
                + "; ".join(f"{form}: {fate}" for form, fate in fates.items())
                for name, operator, fates in chosen
            ),
        ]

    def _is_notable(self, answer: Mapping[str, Any], node: str) -> bool:
        noted = any(node in form.notes for form in self.forms if form.model)
        return noted or any(_refusal(form, node) is not None for _, form in self._in_order(answer))

    def _fates(self, answer: Mapping[str, Any], node: str) -> dict[str, str]:
        """Returns form → what became of a node in it."""
        notes = {form.name: form.notes.get(node) for form in self.forms}
        return {name: _fate(form, node, notes[name]) for name, form in self._in_order(answer)}


def check(
    path: Path,
    *,
    table: Path | None,
    versions: Sequence[str],
    capabilities: Sequence[Capability],
    offline: bool,
    config: Path | None = None,
) -> CheckReport:
    """Writes a network in its forms and hands them to NVIDIA's parser and builder.

    `table` gives the scales of its Q/DQ form; without one they are made up. `versions` are of TensorRT-RTX,
    `capabilities` those of the GPUs that are built for; `config` says shapes and constants of its inputs.

    Raises:
        ConfigError: the network or table cannot be read.
        EnvironmentUnavailableError: TensorRT-RTX cannot be had here.
    """
    model = files.network_of(path)
    notes: Sequence[str] = ()
    if config is not None:
        model, notes = sources.as_stated(model, path, *configuration.load(config))
    try:
        plain = canonical(model)
        forms = _forms(path, model, table)
    except (graph.GraphError, TableError) as error:
        raise ConfigError(str(table or path), [str(error)]) from error
    answers = [_asked(forms, version, capabilities, offline=offline) for version in versions]
    return CheckReport(
        path=path,
        prepared=notes,
        forms=forms,
        nodes=[(node.name, node.op_type) for node in plain.graph.node],
        made_up=table is None and any(form.name == QDQ for form in forms),
        answers=answers,
    )


def _forms(path: Path, model: onnx.ModelProto, table: Path | None) -> list[NetworkForm]:
    shipped = quantisation_of(model)
    if shipped is not None and shipped.anything:
        if table is not None:
            message = f"{shipped.sentence()}; a table goes into the float network: name that"
            raise ConfigError(str(path), [message])
        return [NetworkForm(name=SHIPPED, model=model, notes={})]
    return [NetworkForm(name=FLOAT, model=model, notes={}), _half(model), _qdq(model, table)]


def _half(model: onnx.ModelProto) -> NetworkForm:
    try:
        converted = convert(model, Precision.FP16, {})
    except graph.GraphError as error:
        return NetworkForm(name=HALF, model=None, notes={}, problem=str(error))
    notes = {node: f"stays in float32: {why}" for node, why in converted.kept.items()}
    return NetworkForm(name=HALF, model=converted.model, notes=notes)


def _qdq(model: onnx.ModelProto, table: Path | None) -> NetworkForm:
    if table is not None:
        heads = [(output.name, output.name) for output in graph.outputs(model)]
        placed_table = to_qdq(model, files.table_of(table), heads, names={}, least=LEAST)
        notes = {node: f"stays in float: {why}" for node, why in placed_table.float_layers.items()}
        return NetworkForm(name=QDQ, model=placed_table.model, notes=notes)
    plain = canonical(model)
    named = {name for node in plain.graph.node for name in (*node.input, *node.output) if name}
    ranges = Table(amax=dict.fromkeys(named, 1.0), provenance=MADE_UP)
    try:
        placed = place(model, ranges)
    except graph.GraphError as error:
        return NetworkForm(name=QDQ, model=None, notes={}, problem=str(error))
    notes = {
        node: f"stays in float: {state}" for node, state in placed.layers.items() if state != INT8
    }
    return NetworkForm(name=QDQ, model=placed.model, notes=notes)


def _asked(
    forms: Sequence[NetworkForm], version: str, capabilities: Sequence[Capability], *, offline: bool
) -> Mapping[str, Any]:
    try:
        chosen = wheel(RTX, version, None)
    except ValueError as error:
        raise EnvironmentUnavailableError(str(error)) from error
    environment = VenvEnvironment(
        name=f"{RTX} {version}",
        engine="tensorrt",
        requirements=chosen.requirements,
        python=None,
        cache=default_cache(os.environ),
        wheel=chosen,
    )
    environment.prepare(offline=offline)
    with tempfile.TemporaryDirectory(prefix="trt-matrix-check-") as name:
        folder = Path(name)
        request, answer, log = (folder / name for name in ("request.json", "answer.json", "log"))
        protocol.write_json(
            str(request),
            {
                "forms": [
                    {"name": form.name, "model": _written(form.model, folder / f"{number}.onnx"),
                     "precision": PRECISIONS[form.name]}
                    for number, form in enumerate(forms) if form.model
                ],
                "capabilities": [major * 10 + minor for major, minor in capabilities],
            },
        )  # fmt: skip
        ending = environment.check(request, answer, log, deadline_s=DEADLINE_S)
        if not answer.exists():
            said = log.read_text(errors="replace").strip().splitlines()[-1:]
            how = f"signal {ending.signal}" if ending.signal else f"code {ending.exit_code}"
            message = f"{environment.name} ended with {how}: {' '.join(said)[:300]}"
            raise EnvironmentUnavailableError(message)
        answered: Mapping[str, Any] = json.loads(answer.read_text("utf-8"))
        return answered


def _written(model: onnx.ModelProto, path: Path) -> str:
    onnx.save(model, path, save_as_external_data=model.ByteSize() > LIMIT_NETWORK_BYTES)
    return str(path)


def _title(answer: Mapping[str, Any]) -> str:
    return f"{'TensorRT-RTX' if answer['engine'] == RTX else 'TensorRT'} {answer['version']}"


def _told(form: Mapping[str, Any]) -> str:
    """Returns `read, 53 layers; built for 8.6 (4.2 MB, 0.6 s)`."""
    if form["refused"]:
        texts = dict.fromkeys(_said(each) for each in form["refused"])
        return f"refused: {'; '.join(texts)}"
    built = [
        f"built for {name} ({each['bytes'] / 1e6:.1f} MB, {each['seconds']:.1f} s)"
        if "bytes" in each
        else f"no engine for {name}: {each['error']}"
        for name, each in form["built"].items()
    ]
    return "; ".join([f"read, {count(len(form['layers']), 'layer')}", *built])


def _said(refused: Mapping[str, Any]) -> str:
    where = f"{refused['node']} ({refused['operator']}): " if refused["node"] else ""
    return where + " ".join(refused["text"].split())


def _short(form: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"refused": form["refused"], "layers": len(form["layers"]), "built": form["built"]}


def _refusal(form: Mapping[str, Any], node: str) -> str | None:
    return next((each["text"] for each in form["refused"] or () if each["node"] == node), None)


def _fate(form: Mapping[str, Any], node: str, note: str | None) -> str:
    if refused := _refusal(form, node):
        return f"refused: {' '.join(refused.split())}"
    layers = [layer for layer in form["layers"] if layer[0] == node]
    if not layers:
        return "not read" if form["refused"] else "no layer of its own"
    dequantised = any("DEQUANTIZE" in before for _, _, _, before in layers)
    kinds = " + ".join(f"{kind} {type_}" for _, kind, type_, _ in layers)
    return kinds + (" of quantised inputs" if dequantised else "") + (f" ({note})" if note else "")


def capabilities(gpus: Sequence[str]) -> tuple[Capability, ...]:
    """Returns the compute capabilities of GPUs by name; CAPABILITY where none is named.

    Raises:
        ConfigError: no GPU is called so.
    """
    chosen = []
    for name in gpus:
        if (known := gpu_models.model(name)) is None:
            near = ", ".join(gpu_models.similar(name))
            message = f"no GPU is called so{f'; did you mean {near}?' if near else ''}"
            raise ConfigError(name, [message])
        chosen.append(known.capability)
    return tuple(dict.fromkeys(chosen)) or (CAPABILITY,)
