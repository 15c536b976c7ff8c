"""What is proposed for inputs that no image fills: what their names say, and never a number that nothing says."""

import pytest

from trt_matrix.core.network.graph import TensorInfo
from trt_matrix.core.prepared.proposing import constants_text


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "told"),
    [
        ("scale_factor", "float32", (1, 2), "constants: {scale_factor: [1, 1]}"),
        ("orig_target_sizes", "int64", (1, 2), "constants: {orig_target_sizes: [32, 16]}"),
        ("sr", "int64", (), "constants: {sr: VALUE}"),  # silero-vad: 0 would be no rate of samples
        ("state", "float32", (2, 1, 64), "constants: {state: VALUE}"),
    ],
)
def test_a_value_is_written_only_where_the_name_says_it(
    name: str, dtype: str, shape: tuple[int, ...], told: str
) -> None:
    assert constants_text([TensorInfo(name=name, dtype=dtype, shape=shape)], (16, 32)) == told
