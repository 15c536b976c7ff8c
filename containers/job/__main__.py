"""Runs one job: python3 -m job REQUEST_DIR RESULT_DIR.

REQUEST_DIR holds request.json and what it names; RESULT_DIR receives the answers (job/protocol.py).
Exit code 0 with RESULT_DIR/result.json is the job's own answer, good or bad; 2 is a wrong call.
"""

import os
import sys

from . import probe, protocol
from .stages import Stages


def main(arguments):
    """Returns the exit code. Whatever fails is written to result.json; only its own writing may raise."""
    if len(arguments) != 2 or any(argument.startswith("-") for argument in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    request_folder, result_folder = (os.path.abspath(argument) for argument in arguments)
    os.makedirs(result_folder, exist_ok=True)
    stages = Stages(result_folder)
    result = {
        "schema_version": protocol.SCHEMA_VERSION,
        "status": "ok",
        "stage": "probe",
        "error": None,
    }
    try:
        run(request_folder, result_folder, stages)
    except Exception as error:  # noqa: BLE001 - this is the boundary: all failures are answers
        result["status"] = "job_failed"
        result["error"] = protocol.describe_error(error)
        print("job failed in stage %s: %s" % (stages.current, error), file=sys.stderr)
    result["stage"] = stages.current
    protocol.write_json(os.path.join(result_folder, protocol.RESULT), result)
    return 0


def run(request_folder, result_folder, stages):
    """Runs all stages; each answer is written as soon as it is known."""

    def write(name, value):
        value["schema_version"] = protocol.SCHEMA_VERSION
        protocol.write_json(os.path.join(result_folder, name), value)

    def write_probe():
        write(protocol.PROBE, dict(probe.facts(), engine=engine.facts()))

    with stages.enter("probe"):
        # Before the engine is loaded: where that fails, these facts say why.
        write(protocol.PROBE, dict(probe.facts(), engine=None))
        request = protocol.read_request(request_folder)
        # Only now, so that a missing numpy or engine is answered like any other failure.
        from . import calibrate, engines, passes

        options = dict(request["engine_options"])
        if protocol.batch_size(request) > 1 and request["engine"] == "tensorrt":
            options["batch"] = protocol.batch_size(request)
        if request["plugins"]:
            folder = os.path.join(result_folder, protocol.PLUGINS)
            options.update(plugins=request["plugins"], plugin_folder=folder)
        if "entry_point" in options:
            folder = os.path.join(result_folder, protocol.PROGRAM)
            heads = [head for head, _ in request["heads"]]
            options.update(request=request_folder, folder=folder, heads=heads)
        engine = engines.load(request["engine"]).Engine(options)
        write_probe()
    if request["calibration"] is not None:
        write(protocol.CALIBRATION, calibrate.run(engine, request, stages))
        write_probe()
    for pass_ in request["passes"]:
        passes.run(engine, request, pass_, result_folder, stages)
        # After each, lest the next one crashes: engines map libraries when they build and run.
        write_probe()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
