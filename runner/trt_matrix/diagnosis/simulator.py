"""A network with any of its quantisers on, computed by ONNX Runtime; what did not change is not computed again.

Each segment is a session of its own with graph optimisation off, so every state has the arithmetic of
the whole network's simulation, to the bit: ONNX Runtime's own optimisation would turn float weights of
a network that is quantised in part into int8. A session has one thread; images are what runs in parallel.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from trt_matrix.core.diagnosis.quantisers import DiagnosisError, Quantised, QuantiserPair, State
from trt_matrix.core.diagnosis.segments import Segment, segments
from trt_matrix.core.network import graph, ordering
from trt_matrix.core.network.image_input import batch_of
from trt_matrix.diagnosis.subject import Told

Values = dict[str, npt.NDArray[Any]]

WORKERS = len(os.sched_getaffinity(0))

_TYPES = {
    f"tensor({name})": element
    for name, element in {
        "float": TensorProto.FLOAT, "double": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16,
        "int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int16": TensorProto.INT16,
        "uint16": TensorProto.UINT16, "int32": TensorProto.INT32, "uint32": TensorProto.UINT32,
        "int64": TensorProto.INT64, "uint64": TensorProto.UINT64, "bool": TensorProto.BOOL,
    }.items()
}  # fmt: skip
"""What ONNX Runtime calls a tensor's type → ONNX's number of it."""

_FAILURES = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)


@dataclass(frozen=True, slots=True)
class Base:
    """One image in one state: every value that a segment gives, before and behind its quantiser."""

    state: State
    raw: Values
    """Of tensors that can be quantised: what their segment gave."""
    values: Values
    """What is read of every tensor."""
    firsts: dict[int, npt.NDArray[Any]] = field(default_factory=dict)
    """Id of one of these arrays, of a batch → its first image: the same array whenever it is asked for."""


class Simulator:
    """One network; every method may be called from several threads."""

    def __init__(
        self, quantised: Quantised, heads: Collection[str], tensors: Collection[str] = ()
    ) -> None:
        """Makes the sessions of the float network.

        `tensors` are further ones that some state may quantise.

        Raises:
            DiagnosisError: ONNX Runtime cannot run the network.
        """
        self.found = quantised
        self.heads = tuple(heads)
        self.input = graph.require_float32_input(quantised.model).name
        self._batch = batch_of(quantised.model)
        self.tensors = quantised.state.tensors | set(tensors)
        self.segments = segments(quantised.model, self.tensors | set(heads))
        self._values = {tensor.name: tensor for tensor in quantised.model.graph.initializer}
        self._types = _types_of(quantised.model)
        self._sessions: dict[tuple[int, frozenset[str]], onnxruntime.InferenceSession] = {}
        self._quantisers: dict[QuantiserPair, onnxruntime.InferenceSession] = {}
        self._last = self._last_readers()
        for index in range(len(self.segments)):
            self._session(index, frozenset())

    def covering(self, states: Iterable[State]) -> "Simulator":
        """Returns a simulator of the same network that can compute these states: this one where it can.

        With layers in float a placement may quantise a tensor that it else leaves inside a fusion.
        """
        wanted = self.tensors.union(*(state.tensors for state in states))
        return self if wanted == self.tensors else Simulator(self.found, self.heads, wanted)

    def base(self, image: npt.NDArray[np.float32], state: State) -> Base:
        """Computes everything of one image, shape (1, …), which fills a batch where the network takes several."""
        raw, values = self._walk(state, image=image)
        wanted = self.tensors.union(self.heads)
        return Base(state, {name: raw[name] for name in raw if name in wanted}, values)

    def outputs(self, state: State, base: Base) -> Mapping[str, npt.NDArray[np.float32]]:
        """Returns head's tensor → its value in `state`; only what differs from `base` is computed.

        An output that nothing changes is the very array of the base.
        """
        raw, values = self._walk(state, base, free=True)
        return self._heads(state, {**base.raw, **raw}, {**base.values, **values}, base)

    def run(
        self, image: npt.NDArray[np.float32], state: State
    ) -> Mapping[str, npt.NDArray[np.float32]]:
        """Computes the heads alone, keeping no value longer than it is read."""
        return self._heads(state, *self._walk(state, image=image, free=True))

    def heads_of(self, base: Base) -> Mapping[str, npt.NDArray[np.float32]]:
        """Returns head's tensor → its value in the base's own state."""
        return self._heads(base.state, base.raw, base.values, base)

    def quantise(
        self, pair: QuantiserPair, value: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Returns what the integers of `value` stand for."""
        if pair not in self._quantisers:
            self._quantisers[pair] = _session(_pair_model(pair))
        quantised: npt.NDArray[np.float32] = self._quantisers[pair].run(None, {"x": value})[0]
        return quantised

    def _heads(
        self, state: State, raw: Values, values: Values, base: Base | None = None
    ) -> Mapping[str, npt.NDArray[np.float32]]:
        """An output that is read as integers inside is given out as it was before, unless it is a head's own pair."""
        own = {pair.tensor for pair in state.pairs if pair.as_head}
        heads = {head: (values if head in own else raw)[head] for head in self.heads}
        if self._batch == 1:
            return heads
        # Of a batch that one image fills; those of a base stay the same arrays.
        return {
            head: base.firsts.setdefault(id(value), value[:1])
            if base and (base.raw.get(head) is value or base.values.get(head) is value)
            else value[:1]
            for head, value in heads.items()
        }

    def _walk(
        self,
        state: State,
        base: Base | None = None,
        image: npt.NDArray[np.float32] | None = None,
        *,
        free: bool = False,
    ) -> tuple[Values, Values]:
        """Computes what differs from `base`, all where there is none: what segments give, and what is read of them.

        Args:
            state: What is quantised.
            base: The same image in another state.
            image: Where there is no base.
            free: Whether what nothing reads any more is given up; the heads stay.

        Raises:
            DiagnosisError: the state quantises a tensor that this simulator keeps inside a segment.
        """
        unknown = state.tensors - self.tensors
        if unknown:
            message = f"tensor {min(unknown)!r} is not among those that this simulator can quantise"
            raise DiagnosisError(message)
        raw: Values = {}
        values: Values = {}
        pairs = {pair.tensor: pair for pair in state.pairs}
        before = {pair.tensor: pair for pair in base.state.pairs} if base else {}

        def settle(name: str) -> None:
            pair = pairs.get(name)
            if name in raw:
                value = raw[name]
            elif base is not None and pair != before.get(name):
                value = base.raw[name]
            else:
                return
            values[name] = value if pair is None else self.quantise(pair, value)

        if image is not None:
            raw[self.input] = image if self._batch == 1 else np.repeat(image, self._batch, axis=0)
        settle(self.input)
        for index, segment in enumerate(self.segments):
            on = state.layers.intersection(segment.layers)
            changed = base is None or on != base.state.layers.intersection(segment.layers)
            if changed or any(name in values or name in raw for name in segment.reads):
                feed = {
                    name: self._read(name, name in segment.captures, pairs, base, raw, values)
                    for name in segment.reads
                }
                outputs = self._session(index, on).run(segment.gives, feed)
                raw.update(zip(segment.gives, outputs, strict=True))
            for name in segment.gives:
                settle(name)
            if free:
                for name in self._last[index]:
                    raw.pop(name, None)
                    values.pop(name, None)
        return raw, values

    @staticmethod
    def _read(
        name: str,
        captured: bool,
        pairs: Mapping[str, QuantiserPair],
        base: Base | None,
        raw: Values,
        values: Values,
    ) -> npt.NDArray[Any]:
        """Returns what a segment reads of a tensor: behind its pair, unless a body reads it in front of it."""
        pair = pairs.get(name)
        if captured and pair is not None and not pair.as_head:
            return raw[name] if name in raw or base is None else base.raw[name]
        return values[name] if name in values or base is None else base.values[name]

    def _session(self, index: int, on: frozenset[str]) -> onnxruntime.InferenceSession:
        key = index, on
        if key not in self._sessions:
            self._sessions[key] = _session(self._segment_model(self.segments[index], on))
        return self._sessions[key]

    def _segment_model(self, segment: Segment, on: frozenset[str]) -> onnx.ModelProto:
        """Returns the segment as a network of its own, with the weights of `on` quantised."""
        whole = self.found.model
        nodes = []
        for index in segment.nodes:
            node = onnx.NodeProto()
            node.CopyFrom(whole.graph.node[index])
            nodes.append(node)
        used = {name for node in nodes for name in ordering.reads(node)}
        values = [self._values[name] for name in used if name in self._values]
        for node in nodes:
            for index, value in self.found.parameters.get(node.name, {}).items():
                if node.name in on:
                    node.input[index] = f"{node.name}/quantised/{index}"
                    values.append(numpy_helper.from_array(value, node.input[index]))
        reads, gives = (
            [helper.make_tensor_value_info(name, self._types[name], None) for name in names]
            for names in (segment.reads, segment.gives)
        )
        model = helper.make_model(
            helper.make_graph(nodes, "segment", reads, gives, values),
            opset_imports=whole.opset_import,
            functions=whole.functions,
        )
        model.ir_version = whole.ir_version
        graph.drop_unused_initialisers(model)
        return model

    def _last_readers(self) -> list[list[str]]:
        """Returns for each segment the tensors that nothing behind it reads; heads are kept."""
        last: dict[str, int] = {}
        for index, segment in enumerate(self.segments):
            last.update(dict.fromkeys((*segment.gives, *segment.reads), index))
        result: list[list[str]] = [[] for _ in self.segments]
        for name, index in last.items():
            if name not in self.heads:
                result[index].append(name)
        return result


