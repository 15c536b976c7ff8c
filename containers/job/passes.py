"""One pass: build, infer over all evaluation images, time, compare. A pass that fails is data."""

import contextlib
import os

import numpy as np

from . import arrays, batches, comparison, protocol, settle, timing

TOLD = {  # key of pass.json to what an engine may have written of a build
    "executed": protocol.EXECUTED,
    "build": protocol.BUILD,
    "layers": protocol.LAYERS,
    "cache": protocol.CACHE,
}
MIXED = 1e-3  # NMSE; images that are kept apart give the same to rounding

def run(engine, request, one, result_folder, stages):
    """Runs the pass `one` of the request, writes its folder and returns the content of its pass.json."""
    folder = os.path.join(result_folder, protocol.PASSES, one["name"])
    os.makedirs(folder, exist_ok=True)
    stages.restart()
    answer = {
        "schema_version": protocol.SCHEMA_VERSION,
        "name": one["name"],
        "status": "ok",
        "error": None,
        "stages": stages.seconds,
        "outputs": {},
        "latency": None,
        "compare": None,
        "executed": None,
        "build": None,
        "layers": None,
        "cache": None,
        "model": None,
        "refused": {},
        "settled": None,
    }
    try:
        _run(engine, request, one, folder, stages, answer)
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is this pass's answer
        unsupported = isinstance(error, protocol.UnsupportedError)
        answer["status"] = "unsupported" if unsupported else "job_failed"
        answer["error"] = protocol.describe_error(error)
        print("%s: failed in stage %s: %s" % (one["name"], stages.current, error), flush=True)
    protocol.write_json(os.path.join(folder, protocol.PASS), answer)
    return answer


def _run(engine, request, one, folder, stages, answer):
    name = one["name"]
    with stages.enter("build", name):
        images = arrays.load_images(request["evaluation"])
        table = protocol.read_json(one["table"]) if one["table"] else None
        session = _build(engine, one, table, folder, answer)
        for key, file in sorted(TOLD.items()):
            if os.path.exists(os.path.join(folder, file)):
                answer[key] = file
    with contextlib.closing(session):
        with stages.enter("infer", name):
            heads, size = request["heads"], protocol.batch_size(request)
            alone = bool(request["batch"] and request["batch"]["alone"])
            answer["outputs"] = infer(session, request["input"], images, heads, folder, size, alone)
            if one["precision"] == "fp32" and not alone:
                check_apart(session, request["input"], images, heads, size)
        if request["timing"] is not None:
            with stages.enter("time", name):
                answer["latency"] = _time(session, request, images)
        if one["compare_with"] is not None:
            with stages.enter("compare", name):
                answer["compare"] = _compare(one, request["heads"], answer["outputs"], folder)
        if request["settle"] is not None and not _travels(request, one):
            with stages.enter("compare", name):
                answer["settled"] = _settle(request, one, answer["outputs"], folder)
        # Last of all, so that it can neither disturb what is measured nor lose it.
        timing_of = request["timing"] or {}
        if timing_of.get(protocol.LAYER_RUNS) and answer["layers"] and hasattr(session, "layer_times"):
            _profile(session, request, images, folder, stages, answer)


def _build(engine, one, table, folder, answer):
    """Returns a Session on the first of the pass's files that the engine's parser reads.

    Raises:
        protocol.UnreadableError: it reads none.
        protocol.UnsupportedError: see `_forms`.
    """
    forms = _forms(engine, one)
    for model in forms:
        file = protocol.form_file(model)
        try:
            session = engine.build(model, one["precision"], table, folder, one["implicit"])
        except protocol.UnreadableError as error:
            if len(forms) == 1:
                raise
            answer["refused"][file] = str(error)
            print("%s: %s" % (file, error), flush=True)
        else:
            answer["model"] = file
            return session
    raise protocol.UnreadableError(
        "none of the network's %d forms can be read: %s"
        % (len(answer["refused"]), "; ".join(sorted(set(answer["refused"].values()))))
    )


