"""Calibration: the fp32 network over the calibration images, once; then one table an algorithm.

Only two batches' activations and one histogram a tensor are in memory, however many images there are.
"""

import contextlib
import time
from concurrent import futures

from . import arrays, batches, protocol, thresholds
from .histogram import Histogram


def calibrate(session, input_name, images, tensors, algorithms, show, size=1):
    """Returns the histograms of `tensors` over all `images`, in that order: it is part of the result.

    The session's model gives out all `tensors`, and `show` is called with "done/all" before each batch. Each
    image of a batch is counted as one; where the last is short its images count again.

    Raises:
        ValueError: a tensor holds NaN or infinite values, or is not floating point.
    """
    kept = thresholds.kept(algorithms)
    histograms = [Histogram(tensor, kept) for tensor in tensors]
    outputs = [tensor for tensor in tensors if tensor != input_name]

    def run(number):
        image, _ = batches.of(images, number, size)
        values = dict(zip(outputs, session.run({input_name: image}, outputs)))
        values[input_name] = image
        return values

    def count(values):
        for histogram in histograms:
            histogram.add(values[histogram.tensor])

    # A batch is counted while the network runs on the next. Counting is what another thread does: a GPU is
    # chosen for a thread, and the network stays in the one that built it.
    with futures.ThreadPoolExecutor(1) as behind:
        counted = None
        for number in batches.starts(images, size):
            show("%d/%d" % (number, len(images)))
            try:
                values = run(number)
            finally:  # what is wrong with an earlier batch is said before what is with this one
                if counted:
                    counted.result()
            counted = behind.submit(count, values)
        if counted:
            counted.result()
    return histograms


def tables(histograms, algorithms):
    """Returns algorithms, unusable, seen and clipped of calibration.json, as a dict.

    `algorithms` are [{"name", "options": object or None}].

    Raises:
        ValueError: an algorithm or an option is unknown.
    """
    unusable = {
        histogram.tensor: "zero in every image" for histogram in histograms if histogram.amax == 0
    }
    usable = [histogram for histogram in histograms if histogram.amax > 0]
    made, clipped = {}, {}
    for algorithm in algorithms:
        name, options = algorithm["name"], algorithm.get("options") or {}
        made[name] = {
            histogram.tensor: thresholds.threshold(histogram, name, options) for histogram in usable
        }
        clipped[name] = {
            histogram.tensor: thresholds.clipped(histogram, made[name][histogram.tensor])
            for histogram in usable
        }
    return {
        "algorithms": made,
        "unusable": unusable,
        "seen": {histogram.tensor: histogram.amax for histogram in histograms},
        "clipped": clipped,
    }


def run(engine, request, stages):
    """Returns the content of calibration.json, without its schema version; the request's calibration is not null."""
    wanted = request["calibration"]
    start = time.perf_counter()
    with stages.enter("calibrate"):
        images = arrays.load_images(wanted["images"])
        with contextlib.closing(engine.build(wanted["model"], "fp32", None, None)) as session:
            histograms = calibrate(
                session,
                request["input"],
                images,
                wanted["tensors"],
                [algorithm["name"] for algorithm in wanted["algorithms"]],
                stages.show,
                protocol.batch_size(request),
            )
        made = tables(histograms, wanted["algorithms"])
    return dict(made, images=len(images), seconds=time.perf_counter() - start)
