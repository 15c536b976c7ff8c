"""Records of a few fields, for tests of what reads those alone."""

from typing import Any, TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)


def only_fields(kind: type[Model], **fields: Any) -> Model:
    """Returns an unchecked record; of what is not given it has its type's default, or nothing."""
    return kind.model_construct(**fields)
