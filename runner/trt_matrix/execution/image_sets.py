"""What the reference makes of single images and of parts of a set: every answer is kept and never asked twice."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from trt_matrix.core.cells import Status
from trt_matrix.core.manifest import CalibrationTrial
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.maxima import OUTPUT, maxima_model
from trt_matrix.core.records import Calibration, Measurement, StoredObject
from trt_matrix.core.tables.table import Provenance, Table, from_ranges
from trt_matrix.execution.inputs import ImageArrays
from trt_matrix.execution.jobs import Jobs
from trt_matrix.execution.wanted import FP32, JobSite, OutputUse, PassRequests, Variant, WantedPass
from trt_matrix.store.arrays import float_rows

MINMAX = "minmax"

Floats = npt.NDArray[np.float32]
Answer = TypeVar("Answer", Calibration, Measurement)


class UnknownError(Exception):
    """A job could not tell; says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenImages:
    """What the reference makes of each image of a set."""

    maxima: StoredObject
    """float32 .npy (images, tensors)."""
    outputs: Mapping[str, StoredObject]
    """head → its outputs."""


class ImageSets:
    """Asks the reference about images other than the cells'."""

    def __init__(self, jobs: Jobs, wants: PassRequests, site: JobSite, engine: str) -> None:
        """Asks nothing yet; the placement of Q/DQ nodes is that of `engine`."""
        self.jobs = jobs
        self.wants = wants
        self.site = site
        self.placed = wants.explicit(engine)
        self.store = jobs.store

    def maxima(self, images: StoredObject, number: int, name: str) -> SeenImages:
        """Returns the largest magnitude of every tensor on every image, and the heads' outputs.

        Raises:
            UnknownError: the network cannot be asked, or could not answer.
        """
        network = self.wants.network
        try:
            # No name of a head: those are outputs of the same pass.
            heads = self.wants.settings.heads
            outputs = tuple(tensor for _, tensor in heads)
            model = maxima_model(network.calibration_model, network.tensors, outputs)
        except GraphError as error:
            raise UnknownError(str(error)) from error
        own = OUTPUT
        while own in dict(heads):
            own += "_"
        content = self.store.put(model.SerializeToString(deterministic=True), ".onnx")
        wants = self._wants(images, number, ((own, OUTPUT), *heads))
        # The maxima of a batch are of all its images together.
        wants = dataclasses.replace(wants, settings=dataclasses.replace(wants.settings, alone=True))
        (measured,) = self._jobs(wants).measure(
            self.site, [wants.measurement(self.site, name, 0, Variant(content))]
        )
        measurement = _good(measured.measurement)
        return SeenImages(
            maxima=measurement.outputs[own],
            outputs={head: output for head, output in measurement.outputs.items() if head != own},
        )

    def table(
        self, algorithm: str, chosen: Sequence[int], maxima: Floats | None, name: str
    ) -> Table:
        """Returns the table of the calibration images with these indices, in the order of the set.

        `maxima` are (images, tensors); of these alone follows the table of minmax. `name` is for logs and progress.

        Raises:
            UnknownError: the calibration failed.
        """
        data = self.wants.data
        if algorithm == MINMAX and maxima is not None:
            largest = maxima[list(chosen)].max(axis=0)
            ranges = dict(zip(self.wants.network.tensors, map(float, largest), strict=True))
            return from_ranges(ranges, Provenance(algorithm=algorithm))
        part = self.part(data.calibration, chosen)
        changed = dataclasses.replace(data, calibration=part, calibration_images=len(chosen))
        wants = dataclasses.replace(self.wants, data=changed)
        asked = wants.calibration(self.site, [algorithm])
        calibration = _good(self.jobs.calibrate(self.site, asked, name))
        return wants.table(self.site, calibration, algorithm)

    def simulated(self, tables: Sequence[tuple[CalibrationTrial, Table]]) -> list[CalibrationTrial]:
        """Returns each with what its table must cost, those whose simulation failed left out."""
        wanted: list[tuple[CalibrationTrial, WantedPass]] = []
        for number, (tried, table) in enumerate(tables):
            try:
                model = self.wants.network.quantised(self.store, table, self.placed, simulated=True)
            except GraphError:
                continue  # a table of a few dark images can quantise nothing
            name = f"part-{number}-{table.digest[:12]}"
            wanted.append(
                (
                    tried,
                    self.wants.measurement(
                        self.site,
                        name,
                        0,
                        Variant(model, table, placed=self.placed),
                        use=OutputUse.COMPARED,
                    ),
                )
            )
        measured = self.jobs.measure(self.site, [wanted_pass for _, wanted_pass in wanted])
        return [
            tried.model_copy(update={"outputs": simulated.measurement.outputs})
            for (tried, _), simulated in zip(wanted, measured, strict=True)
            if simulated.measurement.status is Status.OK
        ]

    def ranges(
        self, images: StoredObject, number: int, algorithms: Sequence[str], name: str
    ) -> tuple[Mapping[str, float], ...]:
        """Returns the ranges of a set of images, a mapping an algorithm.

        Raises:
            UnknownError: the calibration failed.
        """
        options = {
            algorithm: self.wants.settings.algorithms.get(algorithm, {}) for algorithm in algorithms
        }
        wants = dataclasses.replace(
            self.wants,
            settings=dataclasses.replace(self.wants.settings, algorithms=options),
            data=dataclasses.replace(
                self.wants.data, calibration=images, calibration_images=number
            ),
        )
        asked = wants.calibration(self.site, algorithms)
        calibration = _good(self.jobs.calibrate(self.site, asked, name))
        return tuple(calibration.tables[algorithm] for algorithm in algorithms)

    def reference(self, images: StoredObject, number: int, name: str) -> Mapping[str, StoredObject]:
        """Returns the float network's outputs for other images.

        Raises:
            UnknownError: it could not run.
        """
        wants = self._wants(images, number, self.wants.settings.heads)
        wanted = wants.measurement(self.site, FP32.name, 0, Variant(self.wants.network.fp32))
        wanted = dataclasses.replace(wanted, name=name, use=OutputUse.FOUND)
        (measured,) = self._jobs(wants).measure(self.site, [wanted])
        return _good(measured.measurement).outputs

    def part(self, images: StoredObject, chosen: Sequence[int]) -> StoredObject:
        """Returns some images of an array as one of their own."""
        return self._taken(images, chosen, lambda image: image, {})

    def changed(
        self, images: StoredObject, chosen: Sequence[int], change: Any, key: Any
    ) -> StoredObject:
        """Returns the images of an array with these indices, each as `change` makes it, of the same shape.

        `key` is any JSON value that names the change.
        """
        return self._taken(images, chosen, change, {"changed": key})

    def _taken(
        self, images: StoredObject, chosen: Sequence[int], change: Any, more: Mapping[str, Any]
    ) -> StoredObject:
        def make(target: Path) -> None:
            array = self.store.array(images)
            with float_rows(target, (len(chosen), *array.shape[1:])) as write:
                for index in chosen:
                    write(change(array[index]))

        key = {"part": images.sha256, "images": list(chosen), **more}
        return self.store.derive(key, ".npy", make)

    def _wants(
        self, images: StoredObject, number: int, heads: tuple[tuple[str, str], ...]
    ) -> PassRequests:
        data = ImageArrays(
            evaluation=images,
            calibration=self.wants.data.calibration,
            evaluation_images=number,
            calibration_images=self.wants.data.calibration_images,
        )
        settings = dataclasses.replace(self.wants.settings, heads=heads)
        return dataclasses.replace(self.wants, settings=settings, data=data)

    def _jobs(self, wants: PassRequests) -> Jobs:
        mine = self.jobs
        return Jobs(
            mine.run,
            wants,
            mine.progress,
            fresh=mine.fresh,
            check=mine.check,
            settled=mine.settled,
        )


def _good(answer: Answer) -> Answer:
    """Returns what succeeded; raises UnknownError for what did not."""
    if answer.status is not Status.OK:
        raise UnknownError(answer.reason or str(answer.status))
    return answer
