"""The network drawn: nothing is said of a box that was not told, nothing lies on anything, all leads somewhere."""

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.unit.judgements import SHARED, cell_result, head, judgement
from tests.unit.pages import Element, parse
from tests.unit.small_networks import Builder, detector
from trt_matrix.core.diagnosis.record import (
    Diagnosis,
    GroupCost,
    HeadDiagnosis,
    Numbers,
    SearchRecord,
)
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.precisions import LayerPrecisions, LayerReport, from_shares
from trt_matrix.core.network.network_map import NetworkMap, network_map
from trt_matrix.core.records import IntegerShare
from trt_matrix.report import model_explorer
from trt_matrix.report.html import render
from trt_matrix.report.layers import layers
from trt_matrix.report.measures import measures
from trt_matrix.report.network import HEIGHT, MOST_BOXES, MOST_HEADS, WIDTH, Drawing, drawing

HEADS = ("large", "small")


def judged(network: NetworkMap, *ways: LayerPrecisions, **changed: object) -> Judgement:
    cells = [cell_result(way.cells[0].partition("/")[0], SHARED, [head("small")]) for way in ways]
    report = LayerReport(network=network, ways=ways)
    return judgement(cells, heads=network.heads, **{"layers": report} | changed)


def way(
    environment: str, network: NetworkMap, name: str = SHARED.name, **changed: Any
) -> LayerPrecisions:
    """All in int8, but for what is given; None takes a layer out."""
    ran = {layer.name: "int8" for _, layer in network.layers} | changed
    told = {layer: side for layer, side in ran.items() if side is not None}
    return LayerPrecisions(cells=(f"{environment}/cpu/{name}",), precisions=told)


def drawn(made: Judgement) -> Drawing:
    found = drawing(made, layers(made))
    assert found
    return found


