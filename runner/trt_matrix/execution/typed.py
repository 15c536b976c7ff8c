"""The network in float16 or bfloat16, for engines where its own types decide; made once, and stored."""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from packaging.version import InvalidVersion, Version

from trt_matrix.core.cells import Precision
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.records import StoredObject, digest
from trt_matrix.core.reduced.converting import Converted, convert
from trt_matrix.core.reduced.formats import FORMATS
from trt_matrix.environments.base import Identity
from trt_matrix.execution.inputs import Network
from trt_matrix.store.results import Store

VERSION = 1
"""Raise when the same network with the same ranges gives another one."""

ALWAYS_STRONG = Version("11")
"""The TensorRT from which on all networks are strongly typed."""

TENSORRT = re.compile(r"(nvidia[-_])?tensorrt([-_]cu\d+)?([-_]bindings)?$", re.IGNORECASE)
"""Names of the packages whose version is TensorRT's; TensorRT-RTX counts its own."""

MOST = 100
"""Nodes, tensors and weights that are told by name; more are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranges:
    """Largest magnitudes of a network's tensors."""

    amax: Mapping[str, float]
    told: str
    """Where they are from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TypedNetwork:
    """A network converted to a precision, or why it cannot be."""

    model: StoredObject | None
    facts: Mapping[str, Any]
    """What a measurement of it tells: `facts_of`; empty where it is not needed."""
    reason: str | None = None

    @property
    def asked(self) -> Mapping[str, Any]:
        """Returns the request's entry: `job.protocol.TYPED_KEYS`."""
        return {"model": self.model.file if self.model else None, "reason": self.reason}

    @property
    def key(self) -> Any:
        """What it adds to a fingerprint."""
        return self.model.sha256 if self.model else {"reason": self.reason}


def may_be_strong(engine: str, options: Mapping[str, Any], identity: Identity) -> bool:
    """Whether networks may be strongly typed in an environment, as far as is known before it starts.

    A TensorRT older than 11 takes types for orders only where its options tell it to.
    """
    if engine != "tensorrt":
        return False
    return options.get("typed") == "strong" or not _is_old(identity.facts)


def _is_old(facts: Mapping[str, Any]) -> bool:
    packages = facts.get("packages")
    versions = [
        package.get("version") if isinstance(package, Mapping) else package
        for name, package in (packages.items() if isinstance(packages, Mapping) else ())
        if TENSORRT.match(str(name))
    ]
    reported = facts.get("reported")
    if isinstance(reported, Mapping) and "tensorrt" in reported:
        versions.append(reported["tensorrt"])
    try:
        return bool(versions) and all(Version(str(version)) < ALWAYS_STRONG for version in versions)
    except InvalidVersion:
        return False


def typed(store: Store, network: Network, precision: Precision, ranges: Ranges) -> TypedNetwork:
    """Returns the network in a precision, made where it is not known yet."""

    @functools.cache
    def converted() -> Converted:
        return convert(network.model, precision, ranges.amax)

    def make_model(target: Path) -> None:
        target.write_bytes(converted().model.SerializeToString(deterministic=True))

    def make_facts(target: Path) -> None:
        target.write_text(json.dumps(facts_of(converted(), precision, ranges)), "utf-8")

    key = _key(network, precision, ranges)
    try:
        model = store.derive(key, ".onnx", make_model)
        facts = store.derive({**key, "facts": True}, ".json", make_facts)
    except GraphError as error:
        return TypedNetwork(model=None, facts={}, reason=str(error))
    return TypedNetwork(model=model, facts=json.loads(store.path(facts).read_text("utf-8")))


def typed_before(
    store: Store, network: Network, precision: Precision, ranges: Ranges
) -> TypedNetwork | None:
    """Returns what `typed` made earlier, without its facts; makes nothing."""
    model = store.derived(_key(network, precision, ranges))
    return TypedNetwork(model=model, facts={}) if model else None


def facts_of(converted: Converted, precision: Precision, ranges: Ranges) -> Mapping[str, Any]:
    """Returns what is told of a converted network, as JSON values."""
    zeroed = sum(converted.zeroed.values())
    return {
        "type": FORMATS[precision].name,
        "nodes": converted.reduced,
        "in_float32": _first(converted.kept),
        "nodes_in_float32": len(converted.kept),
        "near_the_end": _first(dict(sorted(converted.near.items(), key=lambda entry: -entry[1]))),
        "weights_that_became_zero": {"values": zeroed, "of": list(_first(converted.zeroed))},
        "ranges": ranges.told,
    }


def _first(facts: Mapping[str, Any]) -> dict[str, Any]:
    return dict(list(facts.items())[:MOST])


def _key(network: Network, precision: Precision, ranges: Ranges) -> Mapping[str, Any]:
    return {
        "typed": VERSION,
        "operators": onnx.__version__,  # which types they take is read from there
        "precision": str(precision),
        "model": network.fp32.sha256,
        "ranges": digest([dict(ranges.amax), ranges.told]),
    }
