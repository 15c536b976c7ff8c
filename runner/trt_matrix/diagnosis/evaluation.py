"""Many states of one network over many images: image by image, each image's answers kept as they are made.

An image is computed in float and in int8 once; each further state takes from the nearer of the two what
it shares with it and computes the rest. Memory holds the values of one image a worker; what is kept of an
image is its sums and its boxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.containers.job.reductions import SUMS, compare
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.results import AveragePrecision
from trt_matrix.core.diagnosis.errors import StateErrors, state_errors, worst_images
from trt_matrix.core.diagnosis.quantisers import State
from trt_matrix.core.records import digest
from trt_matrix.diagnosis.boxes import ImageBoxes
from trt_matrix.diagnosis.simulator import Simulator, for_all
from trt_matrix.diagnosis.subject import Subject, Told
from trt_matrix.store.arrays import read_arrays
from trt_matrix.store.results import Store

VERSION = 2
"""Raise when the same states and images give other numbers."""

EPSILON = 1e-3
"""Of the sums: |d| above it is counted, which nothing here asks for."""

FLOAT = State()

BOX = np.dtype(
    [("corners", np.float64, 4), ("score", np.float32), ("label", np.int32), ("head", np.int16)]
)

FEW = 3
"""Up to so many states of one image are computed one by one: two bases would cost more than they save."""

_NO_INDEX = np.zeros(0, np.intp)
NOTHING = Boxes(np.zeros((0, 4)), np.zeros(0, np.float32), _NO_INDEX, _NO_INDEX)


@dataclass(frozen=True, slots=True)
class EvaluatedImage:
    """One image in several states."""

    sums: npt.NDArray[np.void]
    """Shape (states, heads)."""
    changes: npt.NDArray[np.void]
    """Of each list of boxes against the float network's, shape (lists, heads, sizes)."""
    starts: npt.NDArray[np.int64]
    """Where each list of boxes begins in `boxes`, and where the last ends."""
    boxes: npt.NDArray[np.void]
    lists: npt.NDArray[np.int64]
    """Which list of boxes each state has in each variant, shape (states of which boxes are wanted, variants)."""

    def of(self, state: int, variant: int) -> Boxes:
        number = self.lists[state, variant]
        return _boxes(self.boxes[self.starts[number] : self.starts[number + 1]])


@dataclass(frozen=True, slots=True)
class Reference:
    """What the float network gives for one image."""

    outputs: Mapping[str, npt.NDArray[np.float32]]
    """Tensor → value."""
    boxes: Boxes


