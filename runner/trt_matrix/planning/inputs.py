"""Whether what matrix.yaml says of the network's inputs, and makes of pixels, is what they take."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from trt_matrix.config.data import Preprocess
from trt_matrix.config.matrix import Config
from trt_matrix.config.problems import did_you_mean, few
from trt_matrix.config.yaml_file import Document
from trt_matrix.core.network import graph
from trt_matrix.core.prepared.preparing import InputWishes
from trt_matrix.core.words import count, listed
from trt_matrix.planning.problems import Problem

_BRIGHTEST = 255


def wishes_of(config: Config) -> InputWishes:
    """Returns what matrix.yaml says of inputs."""
    return InputWishes(
        shapes=config.model.shapes,
        constants=config.model.constants,
        size=config.data.preprocess.size,
        batch=config.model.batch,
        each=config.data.are_arrays,
    )


def unknown_inputs(config: Config, model: onnx.ModelProto) -> Iterator[Problem]:
    """Yields what of `model.shapes` and `.constants` no input of the network is called."""
    known = [tensor.name for tensor in graph.inputs(model)]
    for key in ("shapes", "constants"):
        for name in getattr(config.model, key):
            if name not in known:
                close = did_you_mean(name, known)
                yield (
                    ("model", key, name),
                    f"no input of the network is called {name!r}{close}; its inputs: {few(known)}",
                )


def guessed_doubts(config: Config, document: Document) -> Iterator[str]:
    """Yields what of matrix.yaml is a guess that nobody has checked yet."""
    if config.guessed:
        guesses, many = listed(config.guessed, len(config.guessed)), len(config.guessed) > 1
        results = "errors" if config.boxless else "errors and boxes"
        yield (
            f"{guesses} {'are guesses' if many else 'is a guess'}, see {document.where(('guessed',))}: nothing in the network "
            f"says so, and a wrong one makes {results} those of another use; delete there what you have checked"
        )


def whole_batches(files: Sequence[Path], batch: int) -> Sequence[Path]:
    """Returns the files that fill batches: those of the last, short one would weigh more than the others.

    All of them where there are too few for one.
    """
    return files[: len(files) // batch * batch] or files


def batch_notes(batch: int, images: int, calibrated: int, evaluated: int) -> Iterator[str]:
    """Yields what becomes of images that fill no batch: of `images` to calibrate with, `calibrated` are used."""
    if batch == 1:
        return
    times = "latencies are those of a batch"
    yield f"{batch} images are fed at once (model.batch), also to calibrate; {times}, and told for one image too"
    if images > calibrated:
        yield (
            f"calibration: {calibrated} of {images} images fill batches of {batch}; the last {images - calibrated} "
            "are left out"
        )
    elif images < batch:
        yield f"calibration: {count(images, 'image')} of a batch of {batch}: they come again until it is full"
    if evaluated % batch:
        yield (
            f"evaluation: the last {evaluated % batch} of {evaluated} images fill a batch of {batch} by coming again; "
            "every image is judged once"
        )


def pixel_problem(preprocess: Preprocess, name: str, dtype: str) -> str | None:
    """Returns why pixels do not become the whole numbers, of type `dtype`, that an input takes; None where they do."""
    means, stds = _each(preprocess.mean), _each(preprocess.std)
    limits = np.iinfo(dtype)
    whole = preprocess.scale == 1 and set(stds) == {1} and all(mean == int(mean) for mean in means)
    if whole and all(limits.min <= -mean and _BRIGHTEST - mean <= limits.max for mean in means):
        return None
    mean = 128 if limits.max < _BRIGHTEST else 0
    return (
        f"input {name!r} takes {dtype}, so values have to be whole numbers from {limits.min} to {limits.max}: "
        f"{{scale: 1, mean: {mean}, std: 1}} gives pixels as they are{', less 128' if mean else ''}"
    )


def _each(value: float | Sequence[float]) -> Sequence[float]:
    return value if isinstance(value, Sequence) else (value,)
