"""What the network is fed: images or arrays of both sets as one .npy each, made once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from trt_matrix.core.prepared.packing import InputPart
from trt_matrix.core.records import StoredObject
from trt_matrix.execution.inputs import ImageArrays
from trt_matrix.inputs.images import PREPROCESS_VERSION, content_hashes, preprocess
from trt_matrix.inputs.samples import SAMPLES_VERSION, stack
from trt_matrix.planning.matrix import Checked
from trt_matrix.store.results import Store


def data_of(checked: Checked, store: Store) -> ImageArrays:
    """Returns the preprocessed images, made where they are not known.

    Raises:
        ConfigError: images that cannot be read; names each.
    """

    def array(files: Sequence[Path], key: Mapping[str, Any]) -> StoredObject:
        def make(target: Path) -> None:
            write_samples(checked, files, target)

        return store.derive(key, ".npy", make)

    arrays = _data(checked, array)
    assert arrays is not None  # noqa: S101 - `array` always returns one
    return arrays


def write_samples(checked: Checked, files: Sequence[Path], target: Path) -> None:
    """Writes what the network is fed into one float32 .npy, (files, *checked.sample).

    Raises:
        ConfigError: files that cannot be read; names each.
        OSError: `target` cannot be written.
    """
    if checked.config.data.are_arrays:
        stack(files, parts_fed(checked), target)
    else:
        settings = checked.config.data.preprocess
        preprocess(files, checked.shape, settings, target, channels_last=checked.channels_last)


def parts_fed(checked: Checked) -> Sequence[InputPart]:
    """Returns what is read of a sample's file, in the order in which it is fed."""
    part = InputPart(checked.input, checked.sample, checked.pixels or "float32")
    return checked.parts or (part,)


def known_data(checked: Checked, store: Store) -> ImageArrays | None:
    """Returns the preprocessed images that an earlier run made; makes nothing."""
    return _data(checked, lambda _, key: store.derived(key))


def _data(
    checked: Checked, array: Callable[[Sequence[Path], Mapping[str, Any]], StoredObject | None]
) -> ImageArrays | None:
    evaluation, calibration = (
        array(files, _array_key(checked, files))
        for files in (checked.evaluation, checked.calibration)
    )
    if evaluation is None or calibration is None:
        return None
    return ImageArrays(
        evaluation=evaluation,
        calibration=calibration,
        evaluation_images=len(checked.evaluation),
        calibration_images=len(checked.calibration),
    )


def _array_key(checked: Checked, files: Sequence[Path]) -> Mapping[str, Any]:
    if checked.config.data.are_arrays:
        fed: dict[str, Any] = {
            "input": checked.input,
            "shape": checked.sample,
            "type": checked.pixels,
        }
        if checked.parts:
            fed["parts"] = [astuple(part) for part in checked.parts]
        return {"arrays": content_hashes(files), **fed, "version": SAMPLES_VERSION}
    return {
        "images": content_hashes(files),
        "shape": checked.shape,
        "channels_last": checked.channels_last,
        "preprocess": checked.config.data.preprocess.recorded(),
        "version": PREPROCESS_VERSION,
    }
