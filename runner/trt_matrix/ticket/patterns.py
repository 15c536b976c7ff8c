"""What gives itself away by its form: tokens, addresses, UUIDs, home paths, hosts, accounts; pure.

Each form is an expression of its own, which is three times as fast as one of all; what begins first
wins, so that what was put in the place of one is not read again.
"""

import heapq
import ipaddress
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from trt_matrix.ticket.kinds import HiddenKind, Secret
from trt_matrix.ticket.vendors import TOKENS

SECRET_KEY = re.compile(
    r"(?i)passw(?:or)?d|passphrase|passcode|pwd$|^pw$|[_-]pass$|secret|token|api[_-]?key|access[_-]?key|"
    r"private[_-]?key|account[_-]?key|credential|(?:^|[_-])auth$|authorization|cookie|connection[_-]?string"
)
"""Keys whose value is a secret, whatever it looks like."""

NAMING_KEYS = (
    (re.compile(r"(?i)user(?:_?name)?|logname|login|sudo_user"), HiddenKind.USER),
    (re.compile(r"(?i)host_?name|node_?name|computer_?name|machine_?name"), HiddenKind.HOST),
    (re.compile(r"(?i)(?:\w+_)?serial(?:_?number)?|(?:machine|boot)_?id"), HiddenKind.HARDWARE),
)
"""Whole keys whose value names somebody or something."""

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

_NOBODY = r"(?!(?:localhost|unknown|none|null|true|false|memory|device|cpu|gpu|root|defined|user|name|str|the|this|text)\b)"

_KEY = (
    r"(?:passwor[dt]|passwd|passphrase|passcode|pwd|(?<![A-Za-z])pw|secret|token|"
    r"(?:api|access|private|secret|account|encryption|signing|license|licence|session|shared)[_-]?key|"
    r"credentials?|connection[_-]?string|(?<![a-z])auth)"
)
_IS = r"(?:\\*[\"'])?\s*(?::=|=>|[:=])\s*(?:\\*[\"'])?"
"""Between a name and its value: in YAML, JSON, JSON inside of JSON, Python, shells."""
_VALUE = r"(?!\()[^\s\"',;)}\]\\<>]{4,}"
_NONE = r"(?!(?:none|null|true|false|hidden|redacted|unknown|required|optional|str|bytes)\b)"
_NO_PRECISION = r"(?!(?:fp|tf|bf|int)\d)"
"""A pass of this tool is no password."""
_NAME = r"[A-Za-z][\w.-]{2,40}"
_HOST = r"[A-Za-z0-9][\w.-]{2,62}"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"

