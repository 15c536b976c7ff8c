"""Verdicts where builds of one engine differ, and where several versions show the same."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.made_cells import builds, cell, free, judged, told, worse
from trt_matrix.core.verdicts.cell_errors import CellError
from trt_matrix.core.verdicts.verdict import Kind


@pytest.mark.parametrize("change", ["device", "placement", "fixed"])
def test_noise_belongs_to_one_kind_of_cell(change: str) -> None:
    """A GPU whose builds differ by half makes a CPU's bit-identical repeats no less certain."""
    others = {"device": "gpu", "placement": "tensorrt"}
    changes: dict[str, Any] = {change: others[change]} if change in others else {}
    loud = replace(free("gpu", 0.002, 0.004, 0.008), **changes)
    found = told(cell("base", 0.004), cell("new", worse(0.8)), loud, t=0.004)
    assert Kind.ENGINE_REGRESSION in found["new"]


def test_what_is_not_decided_says_what_it_would_be() -> None:
    """One build that may differ says nothing of the next."""
    (one,) = judged(free("base", 0.02), t=0.004)["base"]
    assert (one.kind, one.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_LOSS)
    assert one.needs == "2 more repeats"
    assert one.why == "one build says nothing of the next"
    assert one.more_repeats


def test_one_build_that_cannot_differ_decides() -> None:
    once = cell("base", 0.02, sample=builds(0.02))
    assert told(once, t=0.004)["base"] == {Kind.ENGINE_LOSS}


def test_a_loss_that_no_noise_excuses_is_looked_into_however_builds_differ() -> None:
    """Two builds that differ by more than the effect: chance is possible, nothing wrong is not."""
    (one,) = judged(free("base", 0.004, 0.06), t=0.004)["base"]
    assert (one.kind, one.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_LOSS)
    assert one.more_repeats


def test_images_are_not_asked_for_where_only_builds_differ() -> None:
    """All images say the same, builds differ by a factor of 50: no number of images helps."""
    (one,) = judged(free("base", 0.002, 0.1), t=0.004)["base"]
    assert (one.kind, one.needs) == (Kind.INCONCLUSIVE, "more than 50 repeats")
    assert not one.more_repeats, "so many are not run by themselves"


@pytest.mark.parametrize(("share", "kind"), [(0.99, Kind.OK), (1.01, Kind.INCONCLUSIVE)])
def test_from_5_db_on_a_difference_is_looked_into(share: float, kind: Kind) -> None:
    middle = np.log(worse(share * 5))
    loud = free("base", float(np.exp(middle - 3)), float(np.exp(middle + 3)))
    assert told(loud, t=0.004, gate=None)["base"] == {kind}


# Builds that may differ


def test_all_builds_of_one_version_may_have_chosen_badly() -> None:
    """Three of each are not enough of two versions; five are."""
    base, new = (free(name, *[nmse] * 3) for name, nmse in (("base", 0.004), ("new", 0.016)))
    found = judged(base, new, gate=None)["new"]
    assert [(one.kind, one.suspected) for one in found] == [
        (Kind.INCONCLUSIVE, Kind.ENGINE_REGRESSION)
    ]
    assert found[0].needs == "1 more repeat"
    assert "up to 1 time in 64" in (found[0].why or "")
    more = [free(name, *[nmse] * 4) for name, nmse in (("base", 0.004), ("new", 0.016))]
    assert told(*more, gate=None)["new"] == {Kind.ENGINE_REGRESSION}
    sure = [cell(name, nmse) for name, nmse in (("base", 0.004), ("new", 0.016))]
    assert told(*sure, gate=None)["new"] == {Kind.ENGINE_REGRESSION}


def test_builds_of_a_fixed_kind_that_differ_all_the_same_may_have_chosen() -> None:
    """What differs is not fixed, whatever was declared: two good and two bad builds prove nothing."""
    base = cell("base", 0.004, sample=builds(0.004, 0.00401))
    new = cell("new", 0.016, sample=builds(0.016, 0.01601))
    assert Kind.ENGINE_REGRESSION not in told(base, new, gate=None)["new"]


