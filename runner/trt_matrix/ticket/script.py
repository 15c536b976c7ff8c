"""reproduce.sh of one cell, and the packages that its environment had; pure."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JOBS = "reproduce"
"""Folder of a ticket that holds the jobs of all its cells."""

SCRIPT = """\
#!/bin/sh
# Runs {cell} again and compares its errors with those of the ticket.
# {where}
set -eu
cd "$(dirname "$0")/../../{jobs}"
job={job}
image={image}
packages={packages}
gpus={gpus}
installed=  # where an image has its own packages is not touched
mkdir -p work
rm -rf "work/$job"  # an earlier run of this script may have used another Python

usage() {{
    cat >&2 <<'END'
reproduce.sh                   with python3, or what PYTHON names: it needs numpy and {engine}
reproduce.sh --venv            in a new virtual environment with the packages of the ticket
reproduce.sh --docker [IMAGE]  in a container: nothing but Docker is needed
Exit code: 0 same, 1 different, 3 cannot judge, 2 it could not be started.
END
    exit 2
}}

refuse() {{
    echo "$1" >&2
    exit 2
}}

# NETWORK ARGUMENT...: python3 in a container.
contained() {{
    network=$1
    shift
    docker run --rm --network="$network" --cap-drop=ALL --security-opt=no-new-privileges \\
        --shm-size=1g $gpus --user "$(id -u):$(id -g)" --env HOME=/tmp \\
        --env PYTHONDONTWRITEBYTECODE=1 $installed \\
        --volume "$PWD/..:/ticket" --workdir "/ticket/{jobs}" --entrypoint python3 "$image" "$@"
}}

# COMMAND...: what python3 is here.
run() {{
    "$@" run-pack.py --only "$job" -o none
    "$@" -m job.compare_again "$job"
}}

install="-m pip install --quiet --disable-pip-version-check --require-hashes -r ../$packages"
case "${{1:-}}" in
--docker)
    if [ $# -gt 1 ]; then
        image=$2
    elif [ -z "$image" ]; then
        refuse "name an image that has numpy and {engine}: reproduce.sh --docker IMAGE"
    elif [ -n "$packages" ]; then
        contained bridge $install --target "work/packages-$job"
        installed="--env=PYTHONPATH=/ticket/{jobs}/work/packages-$job"
    fi
    run contained none
    ;;
--venv)
    [ -n "$packages" ] || refuse "what was installed is not known; use PYTHON=... or --docker IMAGE"
    [ -d "work/venv-$job" ] || "${{PYTHON:-python3}}" -m venv "work/venv-$job"
    "work/venv-$job/bin/python" $install
    run "work/venv-$job/bin/python"
    ;;
'')
    run "${{PYTHON:-python3}}"
    ;;
*)
    usage
    ;;
esac
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptPlace:
    """Where a cell ran, as far as a script can make it again."""

    image: str
    """Of a container; empty where none is known."""
    packages: str
    """What pip is given, below the ticket; empty where there is nothing to install."""
    where: str
    """One line for people."""


def place_of(identity: Mapping[str, Any], packages: str) -> ScriptPlace:
    """Returns where an environment's cells can run again.

    `packages` is the name of the file with what was installed; empty where there is none.
    """
    match identity.get("kind"):
        case "venv":
            version = str(identity.get("python", {}).get("version", "3"))
            image = f"python:{'.'.join(version.split('.')[:2])}-slim"
            where = f"It ran in Python {version}; see {packages}."
        case "image":
            digests = identity.get("digests") or [identity.get("reference") or ""]
            image = str(digests[0])
            where = f"It ran in a container of {image}."
        case kind:
            image = packages = ""
            where = f"It ran in an environment of kind {kind}."
    return ScriptPlace(image=image, packages=packages, where=where)


def script(cell: str, job: str, engine: str, place: ScriptPlace, *, gpu: bool) -> str:
    """Returns the text of reproduce.sh for a cell's job, which runs at `place` and may need a GPU."""
    return SCRIPT.format(
        cell=_comment(cell),
        engine=engine,
        where=_comment(place.where),
        jobs=JOBS,
        job=shlex.quote(job),
        image=shlex.quote(place.image),
        packages=shlex.quote(place.packages),
        gpus="'--gpus all'" if gpu else "''",
    )


def requirements(identity: Mapping[str, Any]) -> str:
    """Returns the packages of a virtual environment as pip takes them; empty where unknown."""
    packages = identity.get("packages")
    if not isinstance(packages, Mapping):
        return ""
    lines = []
    for name, facts in sorted(packages.items()):
        files = facts.get("files") if isinstance(facts, Mapping) else None
        if not isinstance(files, Mapping) or not files:
            continue  # it came with the image
        hashes = " ".join(f"--hash=sha256:{file}" for file in sorted(files.values()))
        lines.append(f"{name}=={facts['version']} {hashes}\n")
    return "".join(lines)


def _comment(text: str) -> str:
    """Returns text that ends with its line, whatever it holds."""
    return re.sub(r"[^ -~]", "?", text)
