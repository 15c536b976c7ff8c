"""A Q/DQ network becomes a cache again."""

from dataclasses import replace

import pytest

from tests.unit import small_networks as networks
from tests.unit.small_networks import Builder
from tests.unit.test_migration import HEADER, cache, detector_scales, moved
from trt_matrix.core.migration.to_cache import to_cache
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import TENSORRT
from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.qdq_table import from_qdq
from trt_matrix.core.tables.reading import read


def test_a_cache_has_carried_tensors_too_and_no_scales_of_weights() -> None:
    there = moved(networks.detector(), cache(detector_scales(joined=0.9)))
    made = to_cache(from_qdq(there.model), networks.detector(), HEADER, names={}, least=0.9)
    parsed = trt_cache.parse(made.text)
    assert parsed.header == HEADER
    assert parsed.scales["up"] == parsed.scales["joined"] == pytest.approx(0.9)
    assert parsed.scales["c1"] == parsed.scales["s2"], "before a Relu that of its output"
    assert set(made.outputs) == {"large", "small"}
    assert not set(parsed.scales) & {"large", "small"}
    assert not any("weight" in name for name in parsed.scales)
    assert {added.tensor for added in made.added} == {"c1", "c2", "c4"}


def test_what_was_quantised_nowhere_lacks_a_scale_and_is_named() -> None:
    model = networks.detector()
    given = place(model, read(cache(detector_scales())).table(), TENSORRT).model
    back = from_qdq(given)
    values = {name: value for name, value in back.values.items() if name != "mixed"}
    made = to_cache(replace(back, values=values), model, HEADER, names={}, least=0.9)
    assert set(made.lacking) == {"mixed"}
    assert "mixed" not in trt_cache.parse(made.text).scales


def test_a_cache_names_no_tensor_of_our_own_form() -> None:
    """Softmax of opset 9 becomes several operators of opset 13, with tensors between them."""
    b = Builder()
    b.conv("image", "c", 3, 4)
    b.node("Softmax", ["c"], "p", axis=1)
    b.conv("c", "y", 4, 2)
    model = b.model({"image": [1, 3, 4, 4]}, ["p", "y"], opset=9)
    names = {name for node in model.graph.node for name in node.output} | {"image"}
    there = moved(model, cache({"image": 0.1, "c": 0.2, "p": 0.1, "y": 0.3}))
    made = to_cache(from_qdq(there.model), model, HEADER, names={}, least=0.9)
    assert trt_cache.parse(made.text).scales.keys() <= names
    assert len({name for node in there.model.graph.node for name in node.output} - names) > 4


def test_names_of_another_network_stay_in_the_cache_and_are_told() -> None:
    back = from_qdq(moved(networks.detector(), cache(detector_scales())).model)
    values = dict(back.values) | {"stranger": 1.0}
    made = to_cache(replace(back, values=values), networks.detector(), HEADER, names={}, least=0.9)
    assert made.unknown == ("stranger",)
