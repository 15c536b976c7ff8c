"""What the outputs' files are called: after their heads, where a file can be."""

import pytest

from job import passes, protocol


@pytest.mark.parametrize(
    ("heads", "files"),
    [
        (["large", "538"], ["large.npy", "538.npy"]),
        (["save_infer_model/scale_0.tmp_1", "Identity:0"], ["head-0.npy", "head-1.npy"]),
        (["a/b", "head-0"], ["_head-0.npy", "head-0.npy"]),
        (["-0", "Größe"], ["head-0.npy", "head-1.npy"]),
        (["x" * 200, "../x"], ["head-0.npy", "head-1.npy"]),
    ],
)  # fmt: skip
def test_every_head_has_a_file_that_the_host_takes(heads: list[str], files: list[str]) -> None:
    found = passes.files_of(heads)
    assert found == files
    assert all(protocol.SAFE_NAME.match(name) for name in found)
