"""How far the tensors of the network reach on the images, in float32 on the host.

All float32 tensors, of the calibration and the evaluation images: what is converted to float16 is to hold
on both. Where one of them is infinite or not a number, those that are calibrated for int8 are asked alone;
where that fails too, nothing is known of tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.records import Calibration, StoredObject
from trt_matrix.core.reduced.converting import float_tensors
from trt_matrix.core.reduced.formats import FORMATS
from trt_matrix.execution.jobs import Jobs
from trt_matrix.execution.typed import Ranges, TypedNetwork, may_be_strong, typed, typed_before
from trt_matrix.execution.wanted import MINMAX, JobSite, PassRequests, WantedCalibration
from trt_matrix.store.results import Store, object_of

WEIGHTS_ALONE = "the weights alone: {reason}"


@dataclass(frozen=True, slots=True)
class ObservedNetwork:
    """A network that gives out the tensors to look at."""

    content: bytes | None
    """Of its file; None where that is in the store."""
    model: StoredObject
    tensors: tuple[str, ...]

    def asked(self, wants: PassRequests, site: JobSite) -> tuple[WantedCalibration, ...]:
        """Returns one question a set of images."""
        data = wants.data
        sets = {images.sha256: images for images in (data.calibration, data.evaluation)}
        return tuple(
            wants.ranges(site, self.model, self.tensors, images) for images in sets.values()
        )


class TypedNetworks:
    """The converted networks of one run."""

    def __init__(self, jobs: Jobs, wants: PassRequests) -> None:
        """Asks nothing yet; `site` has to be set before."""
        self.jobs = jobs
        self.wants = wants
        self.site: JobSite | None = None
        """Where the reference is computed."""
        self._ranges: Ranges | None = None
        self._made: dict[Precision, TypedNetwork] = {}

    def of(self, site: JobSite, precision: Precision) -> TypedNetwork | None:
        """Returns what a pass at `site` takes where types decide; None where they cannot."""
        if not needed(self.wants, site, precision):
            return None
        if precision not in self._made:
            self._made[precision] = typed(
                self.jobs.store, self.wants.network, precision, self.ranges()
            )
        return self._made[precision]

    def ranges(self) -> Ranges:
        """Returns the ranges, found once a run."""
        if self._ranges is None:
            self._ranges = self._find()
        return self._ranges

    def _find(self) -> Ranges:
        assert self.site is not None  # noqa: S101 - the reference was measured
        reason = ""
        for giving in _givings(self.wants):
            if giving.content is not None:
                self.jobs.store.put(giving.content, ".onnx")
            asked = giving.asked(self.wants, self.site)
            self.jobs.progress.expect(len(asked))
            calibrations = [
                self.jobs.calibrate(self.site, calibration, "ranges") for calibration in asked
            ]
            failed = [done for done in calibrations if done.status is not Status.OK]
            if not failed:
                return _joined(calibrations, giving)
            reason = failed[0].reason or str(failed[0].status)
        return Ranges(amax={}, told=WEIGHTS_ALONE.format(reason=reason))


def needed(wants: PassRequests, site: JobSite, precision: Precision) -> bool:
    """Whether a pass may need the network converted."""
    strong = may_be_strong(site.environment.engine, site.engine_options, site.identity)
    return precision in FORMATS and strong and wants.network.is_float


def known(
    store: Store, wants: PassRequests, reference: JobSite | None, precision: Precision
) -> TypedNetwork | None:
    """Returns what an earlier run made of the network for a pass where it is `needed`; makes nothing.

    `reference` is where the reference is computed; None where that is not known.
    """
    if reference is None:
        return None
    giving = _givings(wants)[0]
    good = []
    for asked in giving.asked(wants, reference):
        calibration = store.get(Calibration, asked.fingerprint)
        if calibration is None or calibration.status is not Status.OK:
            return None
        good.append(calibration)
    return typed_before(store, wants.network, precision, _joined(good, giving))


def _givings(wants: PassRequests) -> Sequence[ObservedNetwork]:
    network = wants.network
    calibrated = ObservedNetwork(None, network.calibration, network.tensors)
    try:
        model, tensors = float_tensors(network.model)
    except GraphError:  # types that contradict each other: the conversion says so
        return (calibrated,)
    content = model.SerializeToString(deterministic=True)
    return (ObservedNetwork(content, object_of(content, ".onnx"), tensors), calibrated)


def _joined(calibrations: Sequence[Calibration], giving: ObservedNetwork) -> Ranges:
    amax: dict[str, float] = {}
    for calibration in calibrations:
        table: Mapping[str, float] = calibration.tables[MINMAX]
        amax |= {name: max(value, amax.get(name, 0.0)) for name, value in table.items()}
    sets = "calibration and evaluation images" if len(calibrations) > 1 else "evaluation images"
    return Ranges(amax=amax, told=f"{len(giving.tensors)} tensors on the {sets}")
