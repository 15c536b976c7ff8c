"""Which layer's precision goes along with the error, where builds with one table differ."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import small_networks as networks
from tests.unit.judgements import whole
from tests.unit.only_fields import only_fields
from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.answers.choices import MOST_CHANCE, blamed, sentence, with_choices
from trt_matrix.core.cells import Pass, Precision, Status, TableSource
from trt_matrix.core.judgement import CustomLayer, Judgement
from trt_matrix.core.layers.choices import LEAST_DB, Choice, choices
from trt_matrix.core.layers.engine_layers import EngineLayer
from trt_matrix.core.network.network_map import NetworkMap, network_map
from trt_matrix.core.records import Measurement, Record, Start, StoredObject
from trt_matrix.core.verdicts.verdict import Kind

NETWORK = network_map(networks.detector(), [("large", "large"), ("small", "small")])
NAMES = {layer.name: layer.outputs[0] for _, layer in NETWORK.layers}
RESIZE = next(layer.name for _, layer in NETWORK.layers if layer.operator == "Resize")
IMPLICIT = Pass(
    precision=Precision.INT8, source=TableSource.OWN, algorithm="entropy2", implicit=True
)
HELD = {RESIZE: "held"}
Built = tuple[str, Mapping[str, str], float]
"""Table, layers that are not in int8, SQNR of `small` in dB."""


def found(
    builds: Sequence[Built], pass_: Pass = IMPLICIT, network: NetworkMap = NETWORK
) -> dict[str, Choice]:
    """Returns head → choice; `large` keeps 30 dB in every build."""
    names = {layer.name: layer.outputs[0] for _, layer in network.layers}
    layers: dict[str, list[EngineLayer]] = {}
    sqnr: dict[str, float] = {}
    records = []
    for number, (table, apart, sqnr_db) in enumerate(builds):
        told = StoredObject(sha256=f"layers-{number}", suffix=".json", size_bytes=1)
        layers[told.sha256] = [
            EngineLayer(
                tensors=(tensor,), precision=apart.get(name, "int8").replace("held", "fp32")
            )
            for name, tensor in names.items()
        ]
        outputs = {
            head: StoredObject(sha256=f"{head}-{number}", suffix=".npy", size_bytes=1)
            for head in ("large", "small")
        }
        sqnr |= {f"large-{number}": 30.0, f"small-{number}": sqnr_db}
        held = [name for name, how in apart.items() if how == "held"]
        start = only_fields(Start, probe={"engine": {"options": {"fp32_layers": held}}})
        measurement = only_fields(
            Measurement,
            name=pass_.name,
            status=Status.OK,
            table=table,
            layers=told,
            outputs=outputs,
            start=start if held else None,
        )
        records.append(
            only_fields(
                Record,
                cell=f"v{number}/gpu:0/{pass_.name}",
                pass_=pass_,
                measurements=(measurement,),
            )
        )
    made = choices(
        network,
        records,
        lambda stored: layers.get(stored.sha256),
        lambda _, stored: sqnr[stored.sha256],
    )
    return {choice.head: choice for choice in made}


def test_the_layer_that_parts_good_builds_from_bad_ones() -> None:
    other = next(name for name in NAMES if name != RESIZE)
    builds = [
        ("t", {}, 16.3),
        ("t", {other: "fp32"}, 16.9),
        ("t", {RESIZE: "fp32"}, 21.8),
        ("u", {}, 14.7),
        ("u", {RESIZE: "fp16", other: "fp32"}, 22.8),
    ]
    choice = found(builds)["small"]
    assert choice.layers == (RESIZE,)
    assert (choice.worse_db, choice.better_db) == ((14.7, 16.3, 16.9), (21.8, 22.8))
    assert choice.tables == 2
    assert "large" not in found(builds)


def test_what_the_matrix_held_is_a_test() -> None:
    builds = [("t", {}, 16.0), ("t", {RESIZE: "fp32"}, 22.0), ("t", HELD, 21.5), ("t", HELD, 23.0)]
    choice = found(builds)["small"]
    assert choice.better_db == (21.5, 22.0, 23.0)
    assert choice.held_db == (21.5, 23.0)
    assert sentence(choice).endswith(
        "in floating point (3 builds) 21.5 to 23.0 dB; in 2 of them the matrix held it there."
    )
    # Where the head did not recover, the layer is no suspect.
    assert found([("t", {}, 16.0), ("t", {RESIZE: "fp32"}, 22.0), ("t", HELD, 16.0)]) == {}


def test_what_was_chosen_together_is_named_together() -> None:
    first, second = list(NAMES)[:2]
    apart = {first: "fp32", second: "fp32"}
    assert found([("t", {}, 10.0), ("t", apart, 20.0)])["small"].layers == (first, second)


def test_layers_that_part_the_builds_otherwise_are_not_said_to_be_in_int8_in_all_of_them() -> None:
    """tests/data/h200-images: in the build that keeps 18.5 dB the second resizing was not in int8, the first was."""
    first, second = list(NAMES)[:2]
    builds = [
        ("t", {}, 14.7),
        ("t", {second: "fp32"}, 18.5),
        ("t", {first: "fp32", second: "fp32"}, 24.0),
    ]
    choice = found(builds)["small"]
    assert (choice.layers, choice.worse_db, choice.better_db) == ((first,), (14.7, 18.5), (24.0,))
    # Where the larger step is the other's, the other is named.
    builds[1] = ("t", {second: "fp32"}, 21.5)
    assert found(builds)["small"].layers == (second,)


def test_what_the_matrix_held_is_named_before_what_went_along() -> None:
    first = next(name for name in NAMES if name != RESIZE)
    apart = {first: "fp32", RESIZE: "held"}
    choice = found([("t", {}, 14.7), ("t", apart, 24.0)])["small"]
    assert choice.layers == (RESIZE, first)
    assert choice.held_db == ()


@pytest.mark.parametrize(
    "builds",
    [
        [],
        [("t", {}, 16.0)],
        [("t", {}, 16.0), ("t", {}, 22.0)],
        [("t", {}, 16.0), ("t", {RESIZE: "fp32"}, 16.0 + LEAST_DB / 2)],
        [("t", {}, 16.0), ("u", {RESIZE: "fp32"}, 22.0)],
        [("t", {}, 22.0), ("t", {RESIZE: "fp32"}, 16.0)],
        [("t", {}, 16.0), ("t", {RESIZE: "fp32"}, 22.0), ("t", {}, 22.0)],
        [("t", {}, 16.0), ("t", {RESIZE: "fp32"}, 22.0), ("u", {}, 16.0), ("u", {}, 22.0)],
    ],
    ids=["none", "one", "no choice", "too near", "other table", "float is worse", "not always",
         "another table has another reason"],
)  # fmt: skip
def test_where_no_choice_goes_along_nothing_is_said(builds: list[Built]) -> None:
    assert found(builds) == {}


def test_float_passes_and_builds_without_layers_or_table_are_left_out() -> None:
    builds: list[Built] = [("t", {}, 16.0), ("t", {RESIZE: "fp32"}, 22.0)]
    assert found(builds, Pass(precision=Precision.FP16)) == {}
    record = only_fields(
        Record,
        cell="v/gpu:0/x",
        pass_=IMPLICIT,
        measurements=(
            only_fields(
                Measurement, name="x", status=Status.OK, table=None, layers=None, outputs={}
            ),
        ),
    )
    assert choices(NETWORK, [record], lambda _: None, lambda *_: 1.0) == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["t", "u"]),
            st.dictionaries(st.sampled_from(list(NAMES)), st.sampled_from(["fp32", "fp16"])),
            st.floats(0, 60),
        ),
        max_size=8,
    )
)
def test_whatever_is_named_parts_the_builds(builds: list[Built]) -> None:
    for choice in found(builds).values():
        assert min(choice.better_db) > min(choice.worse_db)
        for table in {build[0] for build in builds}:
            mine = [build for build in builds if build[0] == table]
            values = [one[2] for one in mine]
            if max(values) - min(values) < LEAST_DB:
                continue
            for layer in choice.layers:
                worse = [one[2] for one in mine if layer not in one[1]]
                better = [one[2] for one in mine if layer in one[1]]
                assert max(worse) + LEAST_DB <= min(better) + 1e-9


CHOICE = Choice(
    head="small",
    layers=("up/Resize",),
    worse_db=(14.7, 15.0, 17.0),
    better_db=(22.8, 23.0, 23.1),
    tables=1,
    chance=0.049,
)


TESTED = Finding(
    kind=Kind.ENGINE_REGRESSION,
    fault="the version's",
    text="",
    advice="",
    environments=("v",),
    fails=True,
)


def answered(head: str, **changes: Any) -> Judgement:
    """Returns a judgement with this head's answer changed."""
    judgement = whole()
    answers = [
        replace(answer, **changes) if answer.head == head else answer
        for answer in judgement.answers
    ]
    return replace(judgement, answers=tuple(answers))


