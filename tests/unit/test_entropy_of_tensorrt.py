"""`entropy` gives the table that TensorRT's entropy calibrator gives: held against tables it wrote.

What differs are near-ties that float rounding decides: perturbing weights by a millionth changes about as
many. So almost all tensors must have the same candidate, not all; and none may be far off.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tables import histograms_of as histograms_over
from benchmarks.tables import opened, ranges
from trt_matrix.containers.job import thresholds
from trt_matrix.containers.job.histogram import Histogram
from trt_matrix.core.tables import reading

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "data" / "tensorrt_tables"

SAME = 0.93
"""Least share of tensors with the same candidate."""


def recorded(network: str) -> dict[str, Histogram]:
    """Returns tensor → histogram of a recorded calibration."""
    histograms = {}
    with np.load(RECORDED / f"{network}.npz") as stored:
        for tensor, reach, counts in zip(
            stored["tensors"], stored["ranges"], stored["counts"], strict=True
        ):
            histogram = Histogram(str(tensor))
            histogram.amax = histogram.doubling.range = float(reach)
            histogram.doubling.counts[:] = counts
            histograms[str(tensor)] = histogram
    return histograms


def cache(network: str) -> Mapping[str, float]:
    content = (RECORDED / f"{network}-trt-8.5.3.1-entropy2.cache").read_bytes()
    return reading.read(content).table().amax


def check(
    mine: Mapping[str, float], theirs: Mapping[str, float], width: Mapping[str, float]
) -> None:
    """Both tables' ranges are half-integers of bins; compares the integers."""
    own = {name: round(mine[name] / width[name] - 0.5) for name in mine}
    other = {name: theirs[name] / width[name] - 0.5 for name in mine}
    # The rule's bins are TensorRT's: its candidates are integers of them.
    apart = [abs(one - round(one)) for one in other.values()]
    assert np.mean(np.array(apart) < 0.02) >= SAME
    same = [own[name] == round(other[name]) for name in mine]
    assert np.mean(same) >= SAME
    assert max(abs(math.log(mine[name] / theirs[name])) for name in mine) < math.log(2)


@pytest.mark.parametrize(
    ("network", "tensors"), [("nanodet_m_320", 254), ("ultraface_slim_320", 113)]
)
def test_the_candidates_are_those_of_networks_not_made_here(network: str, tensors: int) -> None:
    histograms, theirs = recorded(network), cache(network)
    assert len(histograms) == tensors
    mine = {
        name: thresholds.threshold(histogram, "entropy", {})
        for name, histogram in histograms.items()
    }
    check(mine, theirs, {name: histogram.doubling.width for name, histogram in histograms.items()})


@pytest.mark.parametrize("network", ["nanodet_m_320", "ultraface_slim_320"])
def test_other_rules_give_other_candidates(network: str) -> None:
    """The share above can fail: minmax's candidate, the last filled bin, is TensorRT's in few tensors."""
    histograms, theirs = recorded(network), cache(network)
    last = {
        name: (np.flatnonzero(histogram.doubling.counts)[-1] + 1.5) * histogram.doubling.width
        for name, histogram in histograms.items()
    }
    same = [abs(last[name] / theirs[name] - 1) < 1e-4 for name in last]
    assert np.mean(same) < 0.6


def test_the_demo_from_its_images_on() -> None:
    """All of it: images, network, bins, rule; the one table that 8.5.1.7, 8.5.3.1 and 8.6.0 wrote."""
    table = ROOT / "tests" / "data" / "h200" / "tables" / "7301ca8fe2ff.json"
    with opened(f"{ROOT / 'demo' / 'matrix-h200.yaml'}={table}", quick=False) as network:
        histograms = histograms_over(network, network.calibration, ["entropy"])
        mine = ranges(network, histograms, "entropy")
    width = {histogram.tensor: histogram.doubling.width for histogram in histograms}
    theirs = json.loads(table.read_text())["amax"]
    assert mine.keys() == theirs.keys()
    check(mine, theirs, width)


def test_the_pool_of_a_network_not_made_here() -> None:
    """NanoDet's stem ends in a MaxPool; TensorRT gave both sides one range."""
    theirs = cache("nanodet_m_320")
    assert theirs["424"] == theirs["425"]
