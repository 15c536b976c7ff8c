"""Takes secrets out of texts and values: the same one gets the same name everywhere; pure.

First everything is shown to `learn`, so that a secret which gives itself away in one place (the
value of `password:`) is also found where it stands bare; then everything goes through `text` and
`value`. What was taken out is counted, never kept with the ticket.
"""

import dataclasses
import enum
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from trt_matrix.ticket.kinds import LEAST, PSEUDONYM, HiddenKind, Pseudonyms, Secret
from trt_matrix.ticket.patterns import (
    HARMLESS_VARIABLE,
    NAMING_KEYS,
    PUBLIC_HOSTS,
    SECRET_KEY,
    found,
)

T = TypeVar("T")

BARE = 6
"""Characters of a learned secret from which on it is also looked for where nothing tells it."""

LONGEST_NAME = 60
"""Characters of what a secret may be called, where its name stands before it in a list."""

INSIDE_WORDS = 5
"""Characters of a name from which on it is found inside of words, as in `wilhelmina2`."""

NAMES = frozenset({HiddenKind.USER, HiddenKind.HOST})

_COLOUR = re.compile(
    r"(?:(?:[\x1b␛]|\\u(?:001|241)[bB]|\\x1[bB]|\\033|\[U\+001B\])\[|\x9b)[0-9;?]*[ -/]*[@-~]"
)
"""As a terminal reads it (ECMA-48), as a log of ours spells it, and as JSON, C and a page of ours do."""

EVERYBODY = frozenset({
    "root", "user", "users", "admin", "administrator", "ubuntu", "debian", "docker", "nvidia", "guest",
    "worker", "runner", "jenkins", "build", "builder", "localhost", "home", "nobody", "daemon",
    "default", "none", "null", "true", "false", "test", "tests", "latest", "unknown", "public", "shared",
    "python",
})  # fmt: skip
"""Names that say nothing about anybody."""

VARIABLES = frozenset({"env", "environ", "environment", "variables"})
"""Keys whose value maps environment variables."""

HOSTS = "hosts"
"""Key of matrix.yaml whose value maps names of machines to addresses."""

IMAGES = frozenset({"image", "images", "reference", "repository", "repo_digests", "repo_tags"})
"""Keys whose value may be an image of a registry."""


class RemovedText(NamedTuple):
    kind: HiddenKind
    file: str
    times: int


