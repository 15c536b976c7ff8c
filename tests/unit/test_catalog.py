"""The catalogue as it is shipped, how some of it is picked, and what a container says itself."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hosts import row
from trt_matrix.config import catalog
from trt_matrix.config.catalog import (
    CATALOG,
    completed,
    corrected,
    differences,
    find,
    newest_of_each,
    range_problem,
    reported,
    rows,
    unknown,
)

VERSION = re.compile(r"\d+(\.\d+)*( RC| Update \d)?")
FIELDS = {
    "tag", "tensorrt", "cuda", "cudnn", "python", "ubuntu", "min_driver", "min_driver_tesla",
    "compute_capability_min", "compute_capability_max", "size_gb", "download_gb", "confidence",
    "note", "sources",
}  # fmt: skip
DEFAULT_TAGS = ["18.12-py3", "19.09-py3", "21.06-py3", "24.04-py3", "26.05-py3", "26.08-py3"]
RAW: list[dict[str, Any]] = yaml.safe_load(CATALOG.read_text())["containers"]


# The file


def test_every_row_is_complete_and_typed() -> None:
    for raw in RAW:
        tag = raw["tag"]
        assert catalog.TAG.fullmatch(tag), tag
        assert set(raw) <= FIELDS, tag
        assert {"tag", "tensorrt", "cuda", "min_driver", "confidence", "sources"} <= set(raw), tag
        assert raw["confidence"] in ("documented", "secondary", "inferred"), tag
        for field in FIELDS - {"tag", "confidence", "note", "sources", "size_gb", "download_gb"}:
            value = raw.get(field) or []
            for version in [value] if isinstance(value, str) else value:
                assert VERSION.fullmatch(version), (tag, field, value)
        assert isinstance(raw.get("min_driver_tesla", []), list), tag
        assert all(source.startswith("https://") for source in raw["sources"]), tag


def test_tags_are_in_order_and_once_each() -> None:
    tags = [raw["tag"] for raw in RAW]
    assert tags == sorted(set(tags))


def test_versions_rise_with_the_tags() -> None:
    for field in ("tensorrt", "cuda"):
        majors = [int(raw[field].partition(".")[0]) for raw in RAW if raw[field]]
        assert majors == sorted(majors), field


@pytest.mark.parametrize("tag", DEFAULT_TAGS)
def test_the_default_matrix_is_in_it(tag: str) -> None:
    assert find(tag) is not None


def test_it_is_read_once() -> None:
    assert rows() is rows()


# Rows


def test_every_row_knows_what_the_rules_ask_for() -> None:
    for facts in rows():
        assert facts.tensorrt, facts.tag
        assert facts.cuda_major, facts.tag
        assert facts.capability_min, facts.tag
        assert facts.capability_max, facts.tag
        assert facts.size_bytes, facts.tag
        assert facts.reference == f"nvcr.io/nvidia/tensorrt:{facts.tag}"


def test_what_is_not_known_of_a_month_is_what_its_neighbours_agree_on() -> None:
    # CUDA 11.3 before and after; 12.2 and 12.3.
    assert (row("21.05").cuda, row("21.05").driver_min) == ("11.3", "465.19.01")
    assert (row("23.10").cuda, row("23.10").cuda_major, row("23.10").driver_min) == (None, 12, None)


def test_one_cuda_release_has_one_driver_and_one_compatibility_package() -> None:
    assert row("22.01").driver_min == "510"  # told of 22.03, also CUDA 11.6
    assert row("21.06").driver_branches == row("21.04").driver_branches
    assert row("23.01").driver_branches == ()  # CUDA 12.0: nobody tells


def raw(**fields: Any) -> dict[str, Any]:
    return {"tag": "20.01-py3", "tensorrt": "7.0.0", "confidence": "inferred", **fields}


def test_an_own_value_comes_before_what_follows() -> None:
    (facts,) = completed(
        [raw(compute_capability_min="5.0", compute_capability_max="7.2", size_gb=3)]
    )
    assert (facts.capability_min, facts.capability_max) == ((5, 0), (7, 2))
    assert facts.size_bytes == 3_000_000_000


def test_a_size_that_is_not_known_is_the_larger_of_those_around() -> None:
    sizes = completed([raw(), raw(size_gb=3), raw(), raw(download_gb=4), raw()])
    assert [size.size_bytes for size in sizes] == [int(gb * 1e9) for gb in (3, 3, 8, 8, 8)]
    assert completed([raw()])[0].size_bytes is None


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "cuda": st.sampled_from(["10.2.89", "11.7 Update 1", "11.7.0", "12.4", None]),
                "min_driver": st.sampled_from(["440.33.01", "515", None]),
                "min_driver_tesla": st.sampled_from([["418"], ["450.51", "470.57"], None]),
                "download_gb": st.floats(0.1, 30),
            },
        ),
        max_size=8,
    )
)
def test_gaps_of_any_shape_are_filled(gaps: list[dict[str, Any]]) -> None:
    all_facts = completed([raw(**gap) for gap in gaps])
    assert len(all_facts) == len(gaps)
    for gap, facts in zip(gaps, all_facts, strict=True):
        if gap.get("cuda"):
            assert facts.cuda == gap["cuda"]
        if gap.get("min_driver"):
            assert facts.driver_min == gap["min_driver"]


# Selectors


def test_one_of_each_major_version() -> None:
    assert newest_of_each(1) == (
        "18.08-py3", "19.08-py3", "19.12-py3", "21.06-py3", "24.04-py3", "26.05-py3", "26.08-py3",
    )  # fmt: skip


def test_the_newest_of_each_minor_version_in_a_range() -> None:
    assert newest_of_each(2, ">=8,<10") == (
        "21.11-py3", "22.06-py3", "22.08-py3", "23.03-py3", "24.04-py3",
    )  # fmt: skip
    assert newest_of_each(2, "==10.8.*") == ("25.02-py3",)


def test_release_candidates_are_not_selected() -> None:
    assert newest_of_each(2, "==5.0.*") == ("19.02-py3",)
    assert newest_of_each(3, "==5.0.0") == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (">=6,<11", None),
        ("==8.6.*", None),
        ("latest", "'latest' is no range of versions"),
        (">=", "'>=' is no range of versions"),
        ("8.6", "'8.6' is no range of versions"),
        (">20", "no container has TensorRT >20; there are 4.0.1 to 11.2.1.2"),
        ("==9.*", "no container has TensorRT ==9.*"),
    ],
)
def test_ranges(text: str, problem: str | None) -> None:
    found = range_problem(text)
    assert found is None if problem is None else found is not None and problem in found


@given(st.text(max_size=30))
def test_any_text_is_a_range_or_says_why_not(text: str) -> None:
    problem = range_problem(text)
    assert problem is None or text[:10] in problem or "is no range" in problem


# Unknown tags


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("24.4-py3", "did you mean '24.04-py3'?"),
        ("24.04", "did you mean '24.04-py3'?"),
        ("25.07-py3", "the nearest: 25.06-py3 and 25.08-py3"),
        ("17.01-py3", "the nearest: 18.06-py3"),
        ("latest", "there are 18.06-py3 to 26.08-py3"),
        ("", "there are 18.06-py3 to 26.08-py3"),
    ],
)
def test_an_unknown_tag_says_which_one_was_meant(tag: str, hint: str) -> None:
    assert find(tag) is None
    assert unknown(tag) == f"unknown tag {tag!r}: catalog.yaml has no such container; {hint}"


def test_a_month_after_the_newest_is_taken_for_its_successor() -> None:
    facts, newest = find("27.01-py3"), rows()[-1]
    assert facts is not None
    assert (facts.tensorrt, facts.cuda_major) == (newest.tensorrt, newest.cuda_major)
    assert facts.confidence == "inferred"
    assert facts.capability_max is None  # it may know cards that nobody has yet
    assert facts.reference == "nvcr.io/nvidia/tensorrt:27.01-py3"


# What a container reports

LABELS = {
    "com.nvidia.tensorrt.version": "8.2.2.1+cuda11.4.2.006",
    "com.nvidia.cudnn.version": "8.3.2.44",
    "maintainer": "NVIDIA CORPORATION",
}


def test_labels_and_variables_tell_versions() -> None:
    assert reported(
        LABELS, ["CUDA_VERSION=11.6.0.021", "TENSORRT_VERSION=9", "PATH=/bin", "X"]
    ) == {
        "tensorrt": "8.2.2.1+cuda11.4.2.006",  # the label comes first
        "cudnn": "8.3.2.44",
        "cuda": "11.6.0.021",
    }


@pytest.mark.parametrize("told", ["", "unknown", "${VERSION}", "-"])
def test_a_label_without_a_version_tells_nothing(told: str) -> None:
    assert reported({"com.nvidia.tensorrt.version": told}) == {}


def test_a_longer_version_of_the_same_is_no_difference() -> None:
    assert differences(row("22.01"), {"tensorrt": "8.2.2.1+cuda11.4", "cuda": "11.6.0.021"}) == ()


def test_differences_are_told() -> None:
    assert differences(row("24.04"), {"tensorrt": "8.6.1.6", "python": "3.10.12"}) == (
        "tensorrt is 8.6.1.6, the catalogue says 8.6.3",
    )


def test_what_a_container_reports_wins() -> None:
    facts = corrected(row("24.04"), {"tensorrt": "10.5.0", "python": "3.12.3"})
    assert (facts.tensorrt, facts.python, facts.cuda) == ("10.5.0", "3.12.3", "12.4.1")
    assert facts.confidence == "reported"
    assert facts.capability_min == (7, 5)  # the rules follow what it is, not what was published
    assert facts.driver_min == "550.54.15"


def test_another_cuda_release_has_another_driver_that_nobody_told() -> None:
    facts = corrected(row("24.04"), {"cuda": "13.0.2"})
    assert (facts.cuda_major, facts.driver_min, facts.driver_branches) == (13, None, ())


def test_a_silent_container_is_what_was_published() -> None:
    assert corrected(row("24.04"), {}) is row("24.04")


@given(st.sampled_from(rows()))
def test_a_container_that_is_what_was_published_changes_no_rule(one: Any) -> None:
    told = {"tensorrt": one.tensorrt, "cuda": one.cuda or ""}
    facts = corrected(one, told)
    assert differences(one, told) == ()
    assert facts.driver_min == one.driver_min
    assert (facts.capability_min, facts.capability_max) == (one.capability_min, one.capability_max)


def test_the_catalogue_travels_with_the_job() -> None:
    assert Path(__file__).parents[2] / "containers" / "catalog.yaml" == CATALOG