def answer_of(judgement: Judgement, head: str) -> Answer:
    (found,) = (answer for answer in judgement.answers if answer.head == head)
    return found


def test_it_is_blamed_where_a_gate_fails_and_no_test_names_another_cause() -> None:
    judgement = answered("small", passed=False, findings=())
    told = with_choices(judgement, [CHOICE])
    answer = answer_of(told, "small")
    assert answer.fault == "a layer's: up/Resize in int8"
    assert answer.advice.startswith("Keep up/Resize out of int8")
    assert answer.confidence == "so in all 6 builds that can tell; by chance up to 1 time in 20"
    assert told.sentences["small"].startswith(sentence(CHOICE))
    assert told.choices == (CHOICE,)
    assert answer_of(told, "large") == answer_of(judgement, "large")
    custom = (CustomLayer(node="up/Resize", operator="Upsample", heads=("small",)),)
    told = with_choices(replace(judgement, custom=custom), [CHOICE])
    assert answer_of(told, "small").fault == "a custom layer's: up/Resize in int8"


@pytest.mark.parametrize(
    "choice",
    [replace(CHOICE, chance=0.051), replace(CHOICE, layers=("a", "b", "c", "d"))],
    ids=["likely by chance", "many layers"],
)
def test_what_may_be_chance_is_told_and_blamed_on_nothing(choice: Choice) -> None:
    judgement = answered("small", passed=False, findings=())
    after = answer_of(with_choices(judgement, [choice]), "small")
    assert after.fault == answer_of(judgement, "small").fault
    assert after.text.endswith(sentence(choice))