_PARTS = {
    "pem": r"-----BEGIN [A-Z0-9 ]*(?:PRIVATE KEY|PGP MESSAGE)[A-Z ]*-----[\s\S]*?(?:-----END [A-Z0-9 ]*-----|\Z)",
    "putty": r"PuTTY-User-Key-File-\d:[\s\S]*?(?:Private-MAC:\s*\w+|\Z)",
    "ssh_key": r"\b(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-\w+) (?P<public>AAAA[\w+/=]{20,})"
    r"(?: (?P<key_user>[\w.-]+)@(?P<key_host>[\w.-]+))?",
    "authorization": r"(?i:authorization(?:\\*[\"'])?\s*[:=]\s*(?:\\*[\"'])?(?:(?:bearer|basic|token|digest|"
    r"negotiate|apikey)\s+)?)(?P<credentials>[^\s\"',;\\]+)",
    "cookie": r"(?i:\bcookie(?:\\*[\"'])?\s*[:=]\s*(?:\\*[\"'])?)(?P<cookies>[\w.-]+=[^\r\n\"'\\)]{4,})",
    "bearer": r"(?i:\bbearer\s+)(?P<bearer_token>[A-Za-z0-9._~+/=-]{8,})",
    "webhook": r"https?://(?:hooks\.slack\.com/\w+/|discord(?:app)?\.com/api/webhooks/|[\w-]+\.webhook\.office\.com/|"
    r"outlook\.office(?:365)?\.com/webhook/|api\.telegram\.org/bot|chat\.googleapis\.com/v1/)"
    r"(?P<hook>[^\s\"'<>)]+)",
    "url": r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]{0,30}://)(?P<authority>[^\s/\"'<>?#\\]+)",
    "signed": r"(?i:[?&](?:x-(?:amz|goog)-(?:signature|credential|security-token)|sig|signature|awsaccesskeyid|policy|"
    r"[\w-]{0,20}(?:token|key|secret|password))=)(?P<signed_value>[^\s&\"'<>#;)\]]{8,})",
    "token": rf"(?<![A-Za-z0-9])(?:{TOKENS})",
    "dsn": r"(?<![\w/.-])(?P<dsn_user>[\w.-]{1,64}):(?P<dsn_password>[^\s:/]{1,128})@(?=tcp\()",
    "netrc": r"(?i:\blogin)\s+(?P<netrc_user>\S+)\s+(?i:password)\s+(?P<netrc_password>[^\s\"']+)",
    "curl": r"(?<!\S)(?:-u|--user)[ =](?P<login_user>[\w.@-]+):(?P<login_password>[^\s\"']+)",
    "flag": r"\b(?:sshpass|(?:docker|podman) login|mysql|mysqldump)\b[^\n]{0,200}?\s-p ?(?P<flag_value>[^\s\"'-][^\s\"']{3,})",
    "assigned": rf"(?i:{_KEY})(?:(?i:{_IS}{_NONE})(?P<value>{_VALUE})"  # password: x
    r"|\\*[\"']\s*,\s*\\*[\"'](?P<paired>[^\"'\s\\]{4,})"  # ('password', 'x')
    r"|\\*[\"']\s+value=\\*[\"'](?P<attribute_value>[^\"'\s\\]{4,})"  # <add key="password" value="x"/>
    r"|(?:\s[^<>]{0,200})?>(?P<element_value>[^<\s]{4,})(?=</))",  # <password>x</password>
    "passed": rf"(?i:(?<![A-Za-z])pass\s*=\s*[\"']?{_NONE}{_NO_PRECISION})(?P<pass_value>{_VALUE})",
    "option": rf"(?i:(?<![\w-])--?[\w-]{{0,30}}{_KEY}[ \t]+[\"']?{_NONE})(?P<argument>(?!is\b|are\b|was\b)[^\s\"',;]{{4,}})",
    "said": r"(?i:\b(?:password|passphrase|secret(?: key)?|api key|token) (?:is|was) [\"']?)"
    r"(?P<said_value>(?=\S*[\d!@#$%^&*_-])[^\s\"',;)]{6,})",
    "home": r"(?:/home/|/Users/|%2F(?:home|Users)%2F|[A-Za-z](?::|%3A)(?:\\{1,2}|/|%5C)Users(?:\\{1,2}|/|%5C))"
    r"(?P<owner>[^\s/\\\"'<>:,;|)\]}%`]+)|(?<![\w.~-])/root(?![\w.-])",
    "tilde": rf"(?<![\w/~.-])~(?P<tilde_user>{_NAME})(?=/)",
    "remote": rf"(?:\b(?:ssh|scp|sftp|rsync|sshfs|mosh|ssh-copy-id)\b[^\n@]{{0,100}}?[\s'\"]|\[|(?<![\w.@+-]))"
    rf"(?P<remote_user>{_NAME})@(?P<remote_host>{_HOST})(?=:[~/\w.]| [^\]\n]{{0,100}}\][$#]|\s|['\")\\]|\Z)",
    "mail": r"(?<![\w.+-])(?P<account>[A-Za-z0-9][\w.+-]*)@(?P<domain>[A-Za-z0-9](?:[\w-]*\.)*[\w-]*[A-Za-z0-9])"
    r"(?!\w)",
    "uuid": r"(?<![0-9A-Fa-f])(?<![0-9A-Fa-f]-)[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f])",
    "hardware": r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])|"
    r"(?<![\w-])(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}(?![\w-])|(?<![\w.])[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}(?![\w.])",
    "machine": r"(?i:\b(?:machine|boot|product|system)[-_ ]?(?:id|uuid)(?:\\*[\"'])?\s*[:=]?\s*(?:\\*[\"'])?)"
    r"(?P<machine_id>[0-9a-fA-F]{32})(?![0-9A-Fa-f])",
    "serial": r"(?i:(?<![A-Za-z])(?:serial(?:[-_ ]?(?:number|no))?|s/n)\b(?:\\*[\"'])?\s*[:=#]?\s*(?:\\*[\"'])?)"
    r"(?P<serial_number>(?=[A-Z0-9-]*\d)[A-Z0-9][A-Z0-9-]{5,})(?![\w.])",
    "registry": r"(?<![\w./-])(?P<registry_host>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::\d+|\.[A-Za-z]{2,}))"
    r"(?=/[\w./-]+@sha256:)",
    "share": rf"(?<![\w\\:])(?:\\\\(?!\\)(?P<share_host>{_HOST})(?=\\(?!\\))|\\{{4}}(?!\\)(?P<share_host2>{_HOST})(?=\\\\(?!\\))"
    rf"|\\{{8}}(?!\\)(?P<share_host4>{_HOST})(?=\\{{4}}(?!\\)))",
    "domain_user": rf"(?<![\w\\/.:-])(?P<nt_domain>[A-Z][A-Z0-9-]{{1,14}})\\{{1,4}}(?P<nt_user>(?![nrtbfavx0\\]){_NAME})(?![\w\\.(])",
    "named_host": rf"(?i:(?<![\w.-])(?:host|(?:host|node|computer|machine|server)_?name)(?:\\*[\"'])?\s*[:=]\s*(?:\\*[\"'])?)"
    rf"(?P<host_value>(?=[a-z])(?i:{_NOBODY}){_HOST})(?![\w(/])",
    "named_user": rf"(?i:(?<![\w.-])(?:user(?:_?name)?|logname|sudo_user)(?:\\*[\"'])?\s*[:=]\s*(?:\\*[\"'])?)"
    rf"(?P<user_value>(?i:{_NOBODY}){_NAME})(?![\w(/:])",
    "syslog": rf"\b{_MONTH} [ \d]\d \d\d:\d\d:\d\d (?P<syslog_host>{_HOST})(?= [\w./-]+(?:\[\d+\])?:)",
    "v6": r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15}(?<!\.)(?![\w:])",
    "v4": r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d]|\.\d)",
    "inside": r"(?i:(?<![\w.-])[a-z0-9][\w-]*(?:\.[\w-]+)*\.(?:local|localdomain|lan|internal|intranet|corp|home\.arpa)"
    r"(?![\w-]|\.\w))",
    "opaque": r"(?<![A-Za-z0-9+/_.:@%-])[A-Za-z0-9+/_-]{32,200}={0,2}(?![A-Za-z0-9+/_=-])",
}

