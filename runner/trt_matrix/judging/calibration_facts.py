"""What a run looks at of its calibration set, and writes down: judged later, and again, by `judging.calibration`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from trt_matrix.core.boxes.evidence import UNKNOWN
from trt_matrix.core.calibration import curve
from trt_matrix.core.calibration.preprocessings import (
    IMAGES,
    PixelForm,
    early,
    forms,
    with_exchanged,
)
from trt_matrix.core.calibration.ranges import suspects
from trt_matrix.core.collecting import distinct
from trt_matrix.core.manifest import (
    CalibrationFacts,
    CalibrationTrial,
    EvaluationImage,
    ImageSet,
    RecordedDecode,
)
from trt_matrix.core.records import StoredObject
from trt_matrix.core.tables.table import Table
from trt_matrix.execution.image_sets import MINMAX, ImageSets, UnknownError
from trt_matrix.execution.matrix import ExperimentRun
from trt_matrix.execution.progress import Progress
from trt_matrix.inputs.images import ImagePlacement
from trt_matrix.judging.box_facts import box_facts, placed
from trt_matrix.judging.described import described, pixels_of
from trt_matrix.judging.detections import boxes_of
from trt_matrix.planning.experiment import Experiment
from trt_matrix.planning.matrix import Checked
from trt_matrix.store.results import Store

BOXES = "boxes of the float network"
LABELS = "labels"
TABLES = ("minmax", "entropy")
"""A table that another program made lies near one of both."""

Floats = npt.NDArray[np.float32]

T = TypeVar("T")


def calibration_facts(
    experiment: Experiment, matrix: ExperimentRun, progress: Progress
) -> CalibrationFacts:
    """Looks at the calibration set: what is always looked at, and what matrix.yaml asks for."""
    return _Forensics(experiment, matrix, progress).facts()


class _Forensics:
    def __init__(self, experiment: Experiment, matrix: ExperimentRun, progress: Progress) -> None:
        self.checked: Checked = experiment.checked
        self.matrix = matrix
        self.progress = progress
        self.store: Store = matrix.store
        self.data = matrix.wants.data
        self.asked = self.checked.config.calibration.forensics
        self.unknown: list[str] = []
        site = matrix.typed.site
        assert site is not None  # noqa: S101 - the reference was computed
        engine = experiment.environments[self.checked.baseline].engine
        self.sets = ImageSets(matrix.jobs, matrix.wants, site, engine)
        settings = matrix.wants.settings
        first, *_ = self.checked.config.calibration.algorithms
        # Of a file's table and of `best` there is no making from fewer images.
        known = settings.shared if settings.shared in settings.algorithms else first
        self.algorithm = None if self.checked.shipped else known
        self.foreign = dict(matrix.foreign)
        if settings.given and isinstance(matrix.host.shared, Table):
            self.foreign[matrix.host.shared.digest] = settings.given.file

    def facts(self) -> CalibrationFacts:
        arrays = self.checked.config.data.are_arrays
        placeable = self.checked.decode is not None or not arrays
        places = [
            [placed(self.checked, path) for path in files] if placeable else []
            for files in (self.checked.calibration, self.checked.evaluation)
        ]
        if arrays:
            self.unknown.append("likeness of images, and preprocessing: the samples are arrays")
        maxima, found = self._maxima(places[0])
        labelled = self.checked.object_areas
        areas = labelled or found
        calibration, evaluation = (
            ImageSet(
                # Names that are no UTF-8 could not be read back from the run's JSON.
                files=tuple(
                    path.name.encode("utf-8", "backslashreplace").decode() for path in files
                ),
                described=self._described(array, placed),
                maxima=seen,
                areas=known,
            )
            for files, array, placed, seen, known in zip(
                (self.checked.calibration, self.checked.evaluation),
                (self.data.calibration, self.data.evaluation),
                places,
                maxima,
                areas,
                strict=True,
            )
        )
        loaded = self.store.array(maxima[0]) if maxima[0] else None
        return CalibrationFacts(
            calibration=calibration,
            evaluation=evaluation,
            tensors=tuple(self.matrix.wants.network.tensors) if maxima[0] else (),
            areas_of=LABELS if labelled else BOXES if found[0] is not None else "",
            algorithm=self.algorithm,
            **self._parts(loaded),
            forms=self._forms() if self.foreign and not arrays else {},
            foreign=self.foreign,
            trials=self._trials() if self.asked.preprocessing else (),
            unknown=tuple(self.unknown),
        )

    def _described(
        self, array: StoredObject, places: Sequence[ImagePlacement]
    ) -> StoredObject | None:
        if self.checked.config.data.are_arrays:
            return None
        return described(
            self.store,
            array,
            places,
            self.checked.config.data.preprocess,
            channels_last=self.checked.channels_last,
        )

    # What the reference makes of each image

    def _maxima(
        self, places: Sequence[ImagePlacement]
    ) -> tuple[tuple[StoredObject | None, ...], tuple[tuple[tuple[float, ...], ...] | None, ...]]:
        """Returns (calibration's, evaluation's) largest magnitudes, and areas of boxes."""
        if not self.matrix.wants.network.is_float:
            self.unknown.append("ranges by image: the network has no float form")
            return (None, None), (None, None)
        self.progress.expect(2)
        try:
            here = self.sets.maxima(
                self.data.calibration, self.data.calibration_images, "maxima-calibration"
            )
            there = self.sets.maxima(
                self.data.evaluation, self.data.evaluation_images, "maxima-evaluation"
            )
        except UnknownError as error:
            self.unknown.append(f"ranges by image: {error}")
            return (None, None), (None, None)
        if self.checked.object_areas is not None:
            return (here.maxima, there.maxima), (None, None)
        return (here.maxima, there.maxima), self._areas(here.outputs, there.outputs, places)

    def _areas(
        self,
        here: Mapping[str, StoredObject],
        there: Mapping[str, StoredObject],
        places: Sequence[ImagePlacement],
    ) -> tuple[tuple[tuple[float, ...], ...] | None, ...]:
        found = box_facts(self.checked, self.store.put)
        decode: RecordedDecode | None = found.get("decode")
        if decode is None:
            if not self.checked.boxless:
                self.unknown.append(
                    "sizes of objects: matrix.yaml does not say how to decode (`decode:`)"
                )
            return None, None
        images = [
            EvaluationImage(file_name=path.name, **asdict(place))
            for path, place in zip(self.checked.calibration, places, strict=True)
        ]
        try:
            return tuple(
                tuple(
                    tuple(float(area) for area in boxes.areas[boxes.scores >= decode.shown_score])
                    for boxes in boxes_of(self.store, decode, every, outputs)
                )
                for every, outputs in ((images, here), (found["evaluation"], there))
            )
        except UNKNOWN as error:
            self.unknown.append(f"sizes of objects: {error}")
            return None, None

    # Parts of the calibration set

    def _parts(self, maxima: Floats | None) -> Mapping[str, Any]:
        """Returns what tables of parts of the set keep, simulated, as fields of `CalibrationFacts`.

        The whole set, those of the learning curve, other orders, and all images but one.
        """
        number = self.data.calibration_images
        tensors = self.matrix.wants.network.tensors
        deciders = suspects(tensors, maxima) if maxima is not None else ()
        if self.algorithm is None or not self.matrix.wants.network.is_float:
            if deciders or self.asked.learning_curve:
                self.unknown.append(
                    "what fewer images cost: the network came quantised, no table is made of images"
                )
            return {}
        draws = self._draws(number) if self.asked.learning_curve else []
        orders = self._orders(number) if self.asked.learning_curve else []
        alone = [tuple(i for i in range(number) if i != decider.image) for decider in deciders]
        if not draws and not alone:
            return {}
        whole = tuple(range(number))
        wanted = [whole, *draws, *orders, *alone]
        calibrated = 0 if self.algorithm == MINMAX and maxima is not None else len(wanted)
        self.progress.expect(calibrated + len(wanted))
        tables = []
        for index, chosen in enumerate(wanted):
            try:
                table = self.sets.table(self.algorithm, chosen, maxima, f"calibrate-part-{index}")
            except UnknownError as error:
                self.unknown.append(f"what {len(chosen)} calibration images cost: {error}")
                continue
            tables.append((CalibrationTrial(name="", images=chosen, outputs={}), table))
        tried = {tried.images: tried for tried in self.sets.simulated(tables)}
        return {
            "whole": tried.get(whole),
            "subsets": tuple(tried[draw] for draw in draws if draw in tried),
            "orders": tuple(tried[order] for order in orders if order in tried),
            "without": tuple(tried[images] for images in alone if images in tried),
        }

    def _orders(self, number: int) -> list[tuple[int, ...]]:
        """Returns other orders of all images: backwards, and shuffled; none where order cannot matter."""
        if self.algorithm == MINMAX or number < 2:
            return []
        random = np.random.default_rng(int(self.data.calibration.sha256[:8], 16))
        every = tuple(range(number))
        shuffled = tuple(map(int, random.permutation(number)))
        return [order for order in distinct((every[::-1], shuffled)) if order != every]

    def _draws(self, number: int) -> list[tuple[int, ...]]:
        """Returns the images of each draw, in the set's order: an algorithm may depend on it."""
        draws = []
        for size in curve.counts(number)[:-1]:
            random = np.random.default_rng([size, int(self.data.calibration.sha256[:8], 16)])
            for _ in range(curve.DRAWS):
                chosen = random.choice(number, size, replace=False)
                draws.append(tuple(sorted(map(int, chosen))))
        return distinct(draws)

    # Preprocessing

    def _forms(self) -> Mapping[str, tuple[Mapping[str, float], ...]]:
        number = self.data.calibration_images
        chosen = [int(index) for index in np.linspace(0, number - 1, min(number, IMAGES))]
        wanted = early(self.matrix.wants.network.tensors)

        def ranges(array: StoredObject, index: int) -> Sequence[Mapping[str, float]]:
            return self.sets.ranges(array, len(chosen), TABLES, f"calibrate-form-{index}")

        known = forms(pixels_of(self.checked.config.data.preprocess))
        return {
            name: tuple(
                {tensor: of_table[tensor] for tensor in wanted if tensor in of_table}
                for of_table in of_form
            )
            for name, of_form in self._of_forms(self.data.calibration, chosen, known, ranges)
        }

    def _trials(self) -> tuple[CalibrationTrial, ...]:
        if self.checked.boxless:
            return ()
        if self.checked.labels is None or self.checked.decode is None:
            self.unknown.append(
                "whether another preprocessing finds more: it needs labels and `decode:`"
            )
            return ()
        number = self.data.evaluation_images

        def reference(array: StoredObject, index: int) -> Mapping[str, StoredObject]:
            return self.sets.reference(array, number, f"form-{index}")

        known = with_exchanged(forms(pixels_of(self.checked.config.data.preprocess)))
        trials = self._of_forms(self.data.evaluation, range(number), known, reference)
        return tuple(CalibrationTrial(name=name, outputs=outputs) for name, outputs in trials)

    def _of_forms(
        self,
        images: StoredObject,
        chosen: Sequence[int],
        known: Sequence[PixelForm],
        ask: Callable[[StoredObject, int], T],
    ) -> Iterator[tuple[str, T]]:
        """Yields the name of each form that could be asked for, and the answer of the images in that form."""
        self.progress.expect(len(known))
        for index, form in enumerate(known):
            array = self._in_form(images, chosen, form)
            try:
                answer = ask(array, index)
            except UnknownError as error:
                self.unknown.append(f"preprocessing {form.name}: {error}")
                continue
            yield form.name, answer

    def _in_form(
        self, images: StoredObject, chosen: Sequence[int], form: PixelForm
    ) -> StoredObject:
        how = pixels_of(self.checked.config.data.preprocess)
        last = self.checked.channels_last

        def change(image: Floats) -> Floats:
            tried = form.of(image if last else image.transpose(1, 2, 0), how)
            return tried if last else tried.transpose(2, 0, 1)

        key = [astuple(how), astuple(form.pixels), form.exchanged, last]
        return self.sets.changed(images, chosen, change, key)
