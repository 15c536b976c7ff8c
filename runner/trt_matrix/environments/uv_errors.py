"""What uv says when it fails → what the user can do about it. Pure."""

import re
from collections.abc import Callable

_Explanation = Callable[[re.Match[str], str], str]


def explain(said: str, python: str) -> str:
    """Returns one sentence for what uv wrote, uncoloured, to stderr; `python` is the version packages were wanted for."""
    text = " ".join(said.split())
    for pattern, explanation in _EXPLANATIONS:
        if match_ := re.search(pattern, text):
            return explanation(match_, python)
    return f"uv failed: {text[:500] or 'it said nothing'}"


def _missing_offline(match_: re.Match[str], _: str) -> str:
    return (
        f"{_wanted(match_)} is not in the package cache and this run is offline; "
        "run once with network, on this machine or with a copy of its uv cache"
    )


def _wanted(match_: re.Match[str]) -> str:
    """Returns the user's requirement where uv names it, else the package it found missing."""
    text = match_.string
    required = re.search(r"you require ([^\s,]+)", text) or re.search(
        r"Failed to \w+:? `([^`]+)`", text
    )
    return required[1].rstrip(".") if required else "a package"


def _no_wheel(match_: re.Match[str], python: str) -> str:
    tags = re.search(r"following Python \w+ tags?: (.*)", match_.string)
    releases = list(dict.fromkeys(re.findall(r"`cp3(\d+)", tags[1]))) if tags else []
    advice = (
        f"there are wheels for Python {', '.join(f'3.{minor}' for minor in releases)}: "
        f'set `python: "3.{releases[-1]}"` for it in matrix.yaml'
        if releases
        else "choose another version, or another `python:` in matrix.yaml"
    )
    return f"{match_[1]} has no wheel for Python {python}; {advice}"


_EXPLANATIONS: tuple[tuple[str, _Explanation], ...] = (
    (
        r"No space left on device|Disk quota exceeded",
        lambda *_: "the disk is full; free space, or set TRT_MATRIX_CACHE to a folder elsewhere",
    ),
    (r"network was disabled|Network connectivity is disabled", _missing_offline),
    (
        r"(?:error sending request|Failed to fetch|dns error|tcp connect error|timed out)",
        lambda match_, _: (
            "the package index cannot be reached "
            f"({match_.string.rpartition('cause: ')[2].strip()[:200]}); "
            "check the network and its proxy, or use --offline where all packages are cached"
        ),
    ),
    (
        r"Hash mismatch for `([^`]+)`",
        lambda match_, _: (
            f"{match_[1]} is not the file that it was when it was resolved (its hash differs); "
            "remove the folder `resolutions` in the cache to resolve anew, if you trust the index"
        ),
    ),
    (r"(?:Because|and) (\S+) has no wheels with a matching Python", _no_wheel),
    (
        r"(?:Because|and) (\S+) has no wheels with a matching platform",
        lambda match_, _: f"{match_[1]} has no wheel for this platform; choose another version",
    ),
    (
        r"(?:Because|and) (tensorrt[-\w]*libs)\S* has no (?:usable )?wheels",
        lambda match_, _: (
            f"{match_[1]} is only on NVIDIA's own package index, whose address is in NVIDIA's installation "
            "guide of TensorRT: name it as `index:` of the environment in matrix.yaml, or a folder that "
            "has the wheel as `wheels:`"
        ),
    ),
    (
        r"(?:Because|and) (\S+) has no usable wheels|building from source is disabled",
        lambda match_, python: (
            f"{_wanted(match_)} has no wheel that fits Python {python} on this platform, and "
            "nothing is built from source here; choose another version, or another `python:`, in "
            "matrix.yaml, or name a wheel file"
        ),
    ),
    (
        r"there (?:is|are) no versions? of (\S+)",
        lambda match_, _: (
            f"{match_[1].rstrip('.')} does not exist; choose another version in matrix.yaml"
        ),
    ),
    (
        # With --no-index: what a wheel of the folder asks for need not be named in matrix.yaml.
        r"(?:Because|and) (\S+) was not found in the provided package locations",
        lambda match_, _: (
            f"the folder named by `wheels:` has no wheel of {match_[1]}; fetch it into that folder, or check the "
            "spelling in matrix.yaml"
        ),
    ),
    (
        r"Because (\S+) was not found in the package registry",
        lambda match_, _: f"no package is called {match_[1]}; check the spelling in matrix.yaml",
    ),
    (
        r"requires? Python|Requires-Python|does not satisfy Python",
        lambda match_, python: (
            f"Python {python} is too old or too new: {_cause(match_.string)}; "
            "set another `python:` for it in matrix.yaml"
        ),
    ),
    (
        r"(?:Couldn't parse requirement .*? cause: |error: (?=Unexpected ))(.*)",
        lambda match_, _: f"a requirement in matrix.yaml cannot be read: {match_[1][:200]}",
    ),
    (
        r"unsatisfiable|incompatible",
        lambda match_, _: f"the requirements contradict each other: {_cause(match_.string)}",
    ),
)


def _cause(text: str) -> str:
    """Returns uv's own reason, without its last conclusion."""
    return text.rpartition("cause: ")[2].partition(", we can conclude")[0].strip()[:500]
