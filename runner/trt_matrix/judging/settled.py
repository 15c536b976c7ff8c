"""What a judgement asks of outputs: made while they are there, and known without them afterwards."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trt_matrix.core.boxes.evidence import UNKNOWN, BoxEvidence, Outputs
from trt_matrix.core.records import Object
from trt_matrix.core.verdicts.seen import flat
from trt_matrix.errors import GoneError, StoreError
from trt_matrix.execution.wanted import Use
from trt_matrix.judging.detections import box_evidence_of
from trt_matrix.store.results import Store

FLAT_VERSION = 1
"""Raise when `seen.flat` says something else of the same array."""


def flat_of(store: Store, output: Object) -> str | None:
    """Returns `seen.flat` of an output, looked at once for its content; None where that is gone."""

    def make(target: Path) -> None:
        target.write_text(flat(store.array(output)) or "")

    try:
        stored = store.derive({"flat": FLAT_VERSION, "y": output.sha256}, ".txt", make)
        return store.path(stored).read_text() or None
    except GoneError:
        return None


class Settling:
    """Says whether all that is asked of some outputs is known; what can be made of them, it makes."""

    def __init__(
        self, store: Store, epsilon: float, facts: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Reads nothing yet.

        Args:
            store: Holds the outputs, and what was made of them.
            epsilon: Of the sums.
            facts: Gives the fields of a manifest that are about boxes (`box_facts`).
        """
        self._store = store
        self._epsilon = epsilon
        self._facts = facts
        self._boxes: tuple[BoxEvidence | None] | None = None
        # Lanes of several devices ask at once, and what boxes are made with remembers its last answer.
        self._lock = threading.Lock()

    def __call__(self, reference: Outputs, outputs: Outputs, use: Use) -> bool:
        with self._lock:
            try:
                match use:
                    case Use.WHOLE:
                        return False
                    case Use.COMPARED:
                        self._compare(outputs, reference)
                    case Use.JUDGED:
                        self._compare(outputs, reference)
                        self._judge(outputs, reference)
                    case Use.FOUND:
                        self._find(outputs)
            except (StoreError, *UNKNOWN):
                return False
            return True

    def _compare(self, outputs: Outputs, reference: Outputs) -> None:
        for head, output in outputs.items():
            self._store.sums(output, reference[head], self._epsilon)
            flat_of(self._store, output)

    def _judge(self, outputs: Outputs, reference: Outputs) -> None:
        """Asks what `core.box_judge` asks of one repeat of a cell."""
        boxes = self._evidence()
        if boxes is None:
            return
        boxes.boxes_of(outputs)
        boxes.changes_of(outputs, reference)
        for made_of in boxes.made_of.values():
            self._find({**reference, **{head: outputs[head] for head in made_of}})
        self._find(outputs)

    def _find(self, outputs: Outputs) -> None:
        boxes = self._evidence()
        if boxes and boxes.precision_of:
            boxes.precision_of(outputs)
        if boxes and boxes.draws_of:
            boxes.draws_of(outputs)

    def _evidence(self) -> BoxEvidence | None:
        if self._boxes is None:
            facts = self._facts()
            self._boxes = (box_evidence_of(self._store, **facts) if facts else None,)
        return self._boxes[0]