class Evaluation:
    """Evaluates states; what it has evaluated once it reads again."""

    def __init__(self, subject: Subject, simulator: Simulator, store: Store, told: Told) -> None:
        """Computes nothing yet.

        Raises:
            One of `evidence.UNKNOWN`, where boxes are wanted and cannot be decoded.
        """
        self.subject = subject
        self.simulator = simulator
        self.store = store
        self.told = told
        self.full = simulator.found.state
        self.heads = tuple(head for head, _ in subject.heads)
        self.tensors = tuple(tensor for _, tensor in subject.heads)
        self.boxes = ImageBoxes(subject, store) if subject.decode else None
        self.computed = 0
        """Pairs of state and image that were computed, not read again."""
        self._float_precision: dict[tuple[int, ...], AveragePrecision] = {}

    def evaluate(
        self,
        states: Sequence[State],
        images: Sequence[int],
        what: str,
        *,
        worst: Mapping[str, list[int]] | None = None,
        bare: Sequence[State] = (),
    ) -> "Evaluated":
        """Computes states over images.

        Args:
            states: What to compute.
            images: Indices.
            what: Told with the progress.
            worst: Head → places in `images` of its worst images; None: those of the network in int8, which
                is then evaluated, too.
            bare: States of which no boxes are wanted.
        """
        boxed = dict.fromkeys((*states, *([self.full] if worst is None else [])))
        every = list(dict.fromkeys((*boxed, *bare)))
        self.simulator = self.simulator.covering(every)
        key = digest([[state.key() for state in every], len(boxed)])[:40]
        facts: dict[int, EvaluatedImage] = {}

        def evaluate_image(place: int) -> None:
            facts[place] = self._image(images[place], every, len(boxed), key)

        for_all(evaluate_image, len(images), what, self.told)
        in_order = [facts[place] for place in range(len(images))]
        return Evaluated(self, every, tuple(images), in_order, worst)

    def float_precision(self, images: tuple[int, ...]) -> AveragePrecision:
        """Returns AP of the float network."""
        assert self.boxes is not None  # noqa: S101 - asked only where boxes are decoded
        if images not in self._float_precision:
            all_boxes = [self._reference(index).boxes for index in images]
            self._float_precision[images] = self.boxes.precision(images, all_boxes)
        return self._float_precision[images]

    def _key(self, index: int) -> dict[str, Any]:
        """Returns what decides the numbers of one image, beside the state."""
        subject = self.subject
        evaluation = [image.model_dump() for image in subject.evaluation]
        decode = subject.decode
        return {
            "diagnosis": VERSION,
            "model": subject.model_sha256,
            "images": subject.images_sha256,
            "image": index,
            "heads": subject.heads,
            "boxes": [decode.model_dump(mode="json"), *evaluation] if decode else None,
        }

    def _reference(self, index: int) -> "Reference":
        """Returns the float network's answer for one image; computed once."""

        def make(target: Path) -> None:
            outputs = self.simulator.run(self.subject.image(index), FLOAT)
            boxes = self.boxes.detect(self._named(outputs), index) if self.boxes else NOTHING
            arrays = {f"head-{number}": outputs[name] for number, name in enumerate(self.tensors)}
            with target.open("wb") as stream:
                np.savez(stream, allow_pickle=False, boxes=_table(boxes), **arrays)

        stored = self.store.derive({**self._key(index), "float": True}, ".npz", make)
        arrays = read_arrays(self.store.path(stored))
        outputs = {name: arrays[f"head-{number}"] for number, name in enumerate(self.tensors)}
        return Reference(outputs, _boxes(arrays["boxes"]))

    def _image(
        self, index: int, states: Sequence[State], boxed: int, states_key: str
    ) -> EvaluatedImage:
        subject = self.subject

        def make(target: Path) -> None:
            with target.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **self._computed(index, states, boxed))

        parameters = [repr(subject.options), subject.table.digest]
        key = {**self._key(index), "states": states_key, "parameters": parameters}
        stored = self.store.derive(key, ".npz", make)
        return EvaluatedImage(**read_arrays(self.store.path(stored)))

    def _computed(
        self, index: int, states: Sequence[State], boxed: int
    ) -> Mapping[str, npt.NDArray[Any]]:
        """Returns one image in several states, the boxes of the first so many."""
        self.computed += len(states)
        image = self.subject.image(index)
        reference = self._reference(index)
        whole = (FLOAT, self.full) if len(states) > FEW else ()
        bases = [self.simulator.base(image, state) for state in whole]
        # Arrays of the bases live as long as this: what is one of them need not be looked at twice. The
        # float base's are the reference's.
        lasting = {
            id(value): number
            for number, base in enumerate(bases)
            for value in self.simulator.heads_of(base).values()
        }
        rows: dict[tuple[str, int], npt.NDArray[np.void]] = {}
        sums = np.zeros((len(states), len(self.heads)), SUMS)
        exact, variants = self._named(reference.outputs), self.boxes.variants if self.boxes else ()
        detected = _Detected(self.boxes, index, exact, reference.boxes) if self.boxes else None
        lists = np.zeros((boxed, len(variants)), np.int64)
        for place, state in enumerate(states):
            if bases:
                nearer = min(bases, key=lambda base: state.distance(base.state))
                outputs = self.simulator.outputs(state, nearer)
            else:
                outputs = self.simulator.run(image, state)
            for number, tensor in enumerate(self.tensors):
                value = outputs[tensor]
                known = (tensor, lasting[id(value)]) if id(value) in lasting else None
                row = rows.get(known) if known else None
                if row is None:
                    row = _sums(value, reference.outputs[tensor])
                    if known:
                        rows[known] = row
                sums[place, number] = row
            if detected and place < boxed:
                lists[place] = detected.add(self._named(outputs), lasting)
        return {"sums": sums, "lists": lists, **(detected.arrays() if detected else NO_BOXES)}

    def _named(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        return {head: outputs[tensor] for head, tensor in self.subject.heads}


@dataclass(slots=True)
class _Detected:
    """The boxes of one image in several states; equal outputs are decoded once."""

    how: ImageBoxes
    index: int
    reference: Mapping[str, Any]
    """Head → the float network's output."""
    floats: Boxes
    """The float network's."""
    found: list[Boxes] = field(default_factory=list)
    known: dict[tuple[int, ...], int] = field(default_factory=dict)
    """Ids of outputs that live on → which of those that were found."""

    def add(self, outputs: Mapping[str, Any], lasting: Mapping[int, int]) -> list[int]:
        """Returns which list of boxes these outputs, by heads, give in each variant.

        `lasting` is id of an array that lives on → 0 where it is the float network's.
        """
        return [self._of(outputs, lasting, variant) for variant in self.how.variants]

    def _of(
        self, outputs: Mapping[str, Any], lasting: Mapping[int, int], variant: tuple[str, ...]
    ) -> int:
        used = {
            head: outputs[head]
            if head in variant and lasting.get(id(outputs[head])) != 0
            else self.reference[head]
            for head in self.how.heads
        }
        passing = any(
            value is not self.reference[head] and id(value) not in lasting
            for head, value in used.items()
        )
        key = tuple(map(id, used.values()))
        if not passing and key in self.known:
            return self.known[key]
        same = all(value is self.reference[head] for head, value in used.items())
        self.found.append(self.floats if same else self.how.detect(used, self.index))
        if not passing:
            self.known[key] = len(self.found) - 1
        return len(self.found) - 1

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        tables = [_table(boxes) for boxes in self.found]
        return {
            "changes": np.array([self.how.changes(self.floats, boxes) for boxes in self.found]),
            "starts": np.cumsum([0, *map(len, tables)], dtype=np.int64),
            "boxes": np.concatenate(tables),
        }


NO_BOXES: Mapping[str, npt.NDArray[Any]] = {
    "changes": np.zeros((0, 0, 0)),
    "starts": np.zeros(1, np.int64),
    "boxes": np.zeros(0, BOX),
}


class Evaluated:
    """States over images, to be asked for their errors."""

    def __init__(
        self,
        evaluation: Evaluation,
        states: Sequence[State],
        images: tuple[int, ...],
        facts: Sequence[EvaluatedImage],
        worst: Mapping[str, list[int]] | None = None,
    ) -> None:
        self.evaluation = evaluation
        self.images = images
        self._facts = facts
        self._known: dict[tuple[int, ...], AveragePrecision] = {}
        self._places = {state: place for place, state in enumerate(states)}
        full = evaluation.full
        self.worst = worst_images(evaluation.heads, self.sums(full)) if worst is None else worst

    def sums(self, state: State) -> npt.NDArray[np.void]:
        """Returns the sums of a state, shape (images, heads)."""
        place = self._places[state]
        return np.stack([fact.sums[place] for fact in self._facts])

    def errors(self, state: State, *, precision: bool = True) -> StateErrors:
        """Returns what a state costs.

        AP is told where there are labels and it is wanted, since it takes longest; nothing of boxes of the
        `bare` ones.
        """
        boxes, place = self.evaluation.boxes, self._places[state]
        worst = {head: self.worst[head] for head in self.evaluation.heads}
        if boxes is None or place >= len(self._facts[0].lists):
            return state_errors(self.sums(state), worst, {}, None)
        changes = np.stack([fact.changes[fact.lists[place, 0]] for fact in self._facts])
        wanted = precision and self.evaluation.subject.labels is not None
        reference = self.evaluation.float_precision(self.images) if wanted else None
        precisions = {
            variant: self._precision(state, number)
            for number, variant in enumerate(boxes.variants)
            if wanted
        }
        return state_errors(self.sums(state), worst, *boxes.errors(changes, precisions, reference))

    def _precision(self, state: State, variant: int) -> AveragePrecision:
        """Returns the AP of a state's variant; equal boxes are evaluated once."""
        boxes = self.evaluation.boxes
        assert boxes is not None  # noqa: S101 - asked only where boxes are decoded
        place = self._places[state]
        key = tuple(int(fact.lists[place, variant]) for fact in self._facts)
        if key not in self._known:
            all_boxes = [fact.of(place, variant) for fact in self._facts]
            self._known[key] = boxes.precision(self.images, all_boxes)
        return self._known[key]


def _table(boxes: Boxes) -> npt.NDArray[np.void]:
    table = np.empty(len(boxes), BOX)
    table["corners"], table["score"] = boxes.corners, boxes.scores
    table["label"], table["head"] = boxes.classes, boxes.heads
    return table


def _boxes(table: npt.NDArray[np.void]) -> Boxes:
    classes, heads = (table[name].astype(np.intp) for name in ("label", "head"))
    return Boxes(table["corners"], table["score"], classes, heads)


def _sums(value: npt.NDArray[Any], reference: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    flat = [np.asarray(array, np.float32).reshape(1, -1) for array in (value, reference)]
    sums: npt.NDArray[np.void] = compare(flat[0], flat[1], EPSILON)[0]
    return sums