def pyramid(blocks: int, heads: int) -> NetworkMap:
    """A trunk of residual blocks, taps of which heads read, each joined with the one above it."""
    b = Builder()
    x, taps = b.node("Relu", [b.conv("image", "stem", 2, 2, k=1)], "stem_r"), []
    for i in range(blocks):
        y = x
        for k in "abc":
            y = b.node("Relu", [b.conv(y, f"s{i}{k}", 2, 2, k=1)], f"s{i}{k}_r")
        x = b.node("Add", [x, y], f"s{i}_add")
        taps += [x] if (i + 1) % (blocks // heads) == 0 else []
    names, top = [], ""
    for number, tap in list(enumerate(taps))[::-1]:
        lateral = b.conv(tap, f"lateral{number}", 2, 2, k=1)
        top = b.node("Add", [lateral, top], f"merge{number}") if top else lateral
        y = b.node("Relu", [b.conv(top, f"mid{number}", 2, 2, k=1)], f"mid{number}_r")
        names.append(b.conv(y, f"head{number}", 2, 2, k=1))
    return network_map(b.model({"image": [1, 2, 4, 4]}, names), [(name, name) for name in names])


def diagnosed(network: NetworkMap, gains: dict[str, dict[str, float]]) -> Diagnosis:
    """Layer → head → dB; of each the own error is a hundredth of that."""
    none = Numbers()
    return Diagnosis(
        name="d", run=None, model_sha256="0", engine="onnxruntime", placement="p", table="t",
        table_sha256="0", cost_unit="multiply-accumulates", images_chosen_on=1,
        images_confirmed_on=0, whole=none, tensors=(), skipped={}, elsewhere=None, seconds={},
        search=SearchRecord(
            goals=(), failing=(), chosen=None, confirmed=None, confirmed_holds=None, looks=0,
            minimal=True, best=None, front=(), evaluations=0, sentence="",
        ),
        heads=tuple(
            HeadDiagnosis(
                head=name, int8=none, weights_only_db=None, activations_only_db=None,
                predicted_db=None, rounding_db=None, beyond_db=None, trust=None, worst_images=(),
                suspects=(),
                parts=tuple(
                    GroupCost(
                        group=layer, operator="Conv", cost=0.1, alone_db=None, share=of[name] / 100,
                        gain_db=of[name], worst_gain_db=0.0, lost_back=None, ap_back=None,
                        weights_share=None,
                    )
                    for layer, of in gains.items()
                    if name in of
                ),
            )
            for name in network.heads
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def network() -> NetworkMap:
    return network_map(detector(), [(head, head) for head in HEADS])


@pytest.fixture(scope="module")
def large() -> NetworkMap:
    made = pyramid(75, 5)
    assert 540 < len(made.layers) < 660
    return made


@pytest.fixture(scope="module")
def page(large: NetworkMap) -> Element:
    ways = way("a", large), way("b", large, conv_s30b="float", relu_mid2_r="float")
    return parse(render(judged(large, *ways))).by_id("network")


def side(made: Judgement, layer: str, place: int = 0) -> tuple[str, str]:
    found = drawn(made)
    at = next(i for i, box in enumerate(found.boxes) if box.title.startswith(layer))
    box_side = found.builds[place].sides[at]
    return box_side.kind, box_side.text


# What is told of a box


def test_an_activation_in_float_says_nothing_of_the_layer_before_it(network: NetworkMap) -> None:
    """ONNX Runtime told of every Relu, and of no convolution, where layers were left in float."""
    relus = {layer.name: "float" for _, layer in network.layers if layer.operator == "Relu"}
    assert relus
    silent = LayerPrecisions(cells=(f"a/cpu/{SHARED.name}",), precisions=relus)
    assert {side.kind for side in drawn(judged(network, silent)).builds[0].sides} == {"untold"}
    fused = way("a", network, **relus)
    assert {side.kind for side in drawn(judged(network, fused)).builds[0].sides} == {"int8"}


def test_an_addition_on_integers_says_nothing_of_the_convolutions_of_its_box(
    large: NetworkMap,
) -> None:
    """ONNX Runtime's shares told of every addition, and of no convolution."""
    sums = {layer.name: "int8" for _, layer in large.layers if layer.operator == "Add"}
    told = LayerPrecisions(cells=(f"a/cpu/{SHARED.name}",), precisions=sums)
    made = drawn(judged(large, told))
    mixed = [
        side
        for box, side in zip(made.boxes, made.builds[0].sides, strict=True)
        if "Conv" in box.name and "Add" in box.name
    ]
    assert mixed
    assert {(side.kind, side.text) for side in mixed} == {("untold", "?")}


def test_of_a_folded_box_no_layer_is_passed_over(large: NetworkMap) -> None:
    inside = {f"conv_s{i}b": "float" for i in range(75)}
    texts = [side.text for side in drawn(judged(large, way("a", large, **inside))).builds[0].sides]
    assert any("/" in text for text in texts)
    missing: dict[str, Any] = dict.fromkeys(inside)
    texts = [side.text for side in drawn(judged(large, way("a", large, **missing))).builds[0].sides]
    assert "int8?" in texts


def test_layers_that_were_held_in_float_are_told_so_and_the_others_follow() -> None:
    b = Builder()
    x = b.conv(b.conv(b.conv("image", "a", 2, 2, k=1), "b", 2, 2, k=1), "c", 2, 2, k=1)
    held = network_map(b.model({"image": [1, 2, 4, 4]}, [x]), [("c", "c")])
    macs = {layer.name: layer.macs for _, layer in held.layers}
    share = IntegerShare(
        integer_macs=macs["conv_a"] + macs["conv_c"], total_macs=sum(macs.values()),
        float_layers=(), integer_operators={}, float_operators={},
    )  # fmt: skip
    assert from_shares(held, {"c": share}) == {}
    assert from_shares(held, {"c": share}, ("conv_b",)) == {
        "conv_a": "int8", "conv_b": "float", "conv_c": "int8",
    }  # fmt: skip


def test_the_two_builds_that_are_shown_are_of_one_pass_and_differ_most(large: NetworkMap) -> None:
    everything = dict.fromkeys((layer.name for _, layer in large.layers), "float")
    ways = (
        way("a", large),
        way("b", large, conv_s3b="float"),
        way("c", large, conv_s3b="float", conv_s60a="float"),
        way("d", large, "int8-mixed", **everything),
    )
    cells = [
        cell_result(name, SHARED if name != "d" else replace(SHARED, mixed=True), [head("small")])
        for name in "abcd"
    ]
    made = replace(judged(large, *ways), cells=tuple(cells))
    builds = drawn(made).builds
    assert [build.column.letter for build in builds if build.shown] == ["A", "C"]
    assert [sum(side.differs for side in build.sides) for build in builds] == [2, 0, 2, 0]


# What a layer costs


def test_the_worst_stands_for_a_box_and_shares_add_up(large: NetworkMap) -> None:
    gains = {f"conv_s{i}a": {"head0": 0.9 if i == 7 else 0.25} for i in range(75)}
    made = judged(large, diagnosis=diagnosed(large, gains))
    found = drawn(made)
    assert [measure.key for measure in found.measures] == ["sensitivity", "own", "work"]
    shares = {
        key: [float(box.values[key].text) for box in found.boxes if key in box.values]
        for key in ("sensitivity", "own", "work")
    }
    assert max(shares["sensitivity"]) == 0.9
    assert sum(shares["own"]) == pytest.approx(0.25 * 74 + 0.9, abs=2)
    assert sum(shares["work"]) == pytest.approx(100, abs=2)
    levels = {box.values["sensitivity"].level for box in found.boxes if "sensitivity" in box.values}
    assert levels == {1, 3}
    assert "the worst: head0 " in " ".join(box.title for box in found.boxes)


def test_what_costs_something_and_is_no_layer_is_told(network: NetworkMap) -> None:
    made = judged(network, diagnosis=diagnosed(network, {"image": {"large": 1.2, "small": 0.1}}))
    assert "image: large 1.2, small 0.1 dB back in float ◇" in drawn(made).not_drawn
    assert "image: large 1.2" in parse(render(made)).by_id("network").text


def test_measured_time_is_called_latency_and_work_is_not(network: NetworkMap) -> None:
    (work,) = measures(judged(network))
    assert (work.name, work.title) == ("work", "% of multiply-accumulates")
    diagnosis = diagnosed(network, {"conv_c1": {"large": 1.0}})
    timed = diagnosis.model_copy(update={"cost_unit": "measured time"})
    last = measures(judged(network, diagnosis=timed))[-1]
    assert (last.name, last.title) == ("latency", "% of measured time")
    assert last.values == {"conv_c1": {"": pytest.approx(10)}}


# The drawing


@pytest.mark.parametrize("name", ["network", "large"])
def test_nothing_lies_on_anything_and_all_is_in_the_picture(
    name: str, request: pytest.FixtureRequest
) -> None:
    found = drawn(judged(request.getfixturevalue(name)))
    places = [(box.x, box.y) for box in found.boxes] + [(head.x, head.y) for head in found.heads]
    for at, (x, y) in enumerate(places):
        assert WIDTH // 2 <= x <= found.width - WIDTH // 2
        assert 0 <= y <= found.height - HEIGHT
        for other_x, other_y in places[at + 1 :]:
            assert abs(x - other_x) >= WIDTH or abs(y - other_y) >= HEIGHT
    assert len(found.boxes) <= MOST_BOXES
    assert found.width <= 1224


def test_a_head_stands_behind_the_layer_that_gives_it_out() -> None:
    """`a` and `c` are read on by others: their ends are not the last layers of the network."""
    b = Builder()
    b.node("Relu", ["image"], "a")
    b.node("Sigmoid", ["a"], "b")
    b.node("Add", ["a", "b"], "c")
    b.node("Mul", ["a", "c"], "d")
    made = network_map(b.model({"image": [1, 4]}, ["a", "c", "d"]), [(x, x) for x in "acd"])
    found = drawn(judged(made))
    box = {box.title.partition(",")[0]: box for box in found.boxes}
    for end, layer in zip(found.heads, ("relu_a", "add_c", "mul_d"), strict=True):
        source = next(one for title, one in box.items() if layer in title)
        y = source.y + HEIGHT // 2
        start, stop = f"M{source.x + WIDTH // 2} {y}", f"H{end.x - WIDTH // 2}"
        ways = [f"M{one}" for line in found.lines for one in line.path.split("M")[1:]]
        assert any(way.startswith(start) and way.endswith(stop) for way in ways), layer


def test_every_box_leads_to_a_row_that_is_there(large: NetworkMap) -> None:
    odd = {f"conv_s{i}a": "float" for i in range(75)}
    document = parse(render(judged(large, way("a", large), way("b", large, **odd))))
    ids = {element.attributes.get("id") for element in document.walk()}
    links = {element.attributes["href"] for element in document.by_id("network").all("a")}
    assert len(links) > 10
    assert {link.lstrip("#") for link in links if link} <= ids


def test_builds_have_the_same_boxes_at_the_same_places(page: Element) -> None:
    element, other, cost = page.all("figure")
    places = [
        [link.attributes["transform"] for link in figure.all("a")]
        for figure in (element, other, cost)
    ]
    assert places[0] == places[1] == places[2]
    assert len(set(places[0])) == len(places[0])


def test_every_box_can_be_reached_and_has_a_name(page: Element) -> None:
    builds, cost = page.all("figure")[:2], page.all("figure")[2]
    for link in [element for figure in page.all("figure") for element in figure.all("a")]:
        assert link.attributes["href"]
    assert all(
        ": int8" in element.text or "/" in element.text for element in builds[1].all("title")[:5]
    )
    assert all("leads to head" in link.all("title")[0].text for link in cost.all("a"))


def test_six_hundred_layers_stay_small_and_well_formed(large: NetworkMap) -> None:
    text = render(judged(large, way("a", large), way("b", large, conv_s30b="float")))
    start = text.index('<section id="network"')
    section = text[start : text.index("</section>", start)]
    assert len(section.encode()) < 60_000
    for svg in section.split("<svg width=")[1:]:
        ElementTree.fromstring("<svg width=" + svg[: svg.index("</svg>") + 6])


def test_a_network_of_too_many_heads_is_not_drawn_and_listed_all_the_same() -> None:
    b = Builder()
    names = [b.conv("image", f"head{i}", 2, 2, k=1) for i in range(MOST_HEADS + 1)]
    made = network_map(b.model({"image": [1, 2, 4, 4]}, names), [(name, name) for name in names])
    assert drawing(judged(made), layers(judged(made))) is None
    document = parse(render(judged(made, way("a", made))))
    assert "head24 alone" in document.by_id("layers").text
    assert not [element for element in document.walk() if element.attributes.get("id") == "network"]


# Model Explorer


def test_node_data_are_by_nodes_of_the_network_in_the_form_that_is_documented(
    network: NetworkMap,
) -> None:
    odd = way("b", network, resize_up="fp32")
    gains = {"conv_c1": {"large": 1.5, "small": 0.2}, "image": {"large": 0.3}}
    made = judged(network, way("a", network), odd, diagnosis=diagnosed(network, gains))
    files = {name: json.loads(text) for name, text in model_explorer.node_data(made).items()}
    assert list(files) == [
        "precision-A.json", "precision-B.json", "sensitivity.json", "own.json", "work.json",
    ]  # fmt: skip
    nodes = {node.name for node in detector().graph.node}
    for content in files.values():
        assert {"name", "results"} <= set(content) <= {"name", "results", "thresholds"}
        assert set(content["results"]) <= nodes | {"image"}
    assert files["precision-B.json"]["results"]["resize_up"]["value"] == "fp32"
    assert files["sensitivity.json"]["results"]["conv_c1"] == {"value": 1.5}
    limits = [threshold["value"] for threshold in files["sensitivity.json"]["thresholds"]]
    assert limits == [0.1, 0.3, 0.7, 3, 1e9]


def test_without_the_network_there_is_neither() -> None:
    made = judgement([cell_result()])
    assert model_explorer.node_data(made) == {}
    assert not [
        element
        for element in parse(render(made)).walk()
        if element.attributes.get("id") == "network"
    ]
