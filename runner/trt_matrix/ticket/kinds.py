"""What is taken out of a ticket, and what stands in its place."""

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

LEAST = 3
"""Characters of a name from which on it is looked for: two letters are in every word."""


class HiddenKind(StrEnum):
    """Said to the reader, so in plain words."""

    USER = "user name"
    HOST = "host name"
    HOME = "home path"
    FOLDER = "folder"
    TOKEN = "token or password"  # noqa: S105 - what it is called
    REGISTRY = "registry credential"
    ADDRESS = "IP address"
    HARDWARE = "hardware address"
    UUID = "UUID"
    MAIL = "e-mail address"
    VARIABLE = "environment variable"
    ASKED = "asked for with --hide"
    COMMENT = "comment"
    WEIGHTS = "weights of a network"
    IMAGES = "images"
    IMAGE_NAME = "name of an image"


SHAPES = {
    HiddenKind.USER: "user-{}",
    HiddenKind.HOST: "host-{}",
    HiddenKind.HOME: "/home-{}",
    HiddenKind.FOLDER: "/folder-{}",
    HiddenKind.TOKEN: "token-{}",
    HiddenKind.REGISTRY: "credential-{}",
    HiddenKind.ADDRESS: "ip-{}",
    HiddenKind.HARDWARE: "mac-{}",
    # Of the same form, so that whatever reads one still can.
    HiddenKind.UUID: "00000000-0000-4000-8000-{:012d}",
    HiddenKind.MAIL: "mail-{}",
    HiddenKind.VARIABLE: "variable-{}",
    HiddenKind.ASKED: "hidden-{}",
    HiddenKind.IMAGE_NAME: "image-{}",
}
"""Kind → what stands in the place of the first, second, … of its kind. No character of them has a
meaning in YAML, JSON, a shell, a path or a URL."""


PSEUDONYM = re.compile(
    r"/?(?:user|host|home|folder|token|credential|ip|mac|mail|variable|hidden|image)-\d+"
    r"|00000000-0000-4000-8000-\d{12}"
)


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that must not be in a ticket, wherever it stands."""

    kind: HiddenKind
    text: str


class Pseudonyms:
    """One name for each thing, so that two GPUs stay two GPUs."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[HiddenKind, str], int] = {}
        self._counts: Counter[HiddenKind] = Counter()

    def of(self, secret: Secret) -> str:
        key = (secret.kind, secret.text.lower())
        if key not in self._numbers:
            self._counts[secret.kind] += 1
            self._numbers[key] = self._counts[secret.kind]
        return SHAPES[secret.kind].format(self._numbers[key])