_FORMS = tuple((name, re.compile(pattern)) for name, pattern in _PARTS.items())

_VERSION_BEFORE = re.compile(
    r"(?i)(?:\.so\.|[=~<>]=|(?:version|release|tensorrt|cudnn|cublas|cuda|nvinfer|driver|numpy|\bv)"
    r"[\"']?[ :=_-]*)\Z"
)


KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a match: plain text, or a secret."""

    text: str
    kind: HiddenKind | None = None

    @property
    def secret(self) -> Secret | None:
        return Secret(self.kind, self.text) if self.kind else None


def found(
    text: str, versions: Collection[str], known: re.Pattern[str] | None = None
) -> Iterator[tuple[re.Match[str], Sequence[Piece]]]:
    """Yields what a text holds of the forms, from left to right, none over another.

    `versions` are dotted numbers that could be addresses, and are known to be none. `known` finds secrets that are
    known literally; they win, and have no pieces.
    """
    forms = ((KNOWN, known), *_FORMS) if known else _FORMS
    waiting = [
        (match.start(), order, match)
        for order, (_, form) in enumerate(forms)
        if (match := form.search(text))
    ]
    heapq.heapify(waiting)
    end = 0
    while waiting:
        start, order, match = waiting[0]
        name, form = forms[order]
        after = end
        if start >= end:
            pieces = () if name == KNOWN else tuple(_READERS[name](match, versions))
            after = match.end()
            if name == KNOWN or any(
                piece.secret for piece in pieces
            ):  # else it may hold another form
                end = after
                yield match, pieces
        following = form.search(text, after)
        if following:
            heapq.heapreplace(waiting, (following.start(), order, following))
        else:
            heapq.heappop(waiting)


def is_address(text: str) -> bool:
    """Tells whether `text` is an IP address that says where something is; loopback does not."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or text == "255.255.255.255")


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
        yield Piece(name, HiddenKind.ADDRESS)
    elif PUBLIC_HOSTS.fullmatch(name) or not re.search(r"[A-Za-z]", name) or ":" in name:
        yield Piece(f"[{name}]" if bracketed else name)
    else:
        yield Piece(name, HiddenKind.HOST)
    yield Piece(port)


