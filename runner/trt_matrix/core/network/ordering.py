"""Nodes in the order in which they compute.

ONNX demands it of a file and its checker refuses others; ONNX Runtime loads them all the same, so they
are about.
"""

from collections.abc import Iterable, Iterator

import onnx


class CircleError(ValueError):
    """Nodes need each other in a circle; names one."""


def reads(node: onnx.NodeProto) -> Iterable[str]:
    """Yields the tensors `node` reads, those captured by its subgraphs (If, Loop) included."""
    yield from (tensor for tensor in node.input if tensor)
    for graph in inner_graphs(node):
        for inner in every_node(graph):
            yield from (tensor for tensor in inner.input if tensor)


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yields the graphs that are attributes of `node`: the branches of an If, the body of a Loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields the nodes of a graph, each with those of the graphs inside of it."""
    for node in graph.node:
        yield node
        for inner in inner_graphs(node):
            yield from every_node(inner)


def order(graph: onnx.GraphProto) -> bool:
    """Puts every node behind those whose tensors it reads, in the graphs inside of it too.

    Nodes that are in order stay where they are.

    Returns:
        Whether any had to move.

    Raises:
        CircleError: there is no such order.
    """
    moved = [order(inner) for node in graph.node for inner in inner_graphs(node)]
    nodes = list(graph.node)
    places = _sorted(nodes)
    if places == list(range(len(nodes))):
        return any(moved)
    # Deleting invalidates them, so they are copied first.
    copies = [onnx.NodeProto.FromString(nodes[index].SerializeToString()) for index in places]
    del graph.node[:]
    graph.node.extend(copies)
    return True


def in_order(graph: onnx.GraphProto) -> bool:
    """Tells whether no node reads what a later one makes, in the graphs inside of it neither."""
    nodes = list(graph.node)
    return _sorted(nodes) == list(range(len(nodes))) and all(
        in_order(inner) for node in nodes for inner in inner_graphs(node)
    )


def _sorted(nodes: list[onnx.NodeProto]) -> list[int]:
    """Returns the nodes' places, each behind those that it needs; in doubt as they are."""
    makers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for tensor in node.output:
            if tensor:
                makers.setdefault(tensor, index)  # a second maker is the checker's to refuse
    needs = [[makers[read] for read in reads(node) if read in makers] for node in nodes]
    done: dict[int, None] = {}
    for first in range(len(nodes)):
        waiting = {first: iter(needs[first])}
        while waiting and first not in done:
            index, left = next(reversed(waiting.items()))
            needed = next((place for place in left if place not in done), None)
            if needed is None:
                done[index] = None
                del waiting[index]
            elif needed in waiting:
                name = f"{nodes[needed].name or nodes[needed].op_type!a:.200}"
                message = f"node {name} needs its own output: no order of the nodes computes it"
                raise CircleError(message)
            else:
                waiting[needed] = iter(needs[needed])
    return list(done)