@pytest.mark.parametrize(
    "changes", [{"passed": True}, {"passed": None}, {"passed": False, "findings": (TESTED,)}]
)
def test_where_no_gate_fails_or_a_test_spoke_it_is_only_told(changes: dict[str, Any]) -> None:
    judgement = answered("small", **changes)
    told = with_choices(judgement, [CHOICE])
    before, after = answer_of(judgement, "small"), answer_of(told, "small")
    assert (after.fault, after.advice) == (before.fault, before.advice)
    assert after.text.endswith(sentence(CHOICE))
    assert told.sentences["small"].endswith(sentence(CHOICE))


def test_a_cause_of_cells_that_hold_the_gate_is_not_why_others_fail() -> None:
    judgement = answered("small", passed=False, findings=(replace(TESTED, fails=False),))
    after = answer_of(with_choices(judgement, [CHOICE]), "small")
    assert after.fault == "a layer's: up/Resize in int8"


def test_what_was_tested_comes_before_what_other_cells_have() -> None:
    held = replace(CHOICE, better_db=(22.0, 22.5, 22.8), held_db=(22.0, 22.5))
    judgement = answered("small", passed=False, findings=(TESTED,))
    after = answer_of(with_choices(judgement, [held]), "small")
    assert after.fault == "a layer's: up/Resize in int8"
    assert after.advice.startswith("Keep up/Resize out of int8: fp32_layers in the options")
    assert after.confidence == "tested: held in floating point, 2 builds of 2 recovered"
    assert after.findings == (TESTED,)
    once = replace(held, better_db=(22.0, 22.8), held_db=(22.0,))
    assert answer_of(with_choices(judgement, [once]), "small").fault != after.fault
    holds = answered("small", passed=True, findings=())
    assert answer_of(with_choices(holds, [held]), "small").fault != after.fault


