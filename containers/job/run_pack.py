"""Runs a pack where it was carried to: python3 run-pack.py [--python PATH | --docker IMAGE].

A pack holds this program, the job, its requests and all they need; nothing else is fetched. What the
jobs answer goes to results.tar beside it, to be carried back: `trt-matrix merge results.tar`. What
ended is kept, so that an interrupted run goes on where it was. Standard library only.
"""

import argparse
import fnmatch
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PACK = "pack.json"
DONE = "done.json"
ENDING = "ending.json"
NOWHERE = "none"


def main(arguments):
    options = parser().parse_args(arguments)
    with io.open(os.path.join(HERE, PACK), encoding="utf-8") as stream:
        pack = json.load(stream)
    damaged = [
        name
        for name, digest in sorted(pack["files"].items())
        if sha256(os.path.join(HERE, name)) != digest
    ]
    if damaged:
        print("damaged, pack again or copy again: %s" % ", ".join(damaged), file=sys.stderr)
        return 2
    wanted = [one for one in pack["requests"] if matches(one, options.only)]
    if not wanted:
        print("nothing matches; there are: %s" % ", ".join(names(pack)), file=sys.stderr)
        return 2
    work = os.path.join(HERE, "work")
    for number, one in enumerate(wanted, 1):
        folder = os.path.join(work, one["id"])
        print("[%d/%d] %s: " % (number, len(wanted), one["id"]), end="")
        sys.stdout.flush()
        if not os.path.exists(os.path.join(folder, DONE)):
            run(one, folder, options)
        with io.open(os.path.join(folder, DONE), encoding="utf-8") as stream:
            done = json.load(stream)
        told = "; %s" % done["last"] if done["last"] else ""
        print("%d of %d answered%s" % (done["answered"], done["asked"], told))
    if options.output == NOWHERE:
        return 0
    count = collect(pack, work, options.output)
    print(
        "%s: %d files. Carry it back: trt-matrix merge %s"
        % (options.output, count, os.path.basename(options.output))
    )
    return 0


def parser():
    found = argparse.ArgumentParser(description=__doc__)
    found.add_argument(
        "--python", default=sys.executable, help="that has the engine (default: this one)"
    )
    found.add_argument("--docker", metavar="IMAGE", help="run in a container of this local image")
    found.add_argument("--gpus", default="all", help="for docker run; none: without (default: all)")
    found.add_argument(
        "--only", action="append", default=[], metavar="GLOB", help="over ids; repeatable"
    )
    found.add_argument(
        "-o",
        "--output",
        default=os.path.join(HERE, "results.tar"),
        help="archive to carry back; none: write no archive",
    )
    return found


def names(pack):
    return [one["id"] for one in pack["requests"]]


def matches(one, patterns):
    return not patterns or any(fnmatch.fnmatchcase(one["id"], pattern) for pattern in patterns)


def run(one, folder, options):
    """Starts the job until every pass is answered or failed; after a crash the rest get a new start."""
    with io.open(os.path.join(HERE, one["request"]), encoding="utf-8") as stream:
        request = json.load(stream)
    asked = len(request["passes"]) + bool(request["calibration"])
    answered = 0
    starts = 0
    while True:
        starts += 1
        start = os.path.join(folder, "start-%d" % starts)
        if not os.path.exists(os.path.join(start, "request", "request.json")):
            shutil.rmtree(start, ignore_errors=True)  # interrupted before it began
        if os.path.isdir(start):  # an earlier run was interrupted here: what it answered is kept
            ended = earlier(start)
        else:
            ended = start_job(request, start, one["deadline_s"], options)
        result = os.path.join(start, "result")
        done = [
            each["name"]
            for each in request["passes"]
            if os.path.exists(os.path.join(result, "passes", each["name"], "pass.json"))
        ]
        calibrated = os.path.exists(os.path.join(result, "calibration.json"))
        answered += len(done) + calibrated
        missing = [each["name"] for each in request["passes"] if each["name"] not in done]
        failed = [] if ended["interrupted"] else blamed(ended, missing, bool(done))
        write_json(os.path.join(start, ENDING), dict(ended, failed=failed))
        request = dict(request)
        if calibrated or not ended["interrupted"]:
            request["calibration"] = None
        request["passes"] = [
            each for each in request["passes"] if each["name"] in missing and each["name"] not in failed
        ]
        if not request["passes"] and not request["calibration"]:
            break
    last = "" if answered == asked else ended["error"] or last_line(os.path.join(start, "job.log"))
    write_json(os.path.join(folder, DONE), {"asked": asked, "answered": answered, "last": last})