class Redactor:
    """Raises nothing: whatever a text holds, what can be recognised in it is taken out."""

    def __init__(
        self,
        known: Iterable[Secret] = (),
        *,
        versions: Collection[str] = (),
        vocabulary: Collection[str] = (),
    ) -> None:
        """Knows secrets of this machine and its user, and what was asked for.

        `versions` are dotted numbers that are versions, though they could be IP addresses. `vocabulary` are words of the
        ticket's own: a user called `status` cannot be taken out of it.
        """
        self.versions = frozenset(versions)
        self.vocabulary = frozenset(word.lower() for word in vocabulary)
        self.kept: set[str] = set()
        """Kinds of secrets that could not be taken out, since they are words of the format."""
        self.counts: Counter[tuple[HiddenKind, str]] = Counter()
        self._pseudonyms = Pseudonyms()
        self._known: dict[str, HiddenKind] = {}
        self._found: dict[str, HiddenKind] = {}
        self._expression: re.Pattern[str] | None = None
        for secret in known:
            self._remember(secret)

    # Learning

    def learn(self, value: Any, key: str = "") -> None:
        """Looks for secrets in a text, or in all of nested dicts, lists and texts."""
        if isinstance(value, str):
            self._learn_text(value, key)
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                self.learn(str(name))
                if key == HOSTS:
                    self._remember(Secret(HiddenKind.HOST, str(name)))
                if key in VARIABLES and isinstance(inner, str) and not _harmless(str(name)):
                    self._remember(Secret(HiddenKind.VARIABLE, inner))
                self.learn(inner, str(name))
            for name, inner in _named(value):
                self.learn(inner, name)
        elif isinstance(value, list | tuple):
            for inner in value:
                self.learn(inner, key)
            for name, inner in _named(value):
                self.learn(inner, name)

    def _learn_text(self, text: str, key: str) -> None:
        if kind := _kind_of_key(key):
            self._remember(Secret(kind, text))
        registry, slash, _ = text.partition("/")
        named = slash and (":" in registry or "." in registry)
        if key.lower() in IMAGES and named and not PUBLIC_HOSTS.fullmatch(registry):
            self._remember(Secret(HiddenKind.HOST, registry.partition(":")[0]))
        for reading in readings(plain(text)):
            for _, pieces in found(reading, self.versions):
                for piece in pieces:
                    if piece.secret and piece.kind is HiddenKind.HOME:
                        owner = re.split(r"[/\\]|%2F|%5C", piece.text)[-1]
                        self._remember(Secret(HiddenKind.USER, owner))
                    elif piece.secret:
                        self._remember(piece.secret)

    def _remember(self, secret: Secret) -> None:
        text = secret.text.strip()
        lower = text.lower()
        names = secret.kind in NAMES
        if names and (lower in EVERYBODY or len(text) < LEAST):
            return
        if not names and len(text) < BARE and secret.kind is not HiddenKind.ASKED:
            return
        if lower in self.vocabulary:
            self.kept.add(
                f"a {secret.kind} that is also a word of the report: it stays where it stands alone"
            )
            return
        if text and text not in self.versions:
            self._known.setdefault(text, secret.kind)
            self._expression = None

    # Taking out

    def text(self, text: str, file: str) -> str:
        """Returns `text` without secrets; `file` is where it stands, to be told."""
        clean = self._cleaned(plain(text), file)
        if _SPELT.search(clean):
            clean = as_spelt(self._cleaned(as_read(clean), file))
        return clean

    def _cleaned(self, text: str, file: str) -> str:
        at, parts = 0, []
        for match, pieces in found(text, self.versions, self._compiled()):
            parts.append(text[at : match.start()])
            at = match.end()
            if pieces:
                parts += [
                    self._name(piece.secret, file) if piece.secret else piece.text
                    for piece in pieces
                ]
            else:
                parts.append(self._name(Secret(self._kind_of(match[0]), match[0]), file))
        return "".join([*parts, text[at:]])

    def value(self, value: Any, file: str, key: str = "") -> Any:
        """Returns nested dicts, lists and texts without secrets; everything else as it is."""
        if isinstance(value, str):
            if value and (kind := _kind_of_key(key)):
                return self._name(Secret(kind, value), file)
            return self.text(value, file)
        if isinstance(value, Mapping):
            named = next((name for name, _ in _named(value)), "")
            return {
                self.text(str(name), file): self._variable(inner, file)
                if key in VARIABLES and not _harmless(str(name))
                else self.value(inner, file, named if named and name == "value" else str(name))
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple):
            pair = [name for name, _ in _named(value)]
            keys = [key, *pair] if pair else [key] * len(value)
            return [self.value(inner, file, name) for name, inner in zip(keys, value, strict=True)]
        return value

    def _variable(self, value: Any, file: str) -> Any:
        if isinstance(value, str) and value:
            return self._name(Secret(HiddenKind.VARIABLE, value), file)
        return self.value(value, file)

    def dataclass(self, value: T, file: str) -> T:
        """Returns a tree of dataclasses, tuples and mappings without secrets, of the same types."""
        rebuilt: T = _rebuilt(value, lambda text: self.text(text, file))
        return rebuilt

    def _name(self, secret: Secret, file: str) -> str:
        lower = secret.text.lower()
        if secret.kind in NAMES and (lower in EVERYBODY or lower in self.vocabulary):
            return secret.text
        if PSEUDONYM.fullmatch(secret.text):
            return secret.text  # it was taken out already
        self.counts[secret.kind, file] += 1
        self._found.setdefault(secret.text, secret.kind)
        return self._pseudonyms.of(secret)

    def _kind_of(self, literal: str) -> HiddenKind:
        if literal in self._known:
            return self._known[literal]
        lower = literal.lower()
        return next(kind for text, kind in self._known.items() if text.lower() == lower)

    def _compiled(self) -> re.Pattern[str] | None:
        """Returns the expression that finds whatever is known, longest first; None where nothing is."""
        if self._expression is None and self._known:
            self._expression = _literals(self._known)
        return self._expression

    # Telling

    def count(self, kind: HiddenKind, file: str, number: int = 1) -> None:
        """Notes what somebody else took out."""
        if number:
            self.counts[kind, file] += number

    def removed(self) -> tuple[RemovedText, ...]:
        """Returns what was taken out, how often, of which file."""
        counts = sorted(self.counts.items())
        return tuple(RemovedText(kind, file, times) for (kind, file), times in counts)

    def leak(self, content: bytes, least: int = INSIDE_WORDS) -> HiddenKind | None:
        """Returns the kind of a secret that is still in `content`; None where there is none.

        It looks with the expression that replaced, so that what that leaves alone is no leak; in JSON at
        the texts that it holds, too: there a secret may be spelt otherwise. Shorter secrets than `least`
        characters are not looked for: in numbers they are chance.
        """
        secrets = {
            text: kind
            for text, kind in (self._found | self._known).items()
            if len(text) >= least and kind is not HiddenKind.HOME
        }
        if not secrets:
            return None
        expression = _literals(secrets)
        decoded = content.decode("utf-8", "replace")
        for text in (decoded, *_wide(content), *_texts_of(decoded)):
            if match := expression.search(text):
                lower = match[0].lower()
                return next(kind for secret, kind in secrets.items() if secret.lower() == lower)
        return None


