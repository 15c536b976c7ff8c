"""Packages that an image lacks, and what is told of an image; no engine is asked."""

import pytest

from trt_matrix.environments.docker.derived import dockerfile, wanted_packages
from trt_matrix.environments.docker.image import image_of
from trt_matrix.environments.docker.wheels import NUMPY_OF_35, pinned, platform_of
from trt_matrix.environments.packages import Package
from trt_matrix.environments.python import Python
from trt_matrix.errors import EnvironmentUnavailableError

# Images and packages


def python(version: str, libc: str | None = "glibc 2.31", **packages: str) -> Python:
    return Python(
        version=version,
        implementation="CPython",
        platform="linux-x86_64",
        libc=libc,
        distributions={name: {"version": package} for name, package in packages.items()},
    )


def test_numpy_is_added_where_nobody_brings_it() -> None:
    assert wanted_packages([], python("3.6.9")) == ("numpy",)
    assert wanted_packages([], python("3.6.9", numpy="1.19.5")) == ()
    assert wanted_packages(["onnxruntime==1.26.0"], python("3.11.2")) == ("onnxruntime==1.26.0",)


@pytest.mark.parametrize(
    ("libc", "platform"),
    [
        ("glibc 2.23", "x86_64-manylinux_2_17"),
        ("glibc 2.28", "x86_64-manylinux_2_28"),
        ("glibc 2.36", "x86_64-manylinux_2_36"),
        ("glibc 2.99", "x86_64-manylinux_2_40"),
        (None, "x86_64-unknown-linux-musl"),
    ],
)
def test_wheels_fit_the_image(libc: str | None, platform: str) -> None:
    assert platform_of(python("3.11.2", libc)) == platform


def test_a_libc_older_than_all_wheels() -> None:
    with pytest.raises(EnvironmentUnavailableError, match=r"glibc 2\.12 is older"):
        platform_of(python("3.6.9", "glibc 2.12"))


def test_the_oldest_python_gets_the_last_numpy_for_it() -> None:
    assert pinned(("numpy",), python("3.5.2")) == {"numpy": NUMPY_OF_35}
    assert pinned(("numpy",), python("3.6.9")) is None
    assert pinned(("onnxruntime",), python("3.5.2")) is None


def test_the_rendered_dockerfile() -> None:
    text = dockerfile("sha256:1", "python3", {"numpy": Package(version="1.18.5", files={})})
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        "FROM sha256:1",
        "USER 0",
        "COPY packages /opt/trt-matrix/packages",
        'RUN ["python3", "-m", "compileall", "-q", "/opt/trt-matrix/packages"]',
        'LABEL trt-matrix.stated="numpy==1.18.5"',
    ]


def test_what_an_inspection_tells() -> None:
    image = image_of("x:1", {
        "Id": "sha256:1", "RepoDigests": None, "Architecture": "amd64", "Size": 7,
        "Config": {"Env": ["PATH=/bin", "EMPTY", "A=b=c"],
                   "Labels": {"com.nvidia.tensorrt.version": "8.6.1", "secret": "x"}},
    })  # fmt: skip
    assert image.variables == {"PATH": "/bin", "EMPTY": "", "A": "b=c"}
    assert image.facts["labels"] == {"com.nvidia.tensorrt.version": "8.6.1"}
    assert image_of("x", {"Id": "sha256:2", "Config": None}).digests == ()
