"""What one pass's answer tells, taken into the store as a measurement."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.records import (
    Coverage,
    IntegerShare,
    LatencySamples,
    Measurement,
    Start,
    StoredObject,
)
from trt_matrix.execution.alternatives import Alternative
from trt_matrix.execution.answer_models import PassAnswer
from trt_matrix.execution.answers import AnswerError, ResultFolder
from trt_matrix.execution.left import Left, Take, left_of
from trt_matrix.execution.shares import coverage_of, shares_of_layers
from trt_matrix.execution.wanted import JobSite, PassRequests, WantedPass
from trt_matrix.store.results import Store

ShareOf = Callable[[Path, StoredObject], Mapping[str, IntegerShare]]
"""From the graph that the engine really ran to each head's share of integer kernels."""

GRAPH_LIMIT_BYTES = 2 << 30
"""No ONNX file is larger: protobuf ends there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PassTaker:
    """Takes the answers of one start; its arguments are those of `JobStart`."""

    store: Store
    wants: PassRequests
    site: JobSite
    share_of: ShareOf
    take: Take

    def measurement(
        self, answers: ResultFolder, answer: PassAnswer, wanted: WantedPass, start: Start
    ) -> Measurement:
        """Returns what a pass that succeeded measured; its files are in the store then.

        Raises:
            AnswerError: the answer does not hold together, or a file of it is missing.
        """
        left = self._left(answers, answer, wanted)
        files = {} if left else self._files(answers, answer, wanted)
        build, cache = answer.build, answer.cache
        model, form = read_form(answer, wanted, self.wants.network.name)
        asked = {**asked_of(wanted), **form}
        if cache and wanted.variant.implicit and wanted.variant.table is None:
            name = self.site.environment.name
            asked["table"] = answers.cache_table(wanted.name, cache, environment=name).digest
        if answer.table_problem:
            asked["table"] = None
        told_of_build = answers.build(wanted.name, build) if build else None
        latency = answer.latency
        return Measurement(
            **asked,
            status=Status.OK,
            outputs=left.outputs
            if left
            else {head: self.store.adopt(path) for head, path in files.items()},
            left=left is not None,
            latency=LatencySamples(
                batch=latency.batch,
                samples_s=latency.samples_s,
                warm_up=latency.warm_up,
                device_s=latency.device_s,
            )
            if latency
            else None,
            stages=answer.stages,
            shares=self._shares(answers, answer, wanted, model),
            # A table that is not used covers nothing, and nothing is judged by it.
            coverage=None
            if answer.table_problem
            else self._coverage(answers, told_of_build, wanted, model),
            table_problem=answer.table_problem,
            table_notes=answer.table_notes,
            build=told_of_build,
            custom_layers=answers.layers(wanted.name, answer.layers).custom
            if answer.layers
            else (),
            layers=self._adopted(answers, wanted.name, answer.layers),
            cache=self._adopted(answers, wanted.name, cache),
            start=start,
        )

    def _files(
        self, answers: ResultFolder, answer: PassAnswer, wanted: WantedPass
    ) -> Mapping[str, Path]:
        return {
            head: answers.output(
                wanted.name,
                head,
                answer,
                images=self.wants.data.evaluation_images,
                shape=self.site.shapes.get(head),
            )
            for head, _ in self.wants.settings.heads
        }

    def _left(self, answers: ResultFolder, answer: PassAnswer, wanted: WantedPass) -> Left | None:
        """Takes what came in place of outputs; None where these came, as they do from every job here."""
        if not self.site.elsewhere:
            return None
        heads = [head for head, _ in self.wants.settings.heads]
        left = left_of(
            answers, wanted.name, answer, self.store, heads=heads, reference=self.site.reference
        )
        if left:
            self.take(left)
        return left

    def _shares(
        self, answers: ResultFolder, answer: PassAnswer, wanted: WantedPass, model: StoredObject
    ) -> Mapping[str, IntegerShare] | None:
        """Returns head → integer share, from whatever the engine told: its graph, or its layers."""
        if answer.executed:
            executed = answers.file(wanted.name, answer.executed, GRAPH_LIMIT_BYTES)
            return self.share_of(executed, model)
        if not answer.layers:
            return None
        return shares_of_layers(
            answers.layers(wanted.name, answer.layers),
            self.store.path(model),
            self.wants.settings.heads,
            quantised=wanted.precision is Precision.INT8,
        )

    def _coverage(
        self,
        answers: ResultFolder,
        build: Mapping[str, Any] | None,
        wanted: WantedPass,
        model: StoredObject,
    ) -> Mapping[str, Coverage] | None:
        """Returns head → what of the table arrived; None where no table was carried or made."""
        scales = answers.scales(wanted.name, build) if build else None
        if scales is None:
            return None
        return coverage_of(scales, self.store.path(model), self.wants.settings.heads)

    def _adopted(self, answers: ResultFolder, name: str, file: str | None) -> StoredObject | None:
        return self.store.adopt(answers.file(name, file)) if file else None


def asked_of(wanted: WantedPass) -> dict[str, Any]:
    """Returns what a measurement repeats of the question."""
    return {
        "fingerprint": wanted.fingerprint,
        "name": wanted.name,
        "repeat": wanted.repeat,
        "model_sha256": wanted.variant.model.sha256,
        "table": wanted.variant.digest,
        "placement": wanted.variant.placement,
        "carried": dict(wanted.variant.implicit.changed) if wanted.variant.implicit else {},
        "held": wanted.variant.implicit.held if wanted.variant.implicit else (),
    }


def read_form(
    answer: PassAnswer, wanted: WantedPass, name: str
) -> tuple[StoredObject, dict[str, Any]]:
    """Returns the graph of the network that the job read, and what a measurement tells of it.

    That of a UFF file is its ONNX form's, whose heads it has. `name` is what matrix.yaml calls the first form.

    Raises:
        AnswerError: it had none of that name.
    """
    if (
        wanted.variant.typed
        and wanted.variant.typed.model
        and answer.model == wanted.variant.typed.model.file
    ):
        read_sha256 = wanted.variant.typed.model.sha256
        return wanted.variant.typed.model, {
            "model_sha256": read_sha256,
            "typed": dict(wanted.variant.typed.facts),
        }
    if not wanted.variant.alternatives:
        return wanted.variant.model, {}
    forms = (Alternative(name, wanted.variant.model), *wanted.variant.alternatives)
    read = next((form for form in forms if form.model.file == answer.model), None)
    if read is None:
        raise AnswerError(
            f"{wanted.name}: the answer names {answer.model!r}, which is no form of the network"
        )
    refused = {
        form.name: answer.refused[form.model.file]
        for form in forms
        if form.model.file in answer.refused
    }
    facts = {"model_sha256": read.model.sha256, "variant": read.name, "refused": refused}
    return wanted.variant.model if read.uff else read.model, facts