def _forms(engine, one):
    """Returns the pass's files, in the order in which they are tried.

    Raises:
        protocol.UnsupportedError: the network's types decide, and it cannot be of this precision.
    """
    typed = one["typed"]
    if typed is None or not engine.strongly_typed:
        return [one["model"]] + one["alternatives"]
    if typed["model"] is None:
        raise protocol.UnsupportedError(
            "a strongly typed network runs in %s where its tensors are of that type: %s"
            % (one["precision"], typed["reason"])
        )
    return [typed["model"]]


def infer(session, input_name, images, heads, folder, size=1, alone=False):
    """Writes the outputs of every [head, output tensor] over `images`; returns {head: {"file", "shape"}}.

    An output's first axis is the batch's: (1, c, h, w) is stored as (images, c, h, w). One without a batch
    axis is stored as (images,) + its shape, where each image has a run of its own (`alone`).

    Raises:
        ValueError: an output is not floating point, has another shape than for other images, or does not
            tell the images of a batch apart.
    """
    tensors = [tensor for _, tensor in heads]
    files = files_of([head for head, _ in heads])
    writers = []
    with contextlib.ExitStack() as unfinished:
        for start in batches.starts(images, 1 if alone else size):
            fed = images[start : start + 1] if alone else images
            batch, count = batches.of(fed, 0 if alone else start, size)
            outputs = session.run({input_name: batch}, tensors)
            rows = [_rows(head, output, size, count, alone) for (head, _), output in zip(heads, outputs)]
            if not writers:  # the first image tells the shapes
                for file, found in zip(files, rows):
                    path = os.path.join(folder, file)
                    writers.append(arrays.ArrayWriter(path, len(images), found[0].shape))
                    unfinished.callback(writers[-1].discard)
            for writer, found in zip(writers, rows):
                for row in found:
                    writer.append(row)
        for writer in writers:
            writer.close()
    return {
        head: {"file": file, "shape": [len(images)] + list(writer.shape)}
        for (head, _), file, writer in zip(heads, files, writers)
    }


def _rows(head, output, size, count, alone=False):
    """Returns what an output holds of each of the first `count` images of a batch, or of the one that fills it."""
    if output.dtype.kind != "f":
        raise ValueError(
            "head %s is %s, expected floating point: name a tensor before the conversion"
            % (head, output.dtype)
        )
    if size > 1 and output.ndim and output.shape[0] == size:
        return [np.atleast_1d(row) for row in output[:count]]
    if size == 1 or alone:
        return [output[0] if output.ndim > 1 and output.shape[0] == 1 else output]
    raise ValueError(
        "head %s has shape %s: of a batch of %d images the first axis has to be theirs; name a tensor as the head "
        "that has it so, or leave model.batch out" % (head, output.shape, size)
    )


def check_apart(session, input_name, images, heads, size):
    """Raises ValueError where what a network gives for an image depends on the others in its batch."""
    if min(size, len(images)) == 1:
        return
    tensors = [tensor for _, tensor in heads]
    # The last of a batch, which an axis of one that was built in would lose.
    index = min(size, len(images)) - 1
    batch, _ = batches.of(images, 0, size)
    alone, _ = batches.of(images[index : index + 1], 0, size)
    mixed, own = (
        [
            _rows(head, one, size, size)[index]
            for (head, _), one in zip(heads, session.run({input_name: fed}, tensors))
        ]
        for fed in (batch, alone)
    )
    for (head, _), found, expected in zip(heads, mixed, own):
        exact = expected.astype(np.float64)
        error = float(((found - exact) ** 2).sum())
        if error > MIXED * float((exact**2).sum()):
            raise ValueError(
                "head %s: what it gives for an image depends on the other images of its batch of %d, so a batch "
                "is built into the network; leave model.batch out, or export it with an open batch" % (head, size)
            )


