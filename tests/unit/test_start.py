"""What one start is asked, and which passes its end is the fault of."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.environment import ScriptedEnvironment
from tests.unit.hosts import gpu
from tests.unit.matrices import store_of, wants_of
from trt_matrix.containers.job import protocol
from trt_matrix.core.cells import Status
from trt_matrix.core.hosts.gpus import Machine
from trt_matrix.core.records import Calibration
from trt_matrix.environments.base import Identity
from trt_matrix.execution.classify import blamed
from trt_matrix.execution.request import request_of
from trt_matrix.execution.wanted import JobSite, PassRequests, Variant

NAMES = ("fp32", "int8-shared-entropy", "int8-own-entropy")


@pytest.mark.parametrize(
    ("status", "stage", "progressed", "expected"),
    [
        (Status.CRASHED, "infer int8-shared-entropy", True, NAMES[1:2]),
        (Status.CRASHED, "build fp32", False, NAMES[:1]),
        (Status.TIMED_OUT, "time int8-own-entropy", True, NAMES[2:]),
        (Status.CRASHED, "compare gone-before", True, ()),
        (Status.CRASHED, "probe", False, NAMES),
        (Status.CRASHED, None, False, NAMES),
        (Status.JOB_FAILED, "infer int8-shared-entropy", True, NAMES),
        (Status.UNAVAILABLE, None, False, NAMES),
    ],
)
def test_who_is_blamed(
    status: Status, stage: str | None, progressed: bool, expected: tuple[str, ...]
) -> None:
    assert blamed(status, stage, NAMES, progressed=progressed) == expected


@given(
    stage=st.none() | st.text(max_size=30) | st.sampled_from(NAMES).map("infer {}".format),
    status=st.sampled_from([Status.CRASHED, Status.TIMED_OUT, Status.JOB_FAILED]),
)
def test_starting_again_comes_to_an_end(stage: str | None, status: Status) -> None:
    """A start that ended no pass takes the blame for one at least, whatever the job wrote."""
    found = blamed(status, stage, NAMES, progressed=False)
    assert found
    assert set(found) <= set(NAMES)


@pytest.fixture
def wants(tmp_path: Path) -> PassRequests:
    return wants_of(store_of(tmp_path))


def site_of(name: str = "a", fingerprint: str = "f", device: str = "cpu") -> JobSite:
    return JobSite(
        environment=ScriptedEnvironment(name),
        identity=Identity(fingerprint=fingerprint, facts={}),
        device=device,
        engine_options={"threads": 1},
        timing=None,
        shapes={},
    )


def test_the_job_understands_what_it_is_asked(tmp_path: Path, wants: PassRequests) -> None:
    site = site_of()
    table = wants.table(
        site,
        Calibration(fingerprint="c", status=Status.OK, tables={"entropy": {"image": 2.0}}),
        "entropy",
    )
    passes = [
        wants.measurement(site, "fp32", 0, Variant(wants.network.fp32)),
        wants.measurement(site, "int8", 0, Variant(wants.network.fp32, table)),
    ]
    calibration = wants.calibration(site, ["entropy", "minmax"])
    asked = request_of(wants, site, passes=passes, calibration=calibration)
    assert set(asked) - {"repeat"} == set(protocol.REQUEST_KEYS), "the job asks for no repeat"
    protocol.write_json(str(tmp_path / protocol.REQUEST), asked)
    read = protocol.read_request(str(tmp_path))
    assert [pass_["compare_with"] for pass_ in read["passes"]] == [None, "fp32"]
    assert Path(read["evaluation"]).name == wants.data.evaluation.file


def test_a_pass_is_not_compared_with_one_that_is_not_asked_for(wants: PassRequests) -> None:
    site = site_of()
    table = wants.table(
        site,
        Calibration(fingerprint="c", status=Status.OK, tables={"entropy": {"image": 2.0}}),
        "entropy",
    )
    alone = wants.measurement(site, "int8", 0, Variant(wants.network.fp32, table))
    assert request_of(wants, site, passes=[alone])["passes"][0]["compare_with"] is None


def test_what_decides_the_numbers_decides_the_fingerprint(wants: PassRequests) -> None:
    def fingerprint(site: JobSite, name: str = "fp32", repeat: int = 0) -> str:
        return wants.measurement(site, name, repeat, Variant(wants.network.fp32)).fingerprint

    one = fingerprint(site_of())
    assert fingerprint(site_of(name="another"), name="renamed") == one
    others = {
        fingerprint(site_of(fingerprint="g")),
        fingerprint(site_of(device="gpu:0")),
        fingerprint(site_of(), repeat=1),
        wants.measurement(site_of(), "fp32", 0, Variant(wants.network.calibration)).fingerprint,
    }
    assert len(others | {one}) == 5


def test_another_card_in_the_same_place_is_measured_anew(wants: PassRequests) -> None:
    def fingerprint(**machines: Machine) -> str:
        settings = dataclasses.replace(wants.settings, machines=machines)
        one = dataclasses.replace(wants, settings=settings)
        return one.measurement(
            site_of(device="gpu:0"), "fp32", 0, Variant(wants.network.fp32)
        ).fingerprint

    one = Machine(driver="535.1", gpus=(gpu("T4", uuid="GPU-1"),))
    other = Machine(driver="535.1", gpus=(gpu("T4", uuid="GPU-2"),))
    newer = dataclasses.replace(one, driver="550.1")
    assert len({fingerprint(), *(fingerprint(a=machine) for machine in (one, other, newer))}) == 4
    assert fingerprint(b=one) == fingerprint(), "that is where another environment runs"


def test_a_table_says_why_a_tensor_has_no_range(wants: PassRequests) -> None:
    calibration = Calibration(
        fingerprint="c",
        status=Status.OK,
        tables={"entropy": {"image": 2.0, "c1": -1.0}},
        unusable={"s2": "zero in every image", "image": "contradicts its range"},
    )
    table = wants.table(site_of(), calibration, "entropy")
    assert table.amax == {"image": 2.0}
    assert table.unusable == {"s2": "zero in every image", "c1": "amax is negative (-1.0)"}
