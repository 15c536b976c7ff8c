"""Runs a pack where it was carried to: python3 run-pack.py [--python PATH | --docker IMAGE].

A pack holds this program, the job, its requests and all they need; nothing else is fetched. What the
jobs answer goes to results.tar beside it, to be carried back: `trt-matrix merge results.tar`. What
ended is kept, so that an interrupted run goes on where it was. Standard library only.
"""

import argparse
import fnmatch
import io
import os
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # what was carried here stays as it was

from job import pack_docker, protocol  # noqa: E402
from job.pack_results import collect, sha256  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
DONE = "done.json"
ENDING = "ending.json"
NOWHERE = "none"
PROGRESS_S = 2.0


def main(arguments):
    options = parser().parse_args(arguments)
    pack = protocol.read_json(os.path.join(HERE, protocol.PACK))
    damaged = [
        name
        for name, digest in sorted(pack["files"].items())
        if sha256(os.path.join(HERE, name)) != digest
    ]
    if damaged:
        print("damaged, pack again or copy again: %s" % ", ".join(damaged), file=sys.stderr)
        return 2
    wanted = [request for request in pack["requests"] if matches(request, options.only)]
    if not wanted:
        known = ", ".join(request["id"] for request in pack["requests"])
        print("nothing matches; there are: %s" % known, file=sys.stderr)
        return 2
    work = os.path.join(HERE, "work")
    waiting = [one for one in wanted if not os.path.exists(os.path.join(work, one["id"], DONE))]
    problem = lacking(engines(waiting), options)
    if problem:
        print("%s\nnothing was run; run this again with another one" % problem, file=sys.stderr)
        return 2
    for number, one in enumerate(wanted, 1):
        folder = os.path.join(work, one["id"])
        head = "[%d/%d] %s: " % (number, len(wanted), one["id"])
        print(head, end="")
        sys.stdout.flush()
        if not os.path.exists(os.path.join(folder, DONE)):
            run(one, folder, options)
            finish_progress(head)
        done = protocol.read_json(os.path.join(folder, DONE))
        told = "; %s" % done["last"] if done["last"] else ""
        print("%d of %d answered%s" % (done["answered"], done["asked"], told))
    if options.output == NOWHERE:
        return 0
    count, stay = collect(pack, work, options.output, options.outputs)
    print(
        "%s: %d files, %.1f MB. Carry it back: trt-matrix merge %s"
        % (options.output, count, os.path.getsize(options.output) / 1e6, os.path.basename(options.output))
    )
    if stay:
        print("%.1f MB of outputs stay here: what is judged of them is in it (--outputs takes them along)" % (stay / 1e6))
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
    found.add_argument(
        "--outputs", action="store_true", help="take all outputs along, not only what is judged of them"
    )
    found.set_defaults(limits=True)  # NVIDIA's; an engine without rights refuses them
    return found


def matches(one, patterns):
    return not patterns or any(fnmatch.fnmatchcase(one["id"], pattern) for pattern in patterns)


def run(one, folder, options):
    """Starts the job until every pass is answered or failed; after a crash the rest get a new start."""
    request = protocol.read_json(os.path.join(HERE, one["request"]))
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
        done = [each["name"] for each in request["passes"] if answered_in(result, each["name"])]
        calibrated = os.path.exists(os.path.join(result, protocol.CALIBRATION))
        answered += len(done) + calibrated
        missing = [each["name"] for each in request["passes"] if each["name"] not in done]
        failed = [] if ended["interrupted"] else blamed(ended, missing, bool(done))
        protocol.write_json(os.path.join(start, ENDING), dict(ended, failed=failed))
        request = dict(request)
        if calibrated or not ended["interrupted"]:
            request["calibration"] = None
        request["passes"] = [
            each
            for each in request["passes"]
            if each["name"] in missing and each["name"] not in failed
        ]
        if not request["passes"] and not request["calibration"]:
            break
    last = "" if answered == asked else ended["error"] or last_line(os.path.join(start, "job.log"))
    protocol.write_json(os.path.join(folder, DONE), {"asked": asked, "answered": answered, "last": last})


def answered_in(result, name):
    """Returns whether a pass was answered; where the job ended while it timed the layers, all else is the answer."""
    folder = os.path.join(result, protocol.PASSES, name)
    answer, untimed = (os.path.join(folder, one) for one in (protocol.PASS, protocol.UNTIMED))
    if os.path.exists(untimed) and not os.path.exists(answer):
        os.replace(untimed, answer)
    return os.path.exists(answer)


