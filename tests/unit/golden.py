"""The page that the recorded H200 run gives, byte for byte: tests/data/golden.

`python -m tests.unit.golden` writes it again after a wanted change; the difference is to be read.
"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.unit import h200
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.report.html import render

PAGE = Path(__file__).parents[1] / "data" / "golden" / "h200.html"
OWN = re.compile(
    r"(?<=<style>).*?(?=</style>)|(?<=<script>).*?(?=</script>)|sha256-[\w+/=]{44}", re.DOTALL
)


def page() -> str:
    """Returns the page without its style and script: those are files, and compare as such.

    It is made from judgement.json, as a run's is, so the golden page holds that too.
    """
    judgement_file = JudgementFile(schema_version=1, judgement=h200.judged())
    with TemporaryDirectory() as folder:
        return OWN.sub("", render(JudgementFile.read(judgement_file.write(Path(folder))).judgement))


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")