def earlier(start):
    """Returns how a start of an earlier run ended; it wrote that down, or was interrupted."""
    path = os.path.join(start, ENDING)
    if not os.path.exists(path):
        with open(os.path.join(start, "job.log"), "ab"):
            pass
        return ending(["interrupted"], interrupted=True)
    with io.open(path, encoding="utf-8") as stream:
        return json.load(stream)


def ending(command, interrupted=False):
    return {
        "command": command,
        "exit_code": None,
        "signal": None,
        "timed_out": False,
        "error": None,
        "stage": None,
        "started": "",
        "wall_s": 0.0,
        "interrupted": interrupted,
    }


def last_line(path):
    """Returns what a job said last: mostly why it gave up."""
    with io.open(path, encoding="utf-8", errors="replace") as stream:
        lines = [line.strip() for line in stream if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def blamed(ended, missing, progressed):
    """Returns which unanswered passes failed with this start; the others had no turn."""
    if ended["error"] or ended["exit_code"] == 0:
        return missing
    in_work = (ended["stage"] or "").partition(" ")[2]
    if in_work in missing:
        return [in_work]
    return [] if progressed else missing


def start_job(request, start, deadline_s, options):
    asked, result = os.path.join(start, "request"), os.path.join(start, "result")
    os.makedirs(asked)
    os.makedirs(result)
    write_json(os.path.join(asked, "request.json"), pointing(request))
    command = (
        docker_command(start, options)
        if options.docker
        else [options.python, "-m", "job", asked, result]
    )
    variables = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")
    if not options.docker:
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH")]))
    ended = ending(command)
    began = time.time()
    ended["started"] = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(began))
    with open(os.path.join(start, "job.log"), "wb") as log:
        try:
            process = subprocess.Popen(
                command, cwd=HERE, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            ended["error"] = "cannot start %s: %s" % (command[0], error)
        else:
            wait(process, deadline_s, ended)
    ended["wall_s"] = time.time() - began
    ended["stage"] = read_stage(result)
    return ended


def wait(process, deadline_s, ended):
    try:
        code = process.wait(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        ended["timed_out"] = True
        code = stop(process)
    except KeyboardInterrupt:
        stop(process)
        raise
    if code is not None and code < 0:
        ended["signal"] = -code
    else:
        ended["exit_code"] = code


def stop(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has just ended
    return process.wait()


def docker_command(start, options):
    inside = "/pack/" + os.path.relpath(start, HERE).replace(os.sep, "/")
    gpus = [] if options.gpus == "none" else ["--gpus", options.gpus]
    return (
        [
            "docker",
            "run",
            "--rm",
            "--network=none",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
        ]
        + ["--shm-size=1g", "--ulimit=memlock=-1", "--ulimit=stack=67108864"]
        + [
            "--user",
            "%d:%d" % (os.getuid(), os.getgid()),
            "--env",
            "HOME=/tmp",
            "--env",
            "PYTHONPATH=/pack",
        ]
        + gpus
        + ["--volume", HERE + ":/pack:ro", "--volume", start + "/result:" + inside + "/result"]
        + ["--workdir", "/pack", "--entrypoint", "python3", options.docker]
        + ["-m", "job", inside + "/request", inside + "/result"]
    )


def pointing(value):
    """Returns a request whose files are found from its folder: four levels below the pack."""
    if isinstance(value, dict):
        return {key: pointing(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [pointing(inner) for inner in value]
    if isinstance(value, str) and os.path.isfile(os.path.join(HERE, "objects", value)):
        return "../../../../objects/" + value
    return value


def read_stage(result):
    try:
        with io.open(
            os.path.join(result, "stage.txt"), encoding="utf-8", errors="replace"
        ) as stream:
            return stream.read(200).strip() or None
    except OSError:
        return None


def collect(pack, work, output):
    """Writes results.tar: all that ended, and what every file's hash is."""
    files = {}
    for folder, _, found in os.walk(work):
        for name in found:
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, work).replace(os.sep, "/")
            if os.path.isfile(path) and not os.path.islink(path):
                files[inside] = sha256(path)
    manifest = json.dumps({"pack": pack["id"], "files": files}, indent=1, sort_keys=True).encode(
        "utf-8"
    )
    with tarfile.open(output + ".part", "w") as archive:
        for name in sorted(files):
            archive.add(os.path.join(work, name), arcname=name, filter=anonymous)
        info = tarfile.TarInfo("results.json")
        info.size = len(manifest)
        archive.addfile(info, io.BytesIO(manifest))
    os.replace(output + ".part", output)
    return len(files)


def anonymous(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def sha256(path):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def write_json(path, value):
    with io.open(path + ".part", "w", encoding="utf-8") as stream:
        stream.write(json.dumps(value, indent=1, sort_keys=True))
    os.replace(path + ".part", path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
