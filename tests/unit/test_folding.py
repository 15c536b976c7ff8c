"""Layers are folded into boxes: all of them, once, without a loop, and no further than is needed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.report.folding import Item, fold


def item(*reads: int, part: str = "all", operator: str = "Conv", **more: Any) -> Item:
    return Item(reads=reads, part=part, operator=operator, **{"alike": "int8"} | more)


def chain(length: int) -> list[Item]:
    return [item(*([i - 1] if i else [])) for i in range(length)]


@st.composite
def graphs(draw: st.DrawFn) -> list[Item]:
    """Any graph without loops; as heads' parts are, what is behind a part of fewer heads is of no more."""
    items: list[Item] = []
    for place in range(draw(st.integers(1, 40))):
        reads = draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else set()
        least = max((int(str(items[read].part)) for read in reads), default=0)
        items.append(
            Item(
                reads=tuple(sorted(reads)),
                part=draw(st.integers(least, 3)),
                operator=draw(st.sampled_from(["Conv", "Relu", "Add"])),
                alike=draw(st.booleans()),
                alone=draw(st.booleans()),
            )
        )
    return items


@given(graphs(), st.integers(1, 12), st.integers(1, 8))
def test_every_layer_is_in_one_box_and_nothing_leads_back(
    items: list[Item], most: int, most_columns: int
) -> None:
    folded = fold(items, most, most_columns)
    assert sorted(one for box in folded.boxes for one in box) == list(range(len(items)))
    assert all(len({items[one].part for one in box}) == 1 for box in folded.boxes)
    assert all(u < v for u, v in folded.edges)
    box_of = {layer: place for place, box in enumerate(folded.boxes) for layer in box}
    wanted = {(box_of[read], box_of[at]) for at, one in enumerate(items) for read in one.reads}
    assert set(folded.edges) == {(u, v) for u, v in wanted if u != v}


def test_two_ways_that_cross_are_not_folded_into_a_loop() -> None:
    """u1 → v1 and u2 → v2 may each be folded, but not both: u1 → v2 and u2 → v1 would lead round."""
    folded = fold([item(), item(), item(0, 1), item(0, 1)], most=2, most_columns=9)
    assert len(folded.boxes) == 2
    assert folded.edges == ((0, 1),)


@pytest.mark.parametrize("length", [60, 600, 3000])
def test_a_long_chain_becomes_boxes_of_like_size(length: int) -> None:
    folded = fold(chain(length), most=60, most_columns=21)
    sizes = [len(box) for box in folded.boxes]
    assert 11 <= len(sizes) <= 21
    assert max(sizes) <= 3 * length / len(sizes)


def test_thousands_of_layers_in_blocks_of_which_none_are_alike_are_folded_at_once() -> None:
    items = chain(3000)
    for at in range(14, 3000, 7):
        items[at] = item(at - 7, at - 1)
    folded = fold([replace(one, alike=at % 2) for at, one in enumerate(items)], 60, 21)
    assert len(folded.boxes) <= 21
    assert max(len(box) for box in folded.boxes) < 600


def test_an_activation_is_drawn_with_its_layer_but_not_where_others_read_that_layer_too() -> None:
    folded = fold([item(), item(0, operator="Relu"), item(1)], 60, 21)
    assert folded.boxes == ((0, 1), (2,))
    folded = fold([item(), item(0, operator="Relu"), item(0, 1)], 60, 21)
    assert folded.boxes == ((0,), (1,), (2,))


def test_what_is_suspected_or_ran_otherwise_is_folded_last() -> None:
    items = chain(300)
    items[100] = item(99, alone=True)
    items[200] = item(199, alike="float")
    boxes = fold(items, most=60, most_columns=21).boxes
    assert (100,) in boxes
    assert (200,) in boxes
    items[100] = item(99, operator="Relu", alone=True)
    assert (100,) in fold(items, most=60, most_columns=21).boxes


def test_parts_stay_apart_even_where_there_are_too_many() -> None:
    items = [item(), *(item(0, part=f"head{i}") for i in range(9))]
    assert len(fold(items, most=3, most_columns=1).boxes) == 10
