"""How run-pack.py runs the job in a container: command lines of docker, or of podman where that alone is there."""

import json
import os
import shutil
import subprocess

HOOK = "nvidia-container-runtime-hook"  # with it on its path an engine serves --gpus
FILES, PROCESSES = 1024, 4096  # what every engine may give


def start(pack, folder, options):
    """Returns the command that runs the job of a start; `folder` is the start's, with request and result."""
    inside = "/pack/" + os.path.relpath(folder, pack).replace(os.sep, "/")
    job = ["-m", "job", inside + "/request", inside + "/result"]
    written = ["--volume", "%s/result:%s/result" % (folder, inside)]
    return common(pack, options) + written + ["--entrypoint", "python3", options.docker] + job


def common(pack, options):
    """Returns the beginning of each command: locked in as far as that asks for no rights."""
    told = info()
    found = [program(), "run", "--rm", "--network=none", "--cap-drop=ALL"]
    found += ["--security-opt=no-new-privileges", "--shm-size=1g"]
    if is_podman(told):  # with SELinux, a container with a label of its own reads no folder of a user
        found += ["--security-opt=label=disable"]
    if options.limits:
        found += ["--ulimit=memlock=-1", "--ulimit=stack=67108864"]
    elif is_podman(told):  # its own defaults, a million as root, it may not give either
        found += ["--ulimit=nofile=%d:%d" % (FILES, FILES), "--ulimit=nproc=%d:%d" % (PROCESSES, PROCESSES)]
    # Where the engine is rootless, root inside is the user outside.
    found += ["--user", "0:0" if is_rootless(told) else "%d:%d" % (os.getuid(), os.getgid())]
    found += ["--env", "HOME=/tmp", "--env", "PYTHONPATH=/pack"]
    found += gpu_options(options.gpus, told)
    return found + ["--volume", pack + ":/pack:ro", "--workdir", "/pack"]


def info():
    """Returns what the engine says of itself; empty where it does not answer, as the job will tell."""
    try:
        said = subprocess.check_output(
            [program(), "info", "--format", "{{json .}}"], stdin=subprocess.DEVNULL
        )
        return json.loads(said.decode("utf-8"))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return {}


def program():
    return "docker" if shutil.which("docker") or not shutil.which("podman") else "podman"


def is_podman(told):
    """Returns whether info() is podman's, whatever its command is called."""
    return "host" in told


def is_rootless(told):
    security = told.get("SecurityOptions") or []
    by_podman = (told.get("host") or {}).get("security") or {}
    return bool(by_podman.get("rootless")) or any("name=rootless" in one for one in security)


def refuses_limits(said):
    """Returns whether runc, or crun, may not raise limits: it is rootless, or nested."""
    return "error setting rlimit" in said or "setrlimit" in said


def gpu_options(gpus, told):
    """Returns the options of docker run that give GPUs: by CDI where the engine (`told` by info()) has that alone.

    `gpus` is as docker run takes it: all, a count, device=0 or device=GPU-...; none: without.
    """
    if gpus == "none":
        return []
    if not is_podman(told):
        by_cdi = told.get("CDISpecDirs") or told.get("DiscoveredDevices")
        if not by_cdi or "nvidia" in (told.get("Runtimes") or {}) or shutil.which(HOOK):
            return ["--gpus", gpus]
    chosen = gpus.strip("'\"").replace("device=", "").split(",")
    if gpus.isdigit():
        chosen = [str(number) for number in range(int(gpus))]
    return ["--device=nvidia.com/gpu=" + one for one in chosen]
