"""What a judgement asks of outputs: made while they are there, and known without them afterwards."""

import contextlib
import functools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trt_matrix.containers.job.reductions import flat
from trt_matrix.core.boxes.evidence import UNKNOWN, BoxEvidence, Outputs
from trt_matrix.core.records import StoredObject
from trt_matrix.errors import GoneError, StoreError
from trt_matrix.execution.answers import AnswerError
from trt_matrix.execution.left import Left, alike
from trt_matrix.execution.wanted import OutputUse
from trt_matrix.judging.detections import Floats32, box_evidence_of
from trt_matrix.store.results import Store

FLAT_VERSION = 1
"""Raise when `reductions.flat` says something else of the same array."""


def flat_of(store: Store, output: StoredObject) -> str | None:
    """Returns `reductions.flat` of an output, looked at once for its content; None where that is gone."""
    try:
        return _flat(store, output.sha256, lambda: flat(store.array(output)))
    except GoneError:
        return None


def _flat(store: Store, sha256: str, make: Callable[[], str | None]) -> str | None:
    def write(target: Path) -> None:
        target.write_text(make() or "")

    stored = store.derive({"flat": FLAT_VERSION, "y": sha256}, ".txt", write)
    return store.path(stored).read_text() or None


class Settling:
    """Says whether all that is asked of some outputs is known; what can be made of them, it makes."""

    def __init__(
        self, store: Store, epsilon: float, facts: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Reads nothing yet.

        `facts` gives the fields of a manifest that are about boxes (`box_facts`).
        """
        self._store = store
        self._epsilon = epsilon
        self._facts = facts
        self._boxes: tuple[BoxEvidence | None] | None = None
        # Lanes of several devices ask at once, and what boxes are made with remembers its last answer.
        self._lock = threading.Lock()

    def __call__(self, reference: Outputs, outputs: Outputs, use: OutputUse) -> bool:
        with self._lock:
            try:
                match use:
                    case OutputUse.WHOLE:
                        return False
                    case OutputUse.COMPARED:
                        self._compare(outputs, reference)
                    case OutputUse.JUDGED:
                        self._compare(outputs, reference)
                        self._judge(outputs, reference, self._evidence())
                    case OutputUse.FOUND:
                        self._find(outputs, self._evidence())
            except (StoreError, *UNKNOWN):
                return False
            return True

    def take(self, left: Left) -> None:
        """Keeps what came in place of outputs, as if it had been made of them here.

        Raises:
            AnswerError: something else is known of the same contents.
        """
        with self._lock:
            for head, output in left.outputs.items():
                if self._store.has(output):  # of another cell with the same outputs: known better
                    self._compare({head: output}, left.reference)
                    continue
                reference = left.reference[head].sha256
                against = [(reference, left.sums[head])]
                against += [left.own[head]] if head in left.own else []
                told = left.flat[head]
                agrees = [
                    _flat(self._store, output.sha256, functools.partial(str, told or "")) == told
                ]
                for other, sums in against:
                    known = self._store.take_sums(output.sha256, other, self._epsilon, sums)
                    agrees.append(alike(known, sums))
                if not all(agrees):
                    message = (
                        f"of the output of {head} with the hash {output.sha256[:12]} something else is known: "
                        "outputs with one hash are one, so one of the two is not true"
                    )
                    raise AnswerError(message)
            # Where no boxes are made of them, whoever judges says why.
            with contextlib.suppress(*UNKNOWN):
                self._judge(left.outputs, left.reference, self._evidence(left.arrays))

    def _compare(self, outputs: Outputs, reference: Outputs) -> None:
        for head, output in outputs.items():
            self._store.sums(output, reference[head], self._epsilon)
            flat_of(self._store, output)

    def _judge(self, outputs: Outputs, reference: Outputs, boxes: BoxEvidence | None) -> None:
        """Asks what `core.box_judge` asks of one repeat of a cell."""
        if boxes is None:
            return
        boxes.boxes_of(outputs)
        boxes.changes_of(outputs, reference)
        for made_of in boxes.made_of.values():
            self._find({**reference, **{head: outputs[head] for head in made_of}}, boxes)
        self._find(outputs, boxes)

    def _find(self, outputs: Outputs, boxes: BoxEvidence | None) -> None:
        if boxes and boxes.precision_of:
            boxes.precision_of(outputs)
        if boxes and boxes.draws_of:
            boxes.draws_of(outputs)

    def _evidence(self, given: Mapping[str, Floats32] | None = None) -> BoxEvidence | None:
        """Returns the way to boxes; `given` is as `box_evidence_of` takes it."""
        if given is not None:
            facts = self._known_facts
            return box_evidence_of(self._store, **facts, given=given) if facts else None
        if self._boxes is None:
            facts = self._known_facts
            self._boxes = (box_evidence_of(self._store, **facts) if facts else None,)
        return self._boxes[0]

    @functools.cached_property
    def _known_facts(self) -> Mapping[str, Any]:
        return self._facts()
