"""What this machine and its user would give away: names, folders, tokens, logins of registries."""

import base64
import binascii
import contextlib
import getpass
import json
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trt_matrix.ticket.kinds import HiddenKind, Secret
from trt_matrix.ticket.patterns import PUBLIC_HOSTS, SECRET_KEY

FOLDERS = frozenset({"PWD", "OLDPWD"})
"""Variables that are no passwords."""

NO_NAME = "$oauthtoken"
"""What NVIDIA's registry calls everybody."""


def secrets_here(environ: Mapping[str, str], results: Path) -> tuple[Secret, ...]:
    """Returns what must not leave this machine; the path of the folder of results stands in every command line."""
    return (
        *_names(environ),
        *(
            Secret(HiddenKind.TOKEN, value)
            for name, value in environ.items()
            if SECRET_KEY.search(name) and name not in FOLDERS
        ),
        *_logins(environ),
        # Where the home is on top of it, that path is replaced by itself.
        Secret(HiddenKind.FOLDER, str(results.resolve())),
        Secret(HiddenKind.FOLDER, str(Path.cwd())),
    )


def _names(environ: Mapping[str, str]) -> Iterator[Secret]:
    for name in ("USER", "LOGNAME", "SUDO_USER", "USERNAME"):
        yield Secret(HiddenKind.USER, environ.get(name, ""))
    with contextlib.suppress(KeyError, OSError):  # a container may run as a number without a name
        yield Secret(HiddenKind.USER, getpass.getuser())
    home = Path("~").expanduser()
    if home != Path("/"):
        yield Secret(HiddenKind.HOME, str(home))
        yield Secret(HiddenKind.USER, home.name)
    host = socket.gethostname()
    for name in {host, host.partition(".")[0], environ.get("HOSTNAME", "")}:
        yield Secret(HiddenKind.HOST, name)


def _logins(environ: Mapping[str, str]) -> Iterator[Secret]:
    """Yields what `docker login` wrote down."""
    folder = Path(environ.get("DOCKER_CONFIG") or Path("~/.docker").expanduser())
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return  # nobody logged in, or nothing that docker could read either
    auths = config.get("auths") if isinstance(config, dict) else None
    for registry, login in (auths if isinstance(auths, dict) else {}).items():
        host = re.sub(r"^\w+://", "", str(registry)).partition("/")[0]
        if not PUBLIC_HOSTS.fullmatch(host):
            yield Secret(HiddenKind.HOST, host.partition(":")[0])
        for value in (login if isinstance(login, dict) else {}).values():
            yield from _login(value)


def _login(value: Any) -> Iterator[Secret]:
    if not isinstance(value, str) or not value:
        return
    yield Secret(HiddenKind.REGISTRY, value)
    try:
        decoded = base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return
    user, colon, password = decoded.partition(":")
    if colon:
        yield Secret(HiddenKind.REGISTRY, password)
        if user != NO_NAME:
            yield Secret(HiddenKind.USER, user)


def hidden(texts: list[str]) -> tuple[Secret, ...]:
    """Returns what the user asked to take out beside."""
    return tuple(Secret(HiddenKind.ASKED, text) for text in texts if text.strip())
