"""Networks without secrets: names of nodes and tensors, comments and texts inside of an ONNX file."""

from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from trt_matrix.ticket.kinds import HiddenKind
from trt_matrix.ticket.redaction import Redactor

COMMENTS = frozenset({"doc_string", "metadata_props"})
"""Of no use to an engine, and full of paths: exporters write stack traces into them."""

TEXTS = frozenset({"s", "strings", "string_data"})
"""Fields of bytes that hold texts; the other bytes are numbers."""


def redacted(content: bytes, redactor: Redactor, file: str) -> bytes:
    """Returns the network without comments and secrets; the same bytes where it holds none.

    A tensor is called the same wherever it stands, also in another network and in tables. `file` is what the network
    will be called, to be told.
    """
    model = onnx.load_from_string(content)
    changed = _rewrite(model, redactor, file)
    return model.SerializeToString(deterministic=True) if changed else content


def _rewrite(message: Message, redactor: Redactor, file: str) -> bool:
    """Changes a message and all below it; tells whether anything changed."""
    changed = False
    for field, value in message.ListFields():
        if field.name in COMMENTS:
            message.ClearField(field.name)
            redactor.count(HiddenKind.COMMENT, file)
            changed = True
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in (value,) if isinstance(value, Message) else value:
                changed = _rewrite(inner, redactor, file) or changed
        elif field.type == FieldDescriptor.TYPE_STRING or field.name in TEXTS:
            changed = _retext(message, field.name, value, redactor, file) or changed
    return changed


def _retext(message: Message, name: str, value: Any, redactor: Redactor, file: str) -> bool:
    if isinstance(value, str | bytes):
        new = _text(value, redactor, file)
        setattr(message, name, new)
        return new != value
    texts = [_text(item, redactor, file) for item in value]
    if texts == list(value):
        return False
    message.ClearField(name)
    getattr(message, name).extend(texts)
    return True


def _text(value: str | bytes, redactor: Redactor, file: str) -> str | bytes:
    if isinstance(value, str):
        return redactor.text(value, file)
    # What is no UTF-8 stays as it is, byte for byte, around what was found.
    text = value.decode("utf-8", "surrogateescape")
    return redactor.text(text, file).encode("utf-8", "surrogateescape")
