"""Which NGC containers an entry of matrix.yaml selects."""

from typing import Any

import pytest

from tests.unit.experiments import changed, config
from trt_matrix.config.environments import Ngc
from trt_matrix.environments.factory import environments_of
from trt_matrix.errors import ConfigError


def entry(value: Any) -> Ngc:
    ngc = config(changed(environments=[{"ngc": value}], baseline="ngc-26.05")).environments[0]
    assert isinstance(ngc, Ngc)
    return ngc


def test_tags() -> None:
    assert entry(["26.05-py3", "19.09-py3"]).ids() == ("ngc-26.05-py3", "ngc-19.09-py3")


def test_a_range_of_tensorrt() -> None:
    assert entry({"tensorrt": ">=8.5,<10.1"}).tags() == ("23.03-py3", "24.04-py3", "24.05-py3")


def test_one_of_each_major_version() -> None:
    assert entry("one-per-major").ids()[0] == "ngc-18.08-py3"
    assert len(entry("one-per-major").ids()) == 7


def test_what_is_selected_becomes_environments(tmp_path: Any) -> None:
    one = config(changed(environments=[{"ngc": {"tensorrt": "==10.8.*"}}], baseline="ngc-25.02"))
    assert list(environments_of(one, tmp_path)) == ["ngc-25.02-py3"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "environments[0].ngc: empty; name at least one"),
        ("24.04-py3", "environments[0].ngc: '24.04-py3' is no selector: a list of tags as [\"24.04-py3\"], one-per-major, or a range"),
        ({"tensorrt": ">=20"}, "environments[0].ngc.tensorrt: no container has TensorRT >=20; there are 4.0.1 to 11.2.1.2"),
        ({"tensorrt": "new"}, "environments[0].ngc.tensorrt: 'new' is no range of versions; such as '>=6,<11' or '==8.6.*'"),
        ({"tensorrt": 8.6}, "environments[0].ngc.tensorrt: "),
        ({"tensorr": ">=6"}, "environments[0].ngc.tensorr: unknown key; allowed: tensorrt; did you mean 'tensorrt'?"),
        ({}, "environments[0].ngc.tensorrt: missing"),
        (None, "environments[0].ngc: "),
        (7, "environments[0].ngc: "),
        ([24.04], "environments[0].ngc[0]: "),
        (["a/b"], "environments[0].ngc[0]: "),
    ],
)  # fmt: skip
def test_what_selects_nothing_says_why(value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(changed(environments=[{"ngc": value}], baseline="ngc-26.05"))
    assert any(message in problem for problem in error.value.problems), error.value.problems
