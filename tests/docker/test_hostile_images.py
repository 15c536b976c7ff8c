"""Some of the images of `python -m tests.docker.hostile_images`, each by its attack."""

from pathlib import Path

import pytest

from tests.docker import hostile_images
from trt_matrix.environments.docker.engine import Engine

FEW = (
    "link 0 after its answer",
    "answers 200 GiB of holes",
    "changes the job",
    "links its inputs into the results",
    "leaves links at every level",
    "swaps its answers for links",
    "says deep JSON",
)


def test_there_are_fifty_and_more() -> None:
    assert len(hostile_images.scripts()) >= 50
    assert set(FEW) <= set(hostile_images.scripts())


@pytest.mark.parametrize("what", FEW)
def test_a_hostile_image_touches_no_file_of_the_host(
    engine: Engine, python_image: str, tmp_path: Path, what: str
) -> None:
    ended = hostile_images.attacked(engine, python_image, what, tmp_path)
    assert ended.touched == ()
    assert ended.problem == ""
