"""The layers' section: what ran alike is one row, and a large network stays readable."""

from dataclasses import replace

import onnx
import pytest

from tests.unit.judgements import SHARED, cell_result, head, judgement
from tests.unit.pages import assert_inert, column_counts, parse
from tests.unit.small_networks import Builder, detector
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.precisions import LayerPrecisions, LayerReport
from trt_matrix.core.network.lineage import Lineage, SuspectOperator, SuspectOperators
from trt_matrix.core.network.network_map import NetworkMap, network_map
from trt_matrix.report.html import render
from trt_matrix.report.layers import MOST_ROWS, MOST_WAYS, layers

HEADS = ("large", "small")


def chain(length: int, heads: int = 1) -> NetworkMap:
    """`length` pairs of Conv and Relu, then the heads, each a Conv."""
    b = Builder()
    x = "image"
    for i in range(length):
        x = b.node("Relu", [b.conv(x, f"c{i}", 2, 2, k=1)], f"r{i}")
    names = [b.conv(x, f"head{i}", 2, 2, k=1) for i in range(heads)]
    model = b.model({"image": [1, 2, 4, 4]}, names)
    return network_map(model, [(name, name) for name in names])


def suspicion(*nodes: str, bad: str = "small", good: str = "large") -> Lineage:
    operators = tuple(SuspectOperator(node=node, operator="Resize", custom=False) for node in nodes)
    suspects = (SuspectOperators(heads=(bad,), operators=operators, others={}),)
    return Lineage(bad=(bad,), good=(good,), suspects=suspects, sentence="")


def judged(network: NetworkMap, *ways: LayerPrecisions, **changed: object) -> Judgement:
    cells = [
        cell_result(cell.partition("/")[0], SHARED, [head("small")])
        for way in ways
        for cell in way.cells
    ]
    report = LayerReport(network=network, ways=ways)
    return judgement(cells, heads=network.heads, **{"layers": report} | changed)


def way(environment: str, network: NetworkMap, **precisions: str) -> LayerPrecisions:
    """Convolutions on integers, all else in float, but for `precisions`."""
    ran = {
        layer.name: "int8" if layer.operator == "Conv" else "float" for _, layer in network.layers
    }
    return LayerPrecisions(cells=(f"{environment}/cpu/{SHARED.name}",), precisions=ran | precisions)


@pytest.fixture(scope="module")
def network() -> NetworkMap:
    return network_map(detector(), [(head, head) for head in HEADS])


def test_hundreds_of_layers_that_ran_alike_are_one_row() -> None:
    network = chain(200)
    found = layers(judged(network, way("a", network), way("b", network)))
    assert found
    (part,) = found.parts
    (row,) = part.rows
    assert len(row.layers) == 401
    assert row.agreed == "int8: 201 Conv · float: 200 Relu"
    assert (found.differing, part.left_out) == (0, 0)


def test_one_layer_that_a_version_ran_otherwise_stands_out() -> None:
    network = chain(200)
    odd = way("b", network, conv_c77="float")
    found = layers(judged(network, way("a", network), odd))
    assert found
    before, row, after = found.parts[0].rows
    assert [layer.name for layer in row.layers] == ["conv_c77", "relu_r77"]
    assert row.agreed is None
    assert row.told == ("int8: 1 Conv · float: 1 Relu", "float")
    assert before.agreed
    assert after.agreed
    assert found.differing == 1


def test_what_always_differs_stays_one_row() -> None:
    """ONNX Runtime runs every Relu in float, TensorRT on integers: no row a layer."""
    network = chain(200)
    relus = {layer.name: "int8" for _, layer in network.layers if layer.operator == "Relu"}
    found = layers(judged(network, way("a", network), way("b", network, **relus)))
    assert found
    (row,) = found.parts[0].rows
    assert row.told == ("int8: 201 Conv · float: 200 Relu", "int8")
    assert found.differing == 200


def test_a_network_of_which_every_layer_differs_is_cut() -> None:
    network = chain(200)
    odd = {f"conv_c{i}": "float" for i in range(0, 200, 2)}
    found = layers(judged(network, way("a", network), way("b", network, **odd)))
    assert found
    part = found.parts[0]
    assert len(part.rows) == MOST_ROWS
    assert sum(len(row.layers) for row in part.rows) + part.left_out == 401


def test_what_is_not_told_contradicts_nothing(network: NetworkMap) -> None:
    silent = LayerPrecisions(cells=(f"b/cpu/{SHARED.name}",), precisions={"conv_c1": "int8"})
    found = layers(judged(network, way("a", network), silent))
    assert found
    assert found.differing == 0
    text = parse(render(judged(network, silent))).by_id("layers").text
    assert "not told" in text


def test_a_suspect_has_a_row_of_its_own_and_its_part_is_marked(network: NetworkMap) -> None:
    made = judged(network, way("a", network), lineage=(suspicion("resize_up"),))
    found = layers(made)
    assert found
    rows = {part.title: part for part in found.parts}
    assert [title for title, part in rows.items() if part.behind_bad] == ["small alone"]
    (row,) = [row for row in rows["small alone"].rows if row.suspect]
    assert [layer.name for layer in row.layers] == ["resize_up"]
    section = parse(render(made)).by_id("layers")
    assert "behind bad heads alone" in section.text
    assert "only bad heads behind it" in parse(render(made)).by_id("network").text


def test_ways_beyond_a_pages_width_are_counted(network: NetworkMap) -> None:
    many = [way(f"v{i}", network, resize_up=f"p{i}") for i in range(MOST_WAYS + 3)]
    found = layers(judged(network, *many))
    assert found
    assert [column.letter for column in found.columns] == list("ABCDEFGH")
    assert found.left_out == 3
    assert (
        "3 more ways of fewer cells" in parse(render(judged(network, *many))).by_id("layers").text
    )


def test_without_the_network_there_is_no_such_section() -> None:
    document = parse(render(judgement([cell_result()])))
    assert not [element for element in document.walk() if element.attributes.get("id") == "layers"]


def hostile(text: str) -> onnx.ModelProto:
    model = detector()
    for node in model.graph.node:
        node.name = f"{text}{node.name}"
    return model


@pytest.mark.parametrize("text", ["</svg><script>alert(1)</script>", "\u202e", "x" * 10_000, "'\""])
def test_names_of_layers_stay_text(text: str) -> None:
    network = network_map(hostile(text), [(text, "large"), ("small", "small")])
    made = judged(network, way("a", network), way("b", network, **{f"{text}resize_up": text}))
    made = replace(made, lineage=(suspicion(f"{text}resize_up", good=text),))
    page = render(made)
    document = parse(page)
    assert_inert(document)
    assert all(len(column_counts(element)) == 1 for element in document.all("table"))
    for section in map(document.by_id, ("layers", "network")):
        assert not set(section.raw) & set("\u202e")
        assert len(section.raw) < 20_000