def whole_outputs(
    model: onnx.ModelProto, image: npt.NDArray[np.float32], heads: Collection[str]
) -> Mapping[str, npt.NDArray[np.float32]]:
    """Returns the heads of a network that is computed in one piece, to hold the segments against."""
    session, batch = _session(model), batch_of(model)
    fed = np.repeat(image, batch, axis=0)
    outputs = session.run(list(heads), {graph.require_float32_input(model).name: fed})
    return {
        head: value[:1] if batch > 1 else value for head, value in zip(heads, outputs, strict=True)
    }


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Opens a network with one thread and no optimisation.

    Raises:
        DiagnosisError: ONNX Runtime cannot run it.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except _FAILURES as error:
        reason = str(error).strip().splitlines()[0]
        message = f"ONNX Runtime cannot run this network on the host: {reason}"
        raise DiagnosisError(message) from error


def _types_of(model: onnx.ModelProto) -> Mapping[str, int]:
    """Returns tensor → ONNX's element type, as ONNX Runtime finds it.

    Raises:
        DiagnosisError: it cannot run the network, or a value between nodes is no tensor.
    """
    every = graph.copied(model)
    given = {value.name for value in model.graph.output}
    names = [name for name in graph.producers(model) if name not in given]
    every.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = _session(every)
    types = {}
    for value in (*session.get_inputs(), *session.get_outputs()):
        if value.type not in _TYPES:
            message = (
                f"{value.name!r} is a {value.type}, which a simulation cannot be cut at: diagnose a head "
                "in front of it (`heads: {NAME: {output: TENSOR}}`)"
            )
            raise DiagnosisError(message)
        types[value.name] = _TYPES[value.type]
    return types


def _pair_model(pair: QuantiserPair) -> onnx.ModelProto:
    read = pair.scale if pair.read_scale is None else pair.read_scale
    constants = {
        "scale": np.asarray(pair.scale, np.float32),
        "read_scale": np.asarray(read, np.float32),
        "zero": np.asarray(pair.zero_point, pair.dtype),
    }
    graph_proto = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "read_scale", "zero"], ["y"]),
        ],
        "pair",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph_proto, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def for_all(image: Callable[[int], None], count: int, what: str, told: Told) -> None:
    """Does images 0 to `count` − 1 in parallel; the first error, or an interruption, ends it."""
    with ThreadPoolExecutor(WORKERS) as pool:
        running = [pool.submit(image, place) for place in range(count)]
        try:
            for done, future in enumerate(running):
                told(f"{what}: image {done + 1} of {count}")
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