def files_of(heads):
    """Returns a file for each head, all different: called after it where its name can be a file's."""
    named = ["%s.npy" % head for head in heads]
    files = []
    for index, name in enumerate(named):
        file = name if protocol.SAFE_NAME.match(name) else "head-%d.npy" % index
        while file != name and file in named:
            file = "_" + file
        files.append(file)
    return files


def _time(session, request, images):
    image, _ = batches.of(images, 0, protocol.batch_size(request))
    outputs = [tensor for _, tensor in request["heads"]]
    limits = {key: request["timing"][key] for key in protocol.TIMING_KEYS}
    device_s = []

    def call():
        session.run({request["input"]: image}, outputs)
        device_s.append(session.device_s)

    measured = timing.measure(call, **limits)
    told = device_s[measured["warm_up"] :]
    measured["device_s"] = None if None in told else told
    if not measured.pop("stable"):
        print("latency was not stable after %(warm_up_max_s)s s of warm-up" % limits, flush=True)
    measured["batch"] = len(image)
    return measured


def _profile(session, request, images, folder, stages, answer):
    """Adds what the layers take to layers.json; where that fails, why: all else was measured.

    A profiler may end the process, or never end: what was measured before is an answer without it.
    """
    path, untimed = os.path.join(folder, answer["layers"]), os.path.join(folder, protocol.UNTIMED)

    def told(times):
        protocol.write_json(path, dict(protocol.read_json(path), times=times))

    none = {"runs": 0, "layers": [], "problem": None}
    told(dict(none, problem="the job ended while it timed them; its log may say why"))
    protocol.write_json(untimed, answer)
    with stages.enter("profile", answer["name"]):
        runs = request["timing"][protocol.LAYER_RUNS]
        image, _ = batches.of(images, 0, protocol.batch_size(request))
        try:
            told(dict(none, **session.layer_times({request["input"]: image}, runs)))
        except Exception as error:  # noqa: BLE001 - whatever an engine raises: it has no times, then
            problem = "%s: %s" % (type(error).__name__, error)
            told(dict(none, problem=problem))
            print("layers were not timed: %s" % problem, flush=True)
    os.remove(untimed)


def _compare(one, heads, outputs, folder):
    """Returns {head: errors} against the pass that `one` names, and prints them.

    None, and a line that says why, where that pass has no outputs here.
    """
    name, other = one["name"], one["compare_with"]
    references, why = _outputs_of(other, folder)
    if references is None:
        print("%s: not compared with %s, which %s" % (name, other, why), flush=True)
        return None
    errors = {}
    for head, _ in heads:
        path = os.path.join(folder, outputs[head]["file"])
        errors[head] = comparison.compare_files(path, references[head])
    print("%s against %s" % (name, other))
    print(comparison.table([head for head, _ in heads], errors), flush=True)
    return errors


def _outputs_of(other, folder):
    """Returns ({head: path}, None) of another pass of this start; (None, why) where it has none."""
    other_folder = os.path.join(os.path.dirname(folder), other)
    answer_path = os.path.join(other_folder, protocol.PASS)
    if not os.path.exists(answer_path):
        return None, "has not run here"
    answer = protocol.read_json(answer_path)
    if answer["status"] != "ok":
        return None, "failed"
    found = {head: os.path.join(other_folder, output["file"]) for head, output in answer["outputs"].items()}
    return found, None


def _travels(request, one):
    """Returns whether a pass's outputs travel in any case: what cells of later packs are compared with."""
    return one["precision"] == "fp32" and not request.get("repeat")


def _settle(request, one, outputs, folder):
    """Returns the file that says what is known of the outputs; None, and a line, where they have to travel."""
    asked = request["settle"]
    own = asked["own"]
    if own is None and one["compare_with"] is not None:
        own, _ = _outputs_of(one["compare_with"], folder)
    try:
        settle.run(asked, request["heads"], outputs, own, folder)
    except (OSError, ValueError, IndexError) as error:
        print("%s: its outputs travel: %s" % (one["name"], error), flush=True)
        return None
    return protocol.SETTLED