def _whole(kind: HiddenKind) -> Callable[[re.Match[str], Collection[str]], Iterator[Piece]]:
    def read(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
        del versions
        yield Piece(match.group(), kind)

    return read


def _groups(
    **kinds: HiddenKind,
) -> Callable[[re.Match[str], Collection[str]], Iterator[Piece]]:
    """Reads a match of which several groups, in their order, are secrets; those that are empty are left out."""

    def read(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
        del versions
        at = match.start()
        for name, kind in kinds.items():
            start, end = match.span(name)
            if start >= 0:
                yield Piece(match.string[at:start])
                yield Piece(match.string[start:end], kind)
                at = end
        yield Piece(match.string[at : match.end()])

    return read


def _url(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    yield Piece(match.group("scheme"))
    user, at, where = match.group("authority").rpartition("@")
    name, colon, password = user.partition(":")
    if name:
        yield Piece(name, HiddenKind.REGISTRY if colon else HiddenKind.USER)
    yield Piece(colon)
    if password:
        yield Piece(password, HiddenKind.TOKEN)
    yield Piece(at)
    yield from host(where, versions)


def _mail(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    """`user@host` of ssh as well; `name@sha256` and `op@onnx` are neither."""
    domain = match.group("domain")
    if domain == "sha256":
        yield Piece(match.group())
    elif re.search(r"\.[A-Za-z]{2,}\Z", domain):
        yield Piece(match.group(), HiddenKind.MAIL)
    elif is_address(domain) and domain not in versions:
        yield Piece(match.group("account"), HiddenKind.USER)
        yield Piece("@")
        yield Piece(domain, HiddenKind.ADDRESS)
    else:
        yield Piece(match.group())


def _remote(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    """`user@host` of ssh, of a prompt; where it may as well be `package@version` it stays."""
    where, text = match.group("remote_host"), match.group()
    by_program = re.match(r"ssh|scp|sftp|rsync|sshfs|mosh", text)
    prompt = match.string[match.end() : match.end() + 2] in (":~", ":/") or text.startswith("[")
    if not (by_program or prompt) or re.search(r"\.[A-Za-z]{2,}\Z", where):
        at = match.start("remote_user")
        yield Piece(match.string[match.start() : at])
        match_ = re.compile(_PARTS["mail"]).match(match.string, at)
        if match_:
            yield from _mail(match_, versions)
            yield Piece(match.string[match_.end() : match.end()])
        else:
            yield Piece(match.string[at : match.end()])
        return
    yield from _groups(
        remote_user=HiddenKind.USER,
        remote_host=HiddenKind.ADDRESS if is_address(where) else HiddenKind.HOST,
    )(match, versions)


def _opaque(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    """What is as mixed as random letters are: no word, no path, no hash, no mangled name of C++.

    Random letters, capitals and digits change their sort at 6 of 10 places, CamelCase names at 2.
    """
    del versions
    text = match.group().rstrip("=")
    sorts = ["d" if c.isdigit() else "u" if c.isupper() else "l" for c in text if c.isalnum()]
    changes = sum(before != after for before, after in itertools.pairwise(sorts))
    random = (
        len(set(sorts)) == 3
        and sorts.count("d") >= 3
        and changes >= 0.42 * len(sorts)
        and max(map(len, re.split(r"[/_-]", text))) >= 16
        and not text.startswith(("_Z", "sha"))
    )
    yield Piece(match.group(), HiddenKind.TOKEN if random else None)


def _address(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    text = match.group()
    before = match.string[max(0, match.start() - 24) : match.start()]
    version = text in versions or (":" not in text and _VERSION_BEFORE.search(before))
    may_be_code = "::" in text and not re.search(r"\d", text)  # as `a::b` is in C++
    known = is_address(text) and not version and not may_be_code
    yield Piece(text, HiddenKind.ADDRESS if known else None)


def _host(match: re.Match[str], versions: Collection[str]) -> Iterator[Piece]:
    yield from host(match.group(), versions)


_READERS = {
    "pem": _whole(HiddenKind.TOKEN),
    "putty": _whole(HiddenKind.TOKEN),
    "ssh_key": _groups(public=HiddenKind.TOKEN, key_user=HiddenKind.USER, key_host=HiddenKind.HOST),
    "authorization": _groups(credentials=HiddenKind.TOKEN),
    "cookie": _groups(cookies=HiddenKind.TOKEN),
    "bearer": _groups(bearer_token=HiddenKind.TOKEN),
    "webhook": _groups(hook=HiddenKind.TOKEN),
    "url": _url,
    "signed": _groups(signed_value=HiddenKind.TOKEN),
    "token": _whole(HiddenKind.TOKEN),
    "dsn": _groups(dsn_user=HiddenKind.USER, dsn_password=HiddenKind.TOKEN),
    "netrc": _groups(netrc_user=HiddenKind.USER, netrc_password=HiddenKind.TOKEN),
    "curl": _groups(login_user=HiddenKind.USER, login_password=HiddenKind.TOKEN),
    "flag": _groups(flag_value=HiddenKind.TOKEN),
    "assigned": _groups(
        value=HiddenKind.TOKEN,
        paired=HiddenKind.TOKEN,
        attribute_value=HiddenKind.TOKEN,
        element_value=HiddenKind.TOKEN,
    ),
    "passed": _groups(pass_value=HiddenKind.TOKEN),
    "option": _groups(argument=HiddenKind.TOKEN),
    "said": _groups(said_value=HiddenKind.TOKEN),
    "home": _whole(HiddenKind.HOME),
    "tilde": _groups(tilde_user=HiddenKind.USER),
    "remote": _remote,
    "mail": _mail,
    "uuid": _whole(HiddenKind.UUID),
    "hardware": _whole(HiddenKind.HARDWARE),
    "machine": _groups(machine_id=HiddenKind.HARDWARE),
    "serial": _groups(serial_number=HiddenKind.HARDWARE),
    "registry": _host,
    "share": _groups(
        share_host=HiddenKind.HOST, share_host2=HiddenKind.HOST, share_host4=HiddenKind.HOST
    ),
    "domain_user": _groups(nt_domain=HiddenKind.HOST, nt_user=HiddenKind.USER),
    "named_host": _groups(host_value=HiddenKind.HOST),
    "named_user": _groups(user_value=HiddenKind.USER),
    "syslog": _groups(syslog_host=HiddenKind.HOST),
    "v6": _address,
    "v4": _address,
    "inside": _whole(HiddenKind.HOST),
    "opaque": _opaque,
}
