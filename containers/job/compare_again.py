"""Says of a cell that ran again whether it gave what its ticket holds: python3 -m job.compare_again ID.

Started in the folder of the jobs, after run-pack.py. numpy only. `same` and `different` are about
errors against the reference, not about bits: two builds of one network may differ in every bit.
"""

import glob
import math
import os
import sys

try:
    import numpy as np
except ImportError:
    print("this Python has no numpy: name one that has it and the engine", file=sys.stderr)
    sys.exit(2)

from . import protocol, reductions

EXPECTED = "expected.json"
WORK = "work"

SAME = "same"
DIFFERENT = "different"
CANNOT_JUDGE = "cannot judge"

REPEATABILITY = 1.96  # normal quantile of the 95 % repeatability limit, ISO 5725-6
LEAST = 0.01  # share of an error below which a difference has no meaning: docs/concepts/method.md
TOLERANCE = 1e-6  # NMSE, 60 dB: above what TF32 costs


def main(arguments):
    if len(arguments) != 1:
        print("usage: python3 -m job.compare_again ID", file=sys.stderr)
        return 2
    every = protocol.read_json(EXPECTED)
    if arguments[0] not in every:
        print("no such job; there are: %s" % ", ".join(sorted(every)), file=sys.stderr)
        return 2
    expected = every[arguments[0]]
    starts = sorted(glob.glob(os.path.join(glob.escape(os.path.join(WORK, arguments[0])), "start-*")))
    word, reason, observed = compared(expected, [os.path.join(start, "result") for start in starts], ".")
    for line in table(expected, observed):
        print(line)
    print("%s: %s" % (word, reason))
    return {SAME: 0, DIFFERENT: 1, CANNOT_JUDGE: 3}[word]


def compared(expected, results, folder):
    """Returns (word, reason, {head: NMSE}) of a cell that ran again.

    `expected` is its entry of expected.json, `results` are the RESULT_DIRs of its starts, in order, and
    `folder` has objects/ with the reference's outputs.
    """
    answers = [
        (one, protocol.read_json(path))
        for one in results
        for path in [os.path.join(one, protocol.PASSES, expected["pass"], protocol.PASS)]
        if os.path.exists(path)
    ]
    probes = [os.path.join(one, protocol.PROBE) for one in results]
    probe = next((protocol.read_json(one) for one in reversed(probes) if os.path.exists(one)), {})
    moved = elsewhere(expected["place"], place(probe))
    if not answers or answers[-1][1]["status"] != "ok":
        status = answers[-1][1]["status"] if answers else "no answer"
        word, reason = failed(expected, status, moved)
        return word, reason, {}
    result, answer = answers[-1]
    observed = errors(expected, os.path.join(result, protocol.PASSES, expected["pass"]), answer, folder)
    word, reason = judged(expected, observed, moved)
    return word, reason, observed


def failed(expected, status, moved):
    """Returns (word, reason) where the cell gave no outputs this time."""
    if expected["status"] != "ok":
        if status in (expected["status"], "no answer"):
            return SAME, "it was %s when the ticket was made and gave no outputs now" % expected["status"]
        return DIFFERENT, "it was %s when the ticket was made, and is %s now" % (expected["status"], status)
    if moved:
        return CANNOT_JUDGE, "it gave no outputs (%s), but %s" % (status, moved)
    return DIFFERENT, "it gave outputs when the ticket was made, and none now (%s)" % status


def judged(expected, observed, moved):
    """Returns (word, reason) of a cell that gave outputs."""
    if expected["status"] != "ok":
        if moved:
            return CANNOT_JUDGE, "it was %s when the ticket was made and runs here, but %s" % (
                expected["status"],
                moved,
            )
        return DIFFERENT, "it was %s when the ticket was made, and runs now" % expected["status"]
    if not expected["measured"]:
        return CANNOT_JUDGE, "no engine ever ran it with what stands in for the original; see ticket.json"
    beyond = [
        head for head, one in sorted(expected["heads"].items()) if not within(one, observed[head])
    ]
    if not beyond:
        return SAME, "every head's error is that of the ticket, within its noise"
    names = ", ".join(beyond)
    if moved:
        return CANNOT_JUDGE, "the error of %s is another, but %s" % (names, moved)
    unknown = [head for head in beyond if not expected["heads"][head]["degrees"]]
    if unknown:
        return CANNOT_JUDGE, "the error of %s is another; with one repeat its noise is unknown" % names
    return DIFFERENT, "the error of %s is another, beyond the noise of its repeats" % names


def within(head, nmse):
    """Tells whether one more build gave the error of the earlier ones: their repeatability limit."""
    if nmse is None or not head["nmse"]:
        return nmse is None and not head["nmse"]  # NaN or infinite outputs, then and now
    mean = sum(head["nmse"]) / len(head["nmse"])
    noise = REPEATABILITY * math.sqrt(head["variance"] * (1 + 1 / float(len(head["nmse"])))) * mean
    return abs(nmse - mean) <= max(noise, LEAST * mean, TOLERANCE)


def errors(expected, folder, answer, objects):
    """Returns {head: NMSE against the reference, None where an output is NaN or infinite}."""
    found = {}
    for head, one in expected["heads"].items():
        file = os.path.basename(answer["outputs"][head]["file"])
        y, r = (
            np.load(path, mmap_mode="r", allow_pickle=False)
            for path in (os.path.join(folder, file), os.path.join(objects, "objects", one["reference"]))
        )
        sums = reductions.compare(y, r)
        finite = not sums["nonfinite"].any() and sums["r2"].sum() > 0
        found[head] = float(np.sum(sums["d2"]) / np.sum(sums["r2"])) if finite else None
    return found


def place(probe):
    """Returns {what: which} of all that is known to decide numbers, from what a job found inside."""
    engine, gpu = probe.get("engine") or {}, probe.get("gpu") or {}
    found = {
        "engine": ("%s %s" % (engine.get("name"), engine.get("version"))) if engine else None,
        "GPU": gpu.get("name"),
        "compute capability": gpu.get("compute_capability"),
        "driver's CUDA": gpu.get("cuda_of_driver"),
        # Where a GPU computes, the processor decides nothing.
        "processor": None if gpu else probe.get("processor"),
        "instruction sets": None if gpu else " ".join(probe.get("processor_flags") or []) or None,
    }
    return {what: which for what, which in found.items() if which}


def elsewhere(there, here):
    """Says what differs between two places; empty where nothing does."""
    different = [what for what in sorted(set(there) | set(here)) if there.get(what) != here.get(what)]
    if not different:
        return ""
    return "it ran elsewhere: " + ", ".join(
        "%s %s there, %s here" % (what, there.get(what, "unknown"), here.get(what, "unknown"))
        for what in different
    )


def table(expected, observed):
    """Yields lines that show each head's error then and now."""
    yield "%-20s %12s %12s   NMSE against the reference" % ("head", "ticket", "now")
    for head, one in sorted(expected["heads"].items()):
        then = sum(one["nmse"]) / len(one["nmse"]) if one["nmse"] else None
        yield "%-20s %12s %12s" % (head, number(then), number(observed.get(head)))


def number(value):
    return "-" if value is None else "%.5g" % value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
