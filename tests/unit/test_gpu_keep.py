"""What tests.gpu.keep keeps of a run is read back as it was, packed or not."""

import json
from pathlib import Path

import pytest

from tests.gpu.keep import read
from tests.unit import h200


def test_a_file_is_read_packed_and_plain_and_a_missing_one_is_no_empty_one(tmp_path: Path) -> None:
    assert json.loads(read(h200.DATA, "records.json"))
    assert json.loads(read(h200.ROOT / "tests" / "data" / "h200-images", "records.json"))
    assert read(tmp_path, "times.json") == "{}", "no build told them"
    with pytest.raises(FileNotFoundError):
        read(tmp_path, "records.json")
