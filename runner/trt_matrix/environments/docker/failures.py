"""What Docker's errors mean and what to do about them: pure functions over its own words.

The words were captured from real engines (tests/unit/test_docker_pure.py holds them verbatim); what is not
known is handed on as it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trt_matrix.core.hosts.cdi import GENERATE


@dataclass(frozen=True, slots=True)
class _Meaning:
    pattern: re.Pattern[str]
    sentence: str
    """With the groups of the pattern."""
    final: bool = True
    """Whether trying again is of no use."""


def _meaning(pattern: str, sentence: str, *, final: bool = True) -> _Meaning:
    return _Meaning(re.compile(pattern, re.IGNORECASE | re.DOTALL), sentence, final)


_AGAIN = f"write one again with {GENERATE}"

_GPU = (
    _meaning(
        r"could not select device driver.*gpu|could not select device driver \"nvidia\""
        r"|unknown (or invalid )?runtime.*nvidia",
        "this Docker engine has no NVIDIA runtime: install nvidia-container-toolkit, run "
        "`nvidia-ctk runtime configure --runtime=docker` and restart Docker",
    ),
    _meaning(
        r"could not select device driver \"cdi\"",
        "CDI is switched off in this Docker engine: put "
        '`"features": {"cdi": true}` into /etc/docker/daemon.json and restart Docker',
    ),
    _meaning(
        r"unresolvable CDI devices? (?P<what>[^\n]+)",
        f"no CDI specification of this engine gives {{what}}: {_AGAIN} (`nvidia-ctk cdi list` tells "
        "what they give)",
    ),
    _meaning(
        r"failed to stat CDI host device \"(?P<what>[^\"]+)\""
        r"|error mounting \"(?P<mount>[^\"]*(nvidia|cuda)[^\"]*)\" to rootfs[^\n]*no such file"
        r"|error running (\w+ )?hook #\d+:[^\n]*fork/exec (?P<hook>\S+): no such file",
        f"the CDI specification is stale: it names {{what}}, which is not there, as after an update of the "
        f"driver: {_AGAIN}",
    ),
    _meaning(
        r"CDI device injection failed",
        f"a CDI specification of this engine cannot be used: {_AGAIN}",
    ),
    _meaning(
        r"nvidia-container-cli: requirement error: unsatisfied condition: (?P<what>[^\n,]+)",
        "the NVIDIA driver is too old for this image ({what}): take a newer driver or an older tag",
    ),
    _meaning(
        r"nvidia-container-cli: initialization error: [^\n]*(nvml|libnvidia-ml)",
        "the NVIDIA runtime finds no working driver; see `nvidia-smi`",
    ),
    _meaning(
        r"nvidia-container-cli: device error: (?P<what>[^\n]+)",
        "this GPU is not there ({what}); see `nvidia-smi -L`",
    ),
)

_LIMITS = r"error setting rlimit|setrlimit [^\n]*(not permitted|denied)"
"""In the words of runc and of crun."""

_START = (
    _meaning(
        r"bind source path does not exist: (?P<what>\S+)"
        r"|statfs (?P<podman>/[^:]*): no such file or directory",
        "the Docker engine does not see {what}: it runs on another machine or in another container; "
        "name it under `hosts:` in matrix.yaml, so that files are copied",
    ),
    _meaning(
        r"exec: \"(?P<what>[^\"]+)\":.*(not found|no such file)"
        r"|tini[^\n]*exec (?P<tini>\S+) failed: No such file",
        "the image has no {what}: name its Python as `python:` in matrix.yaml",
    ),
    _meaning(
        r"catatonit[^\n]*failed to exec pid1: No such file",
        "the image has no such Python: name its Python as `python:` in matrix.yaml",
    ),
    _meaning(
        r"exec format error",
        "what the container was to start is no program of this processor: the image is for another one "
        "(`docker image inspect --format {{.Architecture}}` tells), or its init or Python is damaged",
    ),
    _meaning(
        r"minimum memory limit allowed is (?P<what>\S+)"
        r"|unable to set memory limit to \d+ \(current usage: (?P<used>\d+)",
        "memory_gb is too small: at least {what}",
    ),
    _meaning(
        r"container-init binary not found on the host: stat (?P<what>[^\s:]+)",
        "Podman has no init for containers, {what}: install the package catatonit",
    ),
    _meaning(
        _LIMITS,
        "this engine may not give a process the limits that it is told to (it is rootless, or runs in a "
        "container itself): raise those of the engine (`ulimit -n`, `ulimit -u`)",
    ),
)

_IMAGE = (
    _meaning(
        r"manifest unknown|manifest for \S+ not found|name unknown",
        "the registry has no such tag",
    ),
    _meaning(
        r"no basic auth credentials|unauthorized|authentication required|denied: ",
        "the registry wants a login that it accepts: `docker login` (for NVIDIA's images the user "
        "is $oauthtoken, the password an NGC API key)",
    ),
    _meaning(
        r"toomanyrequests|too many requests",
        "the registry allows no more pulls for now: log in, or wait",
        final=False,
    ),
    _meaning(
        r"no matching manifest for (?P<what>[^\n]+?) in the manifest list",
        "the image is not made for {what}",
    ),
    _meaning(r"invalid reference format|invalid repository name", "this is no name of an image"),
    _meaning(
        r"no such host|server misbehaving|network is unreachable",
        "the registry cannot be reached; what is local is used with --offline",
        final=False,
    ),
    _meaning(
        r"connection refused|connection reset|i/o timeout|unexpected EOF|TLS handshake"
        r"|Client\.Timeout|deadline exceeded|\bEOF\b|\b50[0-4]\b",
        "the registry does not answer",
        final=False,
    ),
)

_DISK = (
    _meaning(
        r"no space left on device",
        "the disk of the Docker engine is full: `docker system df` shows what fills it",
    ),
)

_ENGINE = (
    _meaning(
        r"permission denied|PermissionError",
        "this user may not use Docker: join the group `docker` and log in again",
    ),
    _meaning(
        r"connection refused|no such file|FileNotFoundError|ConnectionRefusedError",
        "Docker does not answer: is it installed and started? `docker info` tells",
        final=False,
    ),
    _meaning(
        r"connection aborted|RemoteDisconnected|connection reset|broken pipe|timed out",
        "the Docker engine stopped answering",
        final=False,
    ),
)


def of_start(said: str) -> str:
    """Returns what a refusal to create or start a container means."""
    return _told(said, (*_GPU, *_START, *_DISK))


def of_image(said: str) -> str:
    """Returns what a failed pull or build means."""
    return _told(said, (*_DISK, *_IMAGE))


def of_engine(said: str) -> str:
    """Returns what it means that the engine could not be talked to."""
    return _told(said, _ENGINE)


def refuses_limits(said: str) -> bool:
    """Whether an engine that said this may not raise the limits of a process."""
    return re.search(_LIMITS, said, re.IGNORECASE) is not None


def is_final(said: str) -> bool:
    """Whether pulling again after these words is of no use: a password stays wrong."""
    cause = _found(said, (*_DISK, *_IMAGE))
    return cause is not None and cause[0].final


_OUTPUT = (
    *_GPU,
    *(meaning for meaning in _START if re.search("tini|catatonit|format", meaning.pattern.pattern)),
    _meaning(
        r"(PermissionError|OSError)[^\n]*(Permission denied|Read-only file system)[^\n]*'/results",
        "the container may not write into its results folder: is it on a read-only file system, "
        "or does the Docker engine remap users?",
    ),
)


def of_output(exit_code: int | None, output: str) -> str | None:
    """Returns why the container, not the job, failed, from the end of what it printed; None where nothing tells so."""
    if exit_code in (0, None):
        return None
    cause = _found(output, _OUTPUT)
    return cause and _sentence(*cause)


def _told(said: str, meanings: Sequence[_Meaning]) -> str:
    cause = _found(said, meanings)
    short = " ".join(said.split())[-300:]
    return f"{_sentence(*cause)} ({short})" if cause else short


def _found(said: str, meanings: Sequence[_Meaning]) -> tuple[_Meaning, re.Match[str]] | None:
    for meaning in meanings:
        if match := meaning.pattern.search(said):
            return meaning, match
    return None


def _sentence(meaning: _Meaning, match: re.Match[str]) -> str:
    what = next((value for value in match.groupdict().values() if value), "")
    return meaning.sentence.replace("{what}", what)