def test_a_test_of_builds_takes_the_place_of_what_one_cell_could_not_decide() -> None:
    """Of all other findings the text stays: they were found, whatever the layer does."""
    held = replace(CHOICE, better_db=(22.0, 22.5, 22.8), held_db=(22.0, 22.5))
    undecided = replace(TESTED, kind=Kind.INCONCLUSIVE)
    for findings, rest in (((undecided,), ""), ((TESTED,), " As before."), ((), " As before.")):
        judgement = answered("small", passed=False, findings=findings, text="As before.")
        after = answer_of(with_choices(judgement, [held]), "small")
        assert after.text == f"{sentence(held)}{rest}"


def test_the_sentence_says_what_was_seen() -> None:
    assert sentence(CHOICE) == (
        "Builds with one table differ by what they chose to run in int8: with up/Resize in int8 (3 builds) "
        "small keeps 14.7 to 17.0 dB, with it in floating point (3 builds) 22.8 to 23.1 dB."
    )


# How likely a layer that has nothing to do with it goes along with the error


def chain(layers: int) -> tuple[NetworkMap, list[str]]:
    """Returns a network of so many convolutions in a row before its head, and their names."""
    b = networks.Builder()
    value = "image"
    for number in range(layers):
        value = b.conv(value, f"c{number}", 3, 3, k=1)
    b.conv(value, "small", 3, 2, k=1)
    model = b.model({"image": [1, 3, 4, 4]}, ["small"])
    return network_map(model, [("small", "small")]), [f"conv_c{n}" for n in range(layers)]


def test_an_innocent_layer_among_20_that_vary_is_told_and_not_blamed() -> None:
    """Of 4 builds, 2 bad: there are 6 ways to part them, and 20 layers try."""
    network, names = chain(20)
    generator = np.random.default_rng(2)
    patterns = generator.random((20, 4)) < 0.5
    patterns[7] = [True, True, False, False]
    builds = [
        ("t", {name: "fp32" for name, row in zip(names, patterns, strict=True) if not row[n]}, db)
        for n, db in enumerate((15.0, 16.0, 22.0, 23.0))
    ]
    choice = found(builds, network=network)["small"]
    assert "conv_c7" in choice.layers
    assert choice.chance == 1.0
    judgement = answered("small", passed=False, findings=())
    told = with_choices(judgement, [replace(choice, layers=("conv_c7",))])
    assert answer_of(told, "small").fault == answer_of(judgement, "small").fault
    assert answer_of(told, "small").text.endswith(sentence(replace(choice, layers=("conv_c7",))))


def test_the_only_layer_that_varies_is_blamed_from_six_builds_on() -> None:
    network, _ = chain(20)
    for builds, chance in ((4, 1 / 6), (6, 1 / 20), (8, 1 / 70)):
        half = builds // 2
        made: list[Built] = [("t", {}, 15.0)] * half + [("t", {"conv_c3": "fp32"}, 22.0)] * half
        choice = found(made, network=network)["small"]
        assert choice.layers == ("conv_c3",)
        assert choice.chance == pytest.approx(chance)
        (answer,) = (
            answer
            for answer in answered("small", passed=False, findings=()).answers
            if answer.head == "small"
        )
        assert blamed(answer, choice) is (chance <= MOST_CHANCE)


def test_layers_that_were_chosen_together_try_once_and_tables_multiply() -> None:
    network, names = chain(6)
    together = dict.fromkeys(names[:4], "fp32")
    bad: tuple[dict[str, str], float] = ({}, 15.0)
    good = (together, 22.0)
    choice = found([("t", *bad), ("t", *bad), ("t", *good)], network=network)["small"]
    assert choice.chance == pytest.approx(1 / 3)
    both = found(
        [(table, *build) for table in "tu" for build in (bad, bad, good)], network=network
    )["small"]
    assert both.chance == pytest.approx(1 / 9)


def test_innocent_layers_are_rarely_blamed() -> None:
    """Builds that choose at random, and an error that has nothing to do with it."""
    network, names = chain(8)
    generator = np.random.default_rng(6)
    wrong = 0
    for _ in range(tries := 300):
        builds = [
            (
                "t",
                {name: "fp32" for name in names if generator.random() < 0.5},
                15.0 if generator.random() < 0.5 else 22.0,
            )
            for _ in range(8)
        ]
        choice = found(builds, network=network).get("small")
        wrong += choice is not None and choice.chance <= MOST_CHANCE
    assert wrong <= 0.05 * tries
