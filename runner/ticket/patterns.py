"""What gives itself away by its form: tokens, addresses, UUIDs, home paths; pure.

One expression finds all of them, so that what was put in the place of one is not read again.
"""

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from runner.ticket.kinds import Kind, Secret

SECRET_KEY = re.compile(
    r"(?i)passw(?:or)?d|passphrase|pwd$|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|"
    r"credential|(?:^|[_-])auth$|authorization"
)
"""Keys whose value is a secret, whatever it looks like."""

HARMLESS_VARIABLE = re.compile(
    r"(?i)(CUDA|CUDNN|NVIDIA|NCCL|OMP|MKL|OPENBLAS|ORT|TRT|TENSORRT)_\w*|"
    r"LD_LIBRARY_PATH|LD_PRELOAD|PATH|PYTHONPATH|LANG|LC_\w+|TZ"
)
"""Environment variables whose values are needed to understand a run."""

PUBLIC_HOSTS = re.compile(
    r"(?i)(?:.*\.)?(?:nvcr\.io|nvidia\.com|docker\.io|docker\.com|ghcr\.io|quay\.io|gcr\.io|"
    r"github\.com|githubusercontent\.com|pypi\.org|pythonhosted\.org|python\.org|onnx\.ai|"
    r"onnxruntime\.ai|microsoft\.com|huggingface\.co|w3\.org|json-schema\.org|schemas?\.[a-z.]+|"
    r"localhost)"
)
"""Hosts that everybody uses: they say nothing about anybody."""

_KEY = (
    r"[\w-]{0,60}(?:passwor[dt]|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|"
    r"private[_-]?key|credentials?|(?<![a-z])auth)"
)

_PARTS = {
    "pem": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    "authorization": r"(?i:authorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|token)\s+)?)"
    r"(?P<credentials>[^\s\"',;]+)",
    "bearer": r"(?i:\bbearer\s+)(?P<bearer_token>[A-Za-z0-9._~+/=-]{8,})",
    "url": r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]{0,30}://)(?P<authority>[^\s/\"'<>?#\\]+)",
    "token": r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{16,}|"
    r"nvapi-[\w-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}|xox[abeprs]-[\w-]{10,}|sk-[\w-]{20,}|"
    r"npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,}|dckr_pat_[\w-]{16,}|AIza[\w-]{30,}|"
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)",
    "assigned": rf"(?i:\b(?P<name>{_KEY})(?P<quote>[\"']?\s*[:=]\s*)[\"']?)"
    r"(?P<value>[^\s\"',;&)}\]]{4,})",
    "option": rf"(?i:--{_KEY}[ \t]+)(?P<argument>[^\s\"',;]{{4,}})",
    "home": r"(?:/home/|/Users/|[A-Za-z]:\\{1,2}Users\\{1,2})(?P<owner>[^\s/\\\"'<>:,;|)\]}]+)|"
    r"(?<![\w.~-])/root(?![\w.-])",
    "mail": r"(?<![\w.+-])(?P<account>[A-Za-z0-9][\w.+-]*)@(?P<domain>[A-Za-z0-9](?:[\w-]*\.)*[\w-]*[A-Za-z0-9])"
    r"(?!\w)",
    "uuid": r"(?<![0-9A-Fa-f])(?<![0-9A-Fa-f]-)[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f])",
    "hardware": r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])",
    "registry": r"(?<![\w./-])(?P<registry_host>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::\d+|\.[A-Za-z]{2,}))"
    r"(?=/[\w./-]+@sha256:)",
    "v6": r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15}(?<!\.)(?![\w:])",
    "v4": r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d]|\.\d)",
    "inside": r"(?i:(?<![\w.-])[a-z0-9][\w-]*(?:\.[\w-]+)*\.(?:local|localdomain|lan|internal|intranet|corp|home\.arpa)"
    r"(?![\w-]|\.\w))",
}

FORMS = "|".join(f"(?P<{name}>{pattern})" for name, pattern in _PARTS.items())

