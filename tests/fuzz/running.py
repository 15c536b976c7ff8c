"""Runs one parser on one input, and says what came of it."""

import tempfile
from pathlib import Path

from tests.fuzz.parsers import Parser

KEPT = Path(__file__).parents[1] / "data" / "fuzz"
"""PARSER/NAME: inputs that once ended a parser in another way than it says."""


def run(parser: Parser, content: bytes) -> bool:
    """Returns whether the parser took the input; whatever it raises beside its refusals goes on."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            parser.parse(content, Path(folder))
        except parser.refusals:
            return False
    return True
