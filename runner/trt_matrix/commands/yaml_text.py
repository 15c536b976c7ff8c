"""Names and settings as YAML reads them back."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence

PLAIN = re.compile(r"(?!(null|true|false|yes|no|on|off|y|n)\Z)[A-Za-z_][A-Za-z0-9_./-]*", re.I)
"""What YAML reads as that very text without quotes."""


def quoted(name: str) -> str:
    """Returns a name as YAML reads it back: plain where that is safe, in quotes elsewhere."""
    if PLAIN.fullmatch(name):
        return name
    # A JSON string is a YAML string, but for line breaks that JSON does not know (U+2028).
    text = json.dumps(name, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


def flow(settings: Mapping[str, object]) -> str:
    """Returns a YAML mapping in one line, of names and numbers that YAML reads as they are."""
    return "{" + ", ".join(f"{key}: {value}" for key, value in settings.items()) + "}"


def comment(note: str) -> Sequence[str]:
    """Returns a text as lines of comments, whatever characters it holds."""
    plain = "".join(c if c.isprintable() else "?" for c in note)
    return textwrap.wrap(plain, 98, initial_indent="# ", subsequent_indent="# ")