def test_a_cell_whose_layers_are_held_is_no_witness_against_builds_that_choose() -> None:
    """Its choice was taken from it: that its builds are alike says nothing of others."""
    pair = [free(name, *[nmse] * 3) for name, nmse in (("base", 0.004), ("new", 0.016))]
    others = [free(name, *[0.004] * 3) for name in ("a", "b", "c", "d")]
    assert told(*pair, *others, gate=None)["new"] == {Kind.ENGINE_REGRESSION}
    held = [replace(other, held=True) for other in others]
    assert told(*pair, *held, gate=None)["new"] == {Kind.INCONCLUSIVE}


def test_every_device_is_one_more_chance_for_builds_that_choose() -> None:
    """Four builds of each of two versions are enough on one GPU (1 of 256), and not on three."""

    def on(device: str) -> list[CellError]:
        return [
            replace(free(name, *[nmse] * 4), device=device, cell=f"{name}/{device}/int8-shared")
            for name, nmse in (("base", 0.004), ("new", 0.016))
        ]

    assert told(*on("gpu:0"), gate=None)["new"] == {Kind.ENGINE_REGRESSION}
    three = [error for device in ("gpu:0", "gpu:1", "gpu:2") for error in on(device)]
    assert told(*three, gate=None)["new"] == {Kind.INCONCLUSIVE}


def test_ok_says_what_would_not_have_been_seen() -> None:
    base, new = free("base", 0.004, 0.0041, 0.0039), free("new", 0.004, 0.0039, 0.0041)
    (one,) = judged(base, new, gate=None)["new"]
    assert one.kind is Kind.OK
    assert one.against == base.cell
    assert one.bound_db is not None
    assert 0 < one.bound_db < 1
    (alone,) = judged(free("base", 0.004), free("new", 0.004), gate=None)["new"]
    assert alone.bound_db is None, "one build says nothing of the next"


# What all versions show alike


@pytest.mark.parametrize("versions", [2, 3, 6])
def test_what_three_versions_lose_alike_needs_no_more_builds(versions: int) -> None:
    names = ["base", *(f"v{index}" for index in range(1, versions))]
    lost = [free(name, 0.02 * (1 + 0.01 * place)) for place, name in enumerate(names)]
    found = judged(*lost, t=0.004, gate=None)
    kinds = {one.kind for some in found.values() for one in some}
    if versions < 3:
        assert kinds == {Kind.INCONCLUSIVE}
        return
    assert kinds == {Kind.ENGINE_LOSS}
    assert {one.versions for some in found.values() for one in some} == {versions}


def test_what_one_version_loses_alone_is_not_every_versions() -> None:
    lost = [free("base", 0.02), free("a", 0.02), free("b", 0.02), free("sound", 0.004)]
    found = told(*lost, t=0.004, gate=None)
    assert Kind.ENGINE_LOSS not in set().union(*found.values())


def test_where_other_versions_have_builds_better_than_their_scales_a_loss_may_be_chance() -> None:
    """Builds have states then: all of one version may be in the bad one, if there are few."""
    lost = free("base", *[0.25] * 3)
    alone = told(lost, gate=None, t=0.008)
    assert alone["base"] == {Kind.ENGINE_LOSS}
    better = free("a", 0.004, 0.02, 0.02)
    (found,) = (v for v in judged(lost, better, gate=None, t=0.008)["base"])
    assert (found.kind, found.suspected) == (Kind.INCONCLUSIVE, Kind.ENGINE_LOSS)
    assert "exact arithmetic, and builds of other versions are better" in (found.why or "")


def test_layers_that_are_held_are_no_version() -> None:
    lost = [free("base", 0.02), free("a", 0.02), replace(free("b", 0.02), held=True)]
    found = told(*lost, t=0.004, gate=None)
    assert Kind.ENGINE_LOSS not in set().union(*found.values())
