"""Which operators only the bad heads depend on: from the network's graph, to one sentence.

A fault that sits in one operator shows in every head behind it and in no other. What sets heads
apart is told in the order in which it is likely to be to blame: custom operators, resampling, what
joins branches, then anything unusual; convolutions and activations are only counted.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from trt_matrix.core.manifest import Behind, Operator
from trt_matrix.core.network import graph
from trt_matrix.core.network.operators import MACS, POINTWISE
from trt_matrix.core.words import listed, verb

RESAMPLING = frozenset(
    {"ConvTranspose", "DepthToSpace", "GridSample", "Resize", "SpaceToDepth", "Upsample"}
)
JOINING = frozenset({"Concat", "Slice", "Split"})
COMMON = (MACS | POINTWISE) - RESAMPLING | {
    "Add", "BatchNormalization", "Cast", "Constant", "ConstantOfShape", "Div", "Dropout", "Expand",
    "Flatten", "Gather", "Identity", "Pow", "Range", "Reshape", "Shape", "Sqrt", "Squeeze", "Sub",
    "Transpose", "Unsqueeze",
}  # fmt: skip
"""In every head of every network: they set nothing apart, so they are counted and not named."""

NAMED = 6
"""Most operators of one group that are named in a sentence."""


def behind(
    model: onnx.ModelProto, heads: Iterable[tuple[str, str]], custom: Collection[str] = ()
) -> tuple[Behind, ...]:
    """Groups the operators by the (head, output tensor) that depend on them; `custom` are what the user calls so.

    Returns:
        One group for each set of heads that some operator is behind, in topological order.
    """
    model = graph.named(model)
    heads_of: dict[str, list[str]] = {node.name: [] for node in model.graph.node}
    for head, tensor in heads:
        for name in graph.backward_cone(model, tensor):
            heads_of[name].append(head)
    groups: dict[tuple[str, ...], list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if heads_of[node.name]:
            groups.setdefault(tuple(heads_of[node.name]), []).append(node)
    strange = {custom_operator.node for custom_operator in graph.custom_operators(model)}
    # Nodes of the standard domain that no standard knows: how exporters write plugins.
    functions = {(function.domain, function.name) for function in model.functions}
    for node in model.graph.node:
        own = (node.domain, node.op_type) in functions
        if node.domain in ("", "ai.onnx") and not own and not onnx.defs.has(node.op_type):
            strange.add(node.name)
    return tuple(_group(names, nodes, strange.union(custom)) for names, nodes in groups.items())


def _group(
    heads: tuple[str, ...], nodes: Sequence[onnx.NodeProto], custom: Collection[str]
) -> Behind:
    operators, others = [], Counter[str]()
    for node in nodes:
        is_custom = node.name in custom or node.op_type in custom
        operator = Operator(name=node.name, operator=node.op_type, custom=is_custom)
        if _rank(operator) is None:
            others[node.op_type] += 1
        else:
            operators.append(operator)
    return Behind(heads=heads, operators=tuple(operators), others=others)


def _rank(operator: Operator) -> int | None:
    """Returns how early an operator is told; None for those that are only counted."""
    if operator.custom:
        return 0
    if operator.operator in COMMON:
        return None
    return 1 if operator.operator in RESAMPLING else 2 if operator.operator in JOINING else 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectOperator:
    """One operator that may be to blame."""

    node: str
    operator: str
    custom: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SuspectOperators:
    """Operators that these bad heads, all of them, and no good head depend on."""

    heads: tuple[str, ...]
    operators: tuple[SuspectOperator, ...]
    """Those that set them apart, the likeliest first."""
    others: Mapping[str, int]
    """Operator → how many more of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """What the graph says about one set of bad heads."""

    bad: tuple[str, ...]
    good: tuple[str, ...]
    suspects: tuple[SuspectOperators, ...]
    """Those behind all bad heads first, then those behind some."""
    causes: tuple[str, ...] = ()
    """The verdicts that call them bad, or that a gate does not hold."""
    cells: tuple[str, ...] = ()
    """The cells that show it."""
    sentence: str


def lineage(groups: Sequence[Behind], bad: Sequence[str], good: Sequence[str]) -> Lineage | None:
    """Explains why `bad` and not `good`; None where all heads or none are bad.

    Heads in neither, since nothing is known of them, are no evidence.
    """
    if not groups or not bad or not good:
        return None
    reached_by: dict[tuple[str, ...], list[Behind]] = {}
    for group in groups:
        reached = tuple(head for head in bad if head in group.heads)
        if reached and not set(good).intersection(group.heads):
            reached_by.setdefault(reached, []).append(group)
    most_first = sorted(reached_by, key=len, reverse=True)
    suspects = tuple(_suspects(heads, reached_by[heads]) for heads in most_first)
    sentence = _sentence(bad, good, suspects)
    return Lineage(bad=tuple(bad), good=tuple(good), suspects=suspects, sentence=sentence)


def _suspects(heads: tuple[str, ...], groups: Sequence[Behind]) -> SuspectOperators:
    operators = sorted(
        (operator for group in groups for operator in group.operators),
        key=lambda operator: _rank(operator) or 0,
    )
    others: Counter[str] = Counter()
    for group in groups:
        others.update(group.others)
    return SuspectOperators(
        heads=heads,
        operators=tuple(
            SuspectOperator(node=operator.name, operator=operator.operator, custom=operator.custom)
            for operator in operators
        ),
        others=dict(others.most_common()),
    )


def _sentence(bad: Sequence[str], good: Sequence[str], suspects: Sequence[SuspectOperators]) -> str:
    start = f"{listed(bad)} {verb('is', bad)} bad, {listed(good)} {verb('is', good)} not; "
    common = [suspect for suspect in suspects if len(suspect.heads) == len(bad)]
    if not suspects:
        return f"{start}all that is behind the former is behind the latter too: the graph explains nothing."
    if not common:
        start += "no operator is behind all of the former and none of the latter"
    elif not any(suspect.operators for suspect in suspects):
        them = "it" if len(bad) == 1 else "them"
        return f"{start}nothing but {listed(_counts(common[0].others, {}))} sets {them} apart: no operator stands out."
    else:
        subject = "only it lies" if len(bad) == 1 else "only they lie"
        start += f"{subject} behind {_told(common[0])}"
    parts = [
        f"{listed(suspect.heads)} alone behind {_told(suspect)}"
        for suspect in suspects
        if suspect not in common and suspect.operators
    ]
    return f"{'; '.join([start, *parts])}."


def _told(suspects: SuspectOperators) -> str:
    """Returns `neck/Resize, mix_12 (custom Mix), 3 Conv and 4 others`."""
    more = Counter(operator.operator for operator in suspects.operators[NAMED:])
    names = [_name(operator) for operator in suspects.operators[:NAMED]]
    return listed([*names, *_counts(suspects.others, more)], most=NAMED + 4)


def _name(operator: SuspectOperator) -> str:
    if operator.custom:
        return f"{operator.node} (custom {operator.operator})"
    is_named = operator.operator.lower() in operator.node.lower()
    return operator.node if is_named else f"{operator.node} ({operator.operator})"


def _counts(others: Mapping[str, int], more: Mapping[str, int]) -> list[str]:
    """Returns `3 Conv`, `4 others`: how many operators are not named, those that multiply by kind."""
    macs = {name: number for name, number in others.items() if name in MACS}
    rest = sum(others.values()) - sum(macs.values())
    counts = [f"{number} {name}" for name, number in {**more, **macs}.items()]
    return [*counts, f"{rest} other{'s' if rest > 1 else ''}"] if rest else counts
