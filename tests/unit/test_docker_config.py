"""`image:` and `hosts:` in matrix.yaml."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.experiments import changed, config
from trt_matrix.environments.docker.environment import DockerEnvironment, NgcEnvironment
from trt_matrix.environments.factory import axes_of, engine_options_of, environments_of
from trt_matrix.errors import ConfigError

IMAGE: dict[str, Any] = {"image": "python:3.11-slim", "name": "slim"}


def test_versions_are_added_to_the_image() -> None:
    one = config(changed(environments=[{**IMAGE, "versions": ["1.26.0", "1.32.0"], "with": ["x"]}]))
    assert one.environment_ids() == ("slim-1.26.0", "slim-1.32.0")
    assert one.environments[0].requirements(1) == ("onnxruntime==1.32.0", "x")  # type: ignore[union-attr]
    environments = environments_of(one, Path("/"))
    assert all(type(environment) is DockerEnvironment for environment in environments.values())
    assert engine_options_of(one)["slim-1.26.0"]["provider"] == "CPUExecutionProvider"
    assert [axis.devices for axis in axes_of(one, environments, {})] == [{"cpu"}, {"cpu"}]


def test_an_image_alone_is_one_environment() -> None:
    one = config(changed(environments=[{**IMAGE, "engine": "tensorrt"}]))
    assert one.environment_ids() == ("slim",)
    [axis] = axes_of(one, environments_of(one, Path("/")), {})
    assert axis.devices == {"gpu"}


def test_hosts_are_part_of_an_id() -> None:
    hosts = {"t4box": "ssh://me@t4box"}
    entries = [{"ngc": ["24.04-py3"]}, {"ngc": ["24.04-py3"], "host": "t4box"}]
    one = config(changed(environments=entries, hosts=hosts))
    assert one.environment_ids() == ("ngc-24.04-py3", "t4box-ngc-24.04-py3")
    environments = environments_of(one, Path("/"))
    assert all(type(environment) is NgcEnvironment for environment in environments.values())


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"image": "x y"}, "environments[0].image"),
        ({"image": "-v/:/host"}, "environments[0].image"),
        ({"python": "--version"}, "environments[0].python"),
        ({"memory_gb": 0}, "environments[0].memory_gb"),
        ({"engine": "tensorrt", "versions": ["8.6"]}, "other engines come with the image"),
        ({"imge": 1}, "did you mean 'image'?"),
    ],
)
def test_what_is_wrong_is_told(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(changed(environments=[{**IMAGE, **entry}]))
    assert told in str(caught.value)


@pytest.mark.parametrize("address", ["t4box", "http://t4box", "ssh://-oProxyCommand=x", ""])
def test_what_is_no_host(address: str) -> None:
    with pytest.raises(ConfigError, match="hosts"):
        config(changed(environments=[IMAGE], hosts={"t4box": address}))
