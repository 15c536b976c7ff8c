"""Makes the table `best`: simulates tables on calibration images, in this process, where it is not known yet."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from trt_matrix.core.network.image_input import batch_of
from trt_matrix.core.qdq.adjustable import Adjustable, adjustable
from trt_matrix.core.qdq.options import PlacementOptions
from trt_matrix.core.records import StoredObject
from trt_matrix.core.tables.best import (
    CLOSE,
    MOST_TRIALS,
    BestTable,
    ImagePart,
    Ranges,
    best_ranges,
)
from trt_matrix.core.tables.table import Table, TableError, from_json, to_json
from trt_matrix.core.words import count, listed
from trt_matrix.execution.wanted import JobSite, PassRequests
from trt_matrix.store.results import Store

BEST = "best"
VERSION = 1
"""Raise when the same tables and images give another result."""

CHOOSE_IMAGES = 8
CONFIRM_IMAGES = 16
MOST_BYTES = 1 << 28
"""Of the reference's outputs that are held in memory."""

Floats = npt.NDArray[np.float32]


class ImageSubset:
    """Which of the calibration images are looked at."""

    def __init__(self, array: Floats, bytes_an_image: int, batch: int = 1) -> None:
        """Chooses them of (images, …), spread over all: neighbours in a folder are often alike. Each fills a batch."""
        fit = max(MOST_BYTES // max(bytes_an_image, 1), 2)
        choose = min(CHOOSE_IMAGES, fit // 2)
        confirm = min(CONFIRM_IMAGES, fit - choose)
        wanted = min(choose + confirm, len(array))
        taken = np.unique(np.linspace(0, len(array) - 1, wanted).astype(int))
        first = taken[:: max(round(len(taken) / choose), 2)][:choose]
        second = np.setdiff1d(taken, first)
        self.parts: Mapping[ImagePart, Sequence[int]] = {
            ImagePart.CHOOSE: [int(place) for place in first],
            # One image alone confirms itself: there is no other.
            ImagePart.CONFIRM: [int(place) for place in (second if len(second) else first)],
        }
        self.array = array
        self.batch = batch

    def of(self, part: ImagePart) -> Sequence[Floats]:
        return [
            np.repeat(self.array[place : place + 1], self.batch, axis=0)
            for place in self.parts[part]
        ]


class TableSimulator:
    """Says what ranges cost the heads, as `trt_matrix.core.tables.best.Simulate`."""

    def __init__(
        self,
        reference: onnx.ModelProto,
        simulated: Adjustable,
        images: Floats,
        *,
        image: str,
        outputs: Sequence[str],
        threads: int,
    ) -> None:
        """Computes the reference on the images, float32, that it looks at; `simulated` has scales as inputs.

        With 0 threads ONNX Runtime chooses.
        """
        self._image = image
        self._outputs = list(outputs)
        self._simulated = simulated
        self._run = _session(simulated.model, threads)
        exact = _session(reference, threads)
        batch = batch_of(reference)
        first = exact(self._outputs, {image: np.repeat(images[:1], batch, axis=0)})
        self._images = ImageSubset(images, sum(array.nbytes for array in first), batch)
        self._exact = {
            part: [exact(self._outputs, {image: array}) for array in self._images.of(part)]
            for part in ImagePart
        }

    @property
    def counts(self) -> tuple[int, int]:
        """Returns how many images there are in each part."""
        return len(self._images.parts[ImagePart.CHOOSE]), len(self._images.parts[ImagePart.CONFIRM])

    def __call__(self, amax: Ranges, part: ImagePart) -> list[float]:
        """Returns the NMSE of each head that is not zero or broken in the reference.

        Raises:
            TableError: ONNX Runtime gave up.
        """
        scales = self._simulated.scales(amax)
        errors = np.zeros((2, len(self._outputs)))
        for image, exact in zip(self._images.of(part), self._exact[part], strict=True):
            outputs = self._run(self._outputs, {self._image: image, **scales})
            for head, (y, r) in enumerate(zip(outputs, exact, strict=True)):
                errors[:, head] += _squares(y, r)
        # A head that is zero on these images, or not finite in the reference, says nothing.
        usable = (errors[1] > 0) & np.isfinite(errors[1])
        return [float(nmse) for nmse in errors[0][usable] / errors[1][usable]]


def _squares(y: Floats, r: Floats) -> tuple[float, float]:
    exact = r.astype(np.float64)
    difference = (y.astype(np.float64) - exact).ravel()
    return float(difference @ difference), float(exact.ravel() @ exact.ravel())


Run = Callable[[Sequence[str], Mapping[str, Any]], Sequence[Floats]]


def _session(model: onnx.ModelProto, threads: int) -> Run:
    import onnxruntime as ort  # noqa: PLC0415 - takes a third of a second, and few runs search

    settings = ort.SessionOptions()
    # As the reference: with optimisation it would quantise weights on its own.
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise _gave_up(error) from error

    def run(outputs: Sequence[str], feed: Mapping[str, Any]) -> Sequence[Floats]:
        try:
            arrays: Sequence[Floats] = session.run(outputs, feed)
        except Exception as error:
            raise _gave_up(error) from error
        return arrays

    return run


def _gave_up(error: Exception) -> TableError:
    return TableError(f"ONNX Runtime could not simulate it: {type(error).__name__}: {error}")


@dataclasses.dataclass(frozen=True, slots=True)
class WantedTable:
    """A search, and the key under which its result is known."""

    wants: PassRequests
    site: JobSite
    tables: Mapping[str, Table]
    """Algorithm → its table of the calibration images."""
    options: PlacementOptions
    """The placement that is simulated."""

    @property
    def key(self) -> Mapping[str, Any]:
        settings = self.wants.settings
        return {
            BEST: VERSION,
            "images": self.wants.data.calibration.sha256,
            "counts": [CHOOSE_IMAGES, CONFIRM_IMAGES, MOST_TRIALS, CLOSE],
            "model": self.wants.network.fp32.sha256,
            "options": repr(self.options),
            "tables": {name: table.digest for name, table in self.tables.items()},
            "heads": settings.heads,
            "host": settings.host,
            "reference": self.site.identity.fingerprint,
        }

    def known(self, store: Store) -> Table | None:
        """Returns what was made earlier; makes nothing."""
        stored = store.derived(self.key)
        return _read(store, stored) if stored else None

    def made(self, store: Store, progress: Callable[[int, int], None]) -> Table:
        """Returns the table, made where it is not known.

        Raises:
            graph.GraphError: the network cannot be quantised with these tables.
            TableError: what is stored cannot be read.
        """

        def make(target: Path) -> None:
            target.write_text(to_json(self._search(store, progress)), "utf-8")

        stored = store.derive(self.key, ".json", make)
        table = _read(store, stored)
        if table is None:
            raise TableError(f"it was made before and cannot be read: delete {store.path(stored)}")
        return table

    def _search(self, store: Store, progress: Callable[[int, int], None]) -> Table:
        wants = self.wants
        any_table = next(iter(self.tables.values()))
        simulated = adjustable(wants.network.model, any_table, self.options)
        simulator = TableSimulator(
            wants.network.model,
            simulated,
            store.array(wants.data.calibration),
            image=wants.settings.input,
            outputs=[tensor for _, tensor in wants.settings.heads],
            threads=int(self.site.engine_options.get("threads", 0)),
        )
        ranges = {name: table.amax for name, table in self.tables.items()}
        best = best_ranges(ranges, simulated.tensors, simulator, progress)
        start = self.tables[best.start]
        return dataclasses.replace(
            start,
            amax=best.amax,
            provenance=dataclasses.replace(
                start.provenance, algorithm=BEST, note=note(best, simulator.counts)
            ),
        )


def note(best: BestTable, counts: tuple[int, int]) -> str:
    """Returns how the table was made."""
    kinds = list(best.changed.values())
    taken = [f"{kinds.count(kind)} of {kind}" for kind in dict.fromkeys(kinds)]
    but = f"but for {listed(taken, len(taken))}" if taken else "unchanged"
    left = f"; {count(best.left, 'tensor')} had no turn" if best.left else ""
    return (
        f"{best.start}'s, {but}: ranges that cost the heads least in simulation on {counts[0]} and, to "
        f"confirm it, {count(counts[1], 'calibration image')} ({count(best.trials, 'trial')}{left})"
    )


def _read(store: Store, stored: StoredObject) -> Table | None:
    try:
        return from_json(store.path(stored).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, TableError):
        return None