_VERSION_BEFORE = re.compile(
    r"(?i)(?:\.so\.|[=~<>]=|(?:version|release|tensorrt|cudnn|cublas|cuda|nvinfer|driver|numpy|\bv)"
    r"[\"']?[ :=_-]*)\Z"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a match: plain text, or a secret."""

    text: str
    kind: Kind | None = None

    @property
    def secret(self) -> Secret | None:
        return Secret(self.kind, self.text) if self.kind else None


def pieces(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    """Yields the match in pieces, those that are secrets with their kind.

    Args:
        match: Of `FORMS`.
        versions: Dotted numbers that are known to be versions, though they could be addresses.
    """
    form = next(name for name in _PARTS if match.group(name) is not None)
    yield from _READERS[form](match, versions)


def is_address(text: str) -> bool:
    """Tells whether `text` is an IP address that says where something is; loopback does not."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified or text == "255.255.255.255")


def host(text: str, versions: Collection[str] = ()) -> Iterator[Piece]:
    """Yields `name:port` or `[v6]:port` in pieces."""
    bracketed, _, port = text.rpartition("]") if text.startswith("[") else ("", "", "")
    name, colon, number = text.partition(":")
    if bracketed:
        name = bracketed[1:]
    elif text.count(":") == 1:
        port = colon + number
    else:
        name = text
    if is_address(name) and name not in versions:
        yield Piece(name, Kind.ADDRESS)
    elif PUBLIC_HOSTS.fullmatch(name) or not re.search(r"[A-Za-z]", name) or ":" in name:
        yield Piece(f"[{name}]" if bracketed else name)
    else:
        yield Piece(name, Kind.HOST)
    yield Piece(port)


def _whole(kind: Kind) -> Callable[[re.Match[str], Collection[str]], Iterator[Piece]]:
    def read(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
        del versions
        yield Piece(match.group(), kind)

    return read


def _group(name: str, kind: Kind) -> Callable[[re.Match[str], Collection[str]], Iterator[Piece]]:
    """Reads a match of which one group is the secret."""

    def read(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
        del versions
        start, end = match.span(name)
        yield Piece(match.string[match.start() : start])
        yield Piece(match.string[start:end], kind)
        yield Piece(match.string[end : match.end()])

    return read


def _url(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    yield Piece(match.group("scheme"))
    user, at, where = match.group("authority").rpartition("@")
    name, colon, password = user.partition(":")
    if name:
        yield Piece(name, Kind.REGISTRY if colon else Kind.USER)
    yield Piece(colon)
    if password:
        yield Piece(password, Kind.TOKEN)
    yield Piece(at)
    yield from host(where, versions)


def _mail(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    """`user@host` of ssh as well; `name@sha256` and `op@onnx` are neither."""
    domain = match.group("domain")
    if domain == "sha256":
        yield Piece(match.group())
    elif re.search(r"\.[A-Za-z]{2,}\Z", domain):
        yield Piece(match.group(), Kind.MAIL)
    elif is_address(domain) and domain not in versions:
        yield Piece(match.group("account"), Kind.USER)
        yield Piece("@")
        yield Piece(domain, Kind.ADDRESS)
    else:
        yield Piece(match.group())


def _address(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    text = match.group()
    before = match.string[max(0, match.start() - 24) : match.start()]
    version = text in versions or (":" not in text and _VERSION_BEFORE.search(before))
    known = is_address(text) and not version and not _few_groups(text)
    yield Piece(text, Kind.ADDRESS if known else None)


def _few_groups(text: str) -> bool:
    """Tells whether it may as well be C++, as `a::b` is."""
    return "::" in text and not re.search(r"\d", text)


def _host(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    yield from host(match.group(), versions)


_READERS = {
    "pem": _whole(Kind.TOKEN),
    "authorization": _group("credentials", Kind.TOKEN),
    "bearer": _group("bearer_token", Kind.TOKEN),
    "url": _url,
    "token": _whole(Kind.TOKEN),
    "assigned": _group("value", Kind.TOKEN),
    "option": _group("argument", Kind.TOKEN),
    "home": _whole(Kind.HOME),
    "mail": _mail,
    "uuid": _whole(Kind.UUID),
    "hardware": _whole(Kind.HARDWARE),
    "registry": _host,
    "v6": _address,
    "v4": _address,
    "inside": _whole(Kind.HOST),
}
