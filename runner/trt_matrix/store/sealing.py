"""Stored facts with a checksum of their own: a number that a disk changed is no longer believed. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from trt_matrix.core.records import Stored, digest

T = TypeVar("T", bound=Stored)

CHECKSUM = "checksum"

_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64})  (?P<name>[^\0]+)")


def sealed(fact: Stored) -> dict[str, Any]:
    """Returns a fact as JSON, and the checksum of all of it beside."""
    value = fact.model_dump(mode="json")
    return {**value, CHECKSUM: digest(value)}


def unsealed(kind: type[T], content: bytes) -> T:
    """Returns the fact in a file; one written before there were checksums is taken as it is.

    Raises:
        ValueError: it is no such fact (then a ValidationError), or was changed since it was written.
    """
    try:
        value = json.loads(content)
        if isinstance(value, dict) and CHECKSUM in value:
            checksum = value.pop(CHECKSUM)
            if digest(value) != checksum:
                raise ValueError("changed since it was written")
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return kind.model_validate(value)


def checksums(text: str) -> Mapping[str, str]:
    """Returns file → SHA-256, of lines as `sha256sum` writes them; others are passed over."""
    matches = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match_["name"]: match_["sha256"] for match_ in matches if match_}
