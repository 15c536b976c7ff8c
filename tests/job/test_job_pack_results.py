"""What goes back of a pack: only what was written whole."""

import tarfile
from pathlib import Path

from trt_matrix.containers.job import pack_results, protocol


def test_what_a_killed_run_was_still_writing_does_not_go_back(tmp_path: Path) -> None:
    work, output = tmp_path / "work", tmp_path / "results.tar"
    protocol.write_json(str(work / "lane" / "done.json"), {"passes": []})
    (work / "lane" / f".x1{protocol.PARTIAL}").write_text('{"passes": [')
    assert pack_results.collect({"id": "p"}, str(work), str(output), outputs=True) == (1, 0)
    with tarfile.open(output) as archive:
        assert sorted(archive.getnames()) == ["lane/done.json", "results.json"]