def _literals(secrets: Mapping[str, HiddenKind]) -> re.Pattern[str]:
    ordered = sorted(secrets.items(), key=lambda entry: (-len(entry[0]), entry[0]))
    return re.compile("|".join(_literal(text, kind) for text, kind in ordered))


def _wide(content: bytes) -> Iterator[str]:
    """Yields the content as UTF-16, from either byte on."""
    if b"\0" in content:
        yield content.decode("utf-16-le", "replace")
        yield content[1:].decode("utf-16-le", "replace")


def _texts_of(text: str) -> Iterator[str]:
    """Yields the texts in a JSON file that has any spelt with a backslash; nothing of another file."""
    if "\\" not in text or text.lstrip()[:1] not in ("{", "["):
        return
    try:
        waiting = [json.loads(text)]
    except (ValueError, RecursionError):
        return
    while waiting:
        match waiting.pop():
            case str() as inner:
                yield inner
            case dict() as inner:
                waiting += [*inner, *inner.values()]
            case list() as inner:
                waiting += inner


_SPELT = re.compile(r"\\([nrt])")
_READ = {"n": "\x1c", "r": "\x1d", "t": "\x1e"}
"""White space of which no log is full."""


def as_read(text: str) -> str:
    """Returns JSON inside of a text with the white space that it spells: a line that ends so, ends there."""
    return _SPELT.sub(lambda match_: _READ[match_[1]], text)


def as_spelt(text: str) -> str:
    """Returns what `as_read` was given."""
    for letter, read in _READ.items():
        text = text.replace(read, f"\\{letter}")
    return text


def readings(text: str) -> tuple[str, ...]:
    """Returns a text as it stands, and as JSON inside of it is read; a spelt end of line may begin a name."""
    return (text, as_read(text)) if _SPELT.search(text) else (text,)


def _kind_of_key(key: str) -> HiddenKind | None:
    """Returns what the value under a key is, whatever it looks like; None where it may be anything."""
    if SECRET_KEY.search(key):
        return HiddenKind.TOKEN
    return next((kind for names, kind in NAMING_KEYS if names.fullmatch(key)), None)


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """Yields the name and the value of `["password", "x"]` and of `{"name": "password", "value": "x"}`."""
    if isinstance(value, Mapping):
        pair = [value.get("name", value.get("key")), value.get("value")]
    else:
        pair = [*value]
    match pair:
        case [str(name), str(inner)] if len(name) <= LONGEST_NAME and SECRET_KEY.search(name):
            yield name, inner


def plain(text: str) -> str:
    """Returns a text without the colours of a terminal, which would stand between a secret and its mark."""
    return _COLOUR.sub("", text)


def _harmless(name: str) -> bool:
    return bool(HARMLESS_VARIABLE.fullmatch(name)) and not SECRET_KEY.search(name)


def _literal(text: str, kind: HiddenKind) -> str:
    """Returns the expression for one known secret."""
    escaped = re.escape(text)
    if kind is HiddenKind.HOME or kind is HiddenKind.FOLDER:
        return rf"{escaped}(?![\w.-])"
    if kind not in NAMES:
        return escaped
    if len(text) < INSIDE_WORDS:
        escaped = rf"(?<![A-Za-z0-9]){escaped}(?![A-Za-z0-9])"
    return f"(?i:{escaped})"


def _rebuilt(value: Any, changed: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value
    if isinstance(value, str):
        return changed(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: _rebuilt(getattr(value, field.name), changed)
            for field in dataclasses.fields(value)
            if field.init
        }
        return dataclasses.replace(value, **fields)
    if isinstance(value, Mapping):
        return {_rebuilt(key, changed): _rebuilt(inner, changed) for key, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_rebuilt(inner, changed) for inner in value))
    if isinstance(value, list | tuple | frozenset):
        return type(value)(_rebuilt(inner, changed) for inner in value)
    return value


def versions_in(value: Any, key: str = "") -> Iterator[str]:
    """Yields the texts of nested facts that are versions: of packages, libraries, engines."""
    if isinstance(value, str):
        if re.fullmatch(r"\d+(?:\.\d+){3}", value) and ("version" in key or key == "packages"):
            yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from versions_in(inner, key if key == "packages" else str(name).lower())
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from versions_in(inner, key)
