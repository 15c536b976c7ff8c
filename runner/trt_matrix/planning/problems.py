"""What is wrong with an experiment, and what is likely wrong: each with its place in matrix.yaml."""

from trt_matrix.config.yaml_file import Document

Where = tuple[str | int, ...]
"""Of a setting: `("environments", 0, "host")`."""


class Problems:
    """Collects all of them, so that a person mends all at once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.found: list[str] = []
        self.doubts: list[str] = []

    def where(self, path: Where) -> str:
        return self._document.where(path)

    def add(self, path: Where, problem: str) -> None:
        self.found.append(f"{self.where(path)}: {problem}")

    def doubt(self, path: Where, text: str) -> None:
        self.doubts.append(f"{self.where(path)}: {text}")