def earlier(start):
    """Returns how a start of an earlier run ended; it wrote that down, or was interrupted."""
    path = os.path.join(start, ENDING)
    if not os.path.exists(path):
        with open(os.path.join(start, "job.log"), "ab"):
            pass
        return ending(["interrupted"], interrupted=True)
    return protocol.read_json(path)


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


def engines(requests):
    """Returns the engines that requests need, each once."""
    paths = [os.path.join(HERE, request["request"]) for request in requests]
    return sorted({protocol.read_json(path)["engine"] for path in paths})


def lacking(wanted, options):
    """Returns why no job of the `wanted` engines can run: no such Python or image, no numpy, no engine; None where all is there.

    Asked before any job starts, so that nothing counts as answered.
    """
    for name in wanted:
        what = "the image %s" % options.docker if options.docker else options.python
        try:
            code, said = _asked(name, options)
            if code and options.docker and pack_docker.refuses_limits(said):
                options.limits = False
                print("the engine may not raise limits: NVIDIA's recommended ones are left out")
                code, said = _asked(name, options)
        except OSError as error:
            return "cannot start %s: %s" % (pack_docker.program() if options.docker else options.python, error)
        if code:
            lines = said.strip().splitlines()
            why = lines[-1][:300] if lines else "it ended with %d" % code
            return "%s cannot run jobs of %s: %s" % (what, name, why)
    return None


def _asked(name, options):
    """Returns the exit code and all that is said where numpy and the engine `name` are loaded."""
    code = "import numpy; from job import engines; engines.load(%r)" % str(name)
    command = (
        pack_docker.common(HERE, options) + ["--entrypoint", "python3", options.docker, "-c", code]
        if options.docker
        else [options.python, "-c", code]
    )
    process = subprocess.Popen(
        command, cwd=HERE, env=variables(options), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said = process.communicate()[0].decode("utf-8", "replace")
    return process.returncode, said


def variables(options):
    """Returns the environment of a job."""
    found = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")
    if not options.docker:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH")]))
    return found


def start_job(request, start, deadline_s, options):
    asked, result = os.path.join(start, "request"), os.path.join(start, "result")
    os.makedirs(asked)
    os.makedirs(result)
    protocol.write_json(os.path.join(asked, "request.json"), pointing(request))
    command = (
        pack_docker.start(HERE, start, options)
        if options.docker
        else [options.python, "-m", "job", asked, result]
    )
    ended = ending(command)
    began = time.time()
    ended["started"] = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(began))
    with open(os.path.join(start, "job.log"), "wb") as log:
        try:
            process = subprocess.Popen(
                command, cwd=HERE, env=variables(options), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            ended["error"] = "cannot start %s: %s" % (command[0], error)
        else:
            wait(process, deadline_s, ended, result)
    ended["wall_s"] = time.time() - began
    ended["stage"] = read_stage(result)
    return ended


def wait(process, deadline_s, ended, result):
    began = time.time()
    code = None
    try:
        while code is None:
            left = deadline_s - (time.time() - began)
            if left <= 0:
                ended["timed_out"] = True
                code = stop(process)
                break
            try:
                code = process.wait(timeout=min(left, PROGRESS_S))
            except subprocess.TimeoutExpired:
                progress(read_stage(result), time.time() - began)
    except KeyboardInterrupt:
        stop(process)
        raise
    if code is not None and code < 0:
        ended["signal"] = -code
    else:
        ended["exit_code"] = code


def progress(stage, seconds):
    """Says what the job does: over the last line in a terminal, else where the stage is another one."""
    told = "    %s, %d s" % (stage or "starting", seconds)
    if sys.stdout.isatty():
        print("\r%-70.70s" % told, end="")
    elif stage != progress.last:
        print("\n" + told, end="")
    progress.last = stage
    sys.stdout.flush()


progress.last = ""


def finish_progress(head):
    """Begins the line again that `progress` left, where it said anything."""
    if progress.last:
        print(("\r%-70s\r" % "" if sys.stdout.isatty() else "\n") + head, end="")
    progress.last = ""


def stop(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has just ended
    return process.wait()


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
