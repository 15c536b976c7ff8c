"""What is wrong with an experiment, and what is likely wrong: each with its place in matrix.yaml."""

from collections.abc import Callable, Iterable

from trt_matrix.config.yaml_file import Document, Path_

Problem = tuple[Path_, str]
"""Place in matrix.yaml, such as `("environments", 0, "host")`; what is wrong there."""
Add = Callable[[Path_, str], None]
"""Takes a problem."""


class Problems:
    """Collects all of them, so that a person mends all at once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.found: list[str] = []
        self.doubts: list[str] = []

    def where(self, path: Path_) -> str:
        return self._document.where(path)

    def add(self, path: Path_, problem: str) -> None:
        self.found.append(f"{self.where(path)}: {problem}")

    def add_all(self, problems: Iterable[Problem]) -> None:
        for path, problem in problems:
            self.add(path, problem)

    def doubt(self, path: Path_, text: str) -> None:
        self.doubts.append(f"{self.where(path)}: {text}")
