"""A network made fit to be fed, held against the file's."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import onnx
import pytest

from tests.unit.quantised import sqnr
from tests.unit.small_networks import run
from trt_matrix.core.network.image_input import image_input
from trt_matrix.core.prepared.preparing import InputWishes, PreparationError, Prepared, prepare


def prepared(model: onnx.ModelProto, **wishes: Any) -> Prepared:
    before = model.SerializeToString()
    found = prepare(model, InputWishes(**wishes))
    assert model.SerializeToString() == before  # what it was given stays as it is
    onnx.checker.check_model(found.model, full_check=True)
    return found


def problems(model: onnx.ModelProto, **wishes: Any) -> Any:
    with pytest.raises(PreparationError) as caught:
        prepare(model, InputWishes(**wishes))
    return caught.value.problems


def problem(model: onnx.ModelProto, **wishes: Any) -> tuple[tuple[str, ...], str]:
    (found,) = problems(model, **wishes)
    return found


def same(
    model: onnx.ModelProto,
    found: Prepared,
    feed: Mapping[str, npt.NDArray[Any]],
    least: float = 200,
) -> None:
    """Holds the prepared network, fed the image alone, against the file's, fed all that it takes."""
    name = image_input(found.model).name
    there = run(model, feed)
    here = run(found.model, {name: feed[name].astype("f4")})
    assert {one: sqnr(here[one], there[one]) >= least for one in there} == dict.fromkeys(
        there, True
    )
