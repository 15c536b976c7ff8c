"""What a measurement repeats of its question, and which form of the network it is of. Pure."""

from typing import Any

from trt_matrix.core.records import StoredObject
from trt_matrix.execution.alternatives import Alternative
from trt_matrix.execution.answer_models import PassAnswer
from trt_matrix.execution.answers import AnswerError
from trt_matrix.execution.wanted import WantedPass


def asked_of(wanted: WantedPass) -> dict[str, Any]:
    """Returns what a measurement repeats of the question."""
    return {
        "fingerprint": wanted.fingerprint,
        "name": wanted.name,
        "repeat": wanted.repeat,
        "model_sha256": wanted.model.sha256,
        "table": wanted.table,
        "placement": wanted.placement,
        "carried": dict(wanted.implicit.changed) if wanted.implicit else {},
        "held": wanted.implicit.held if wanted.implicit else (),
    }


def read_form(
    answer: PassAnswer, wanted: WantedPass, name: str
) -> tuple[StoredObject, dict[str, Any]]:
    """Returns the graph of the network that the job read, and what a measurement tells of it.

    That of a UFF file is its ONNX form's, whose heads it has. `name` is what matrix.yaml calls the first form.

    Raises:
        AnswerError: it had none of that name.
    """
    if wanted.typed and wanted.typed.model and answer.model == wanted.typed.model.file:
        read_sha256 = wanted.typed.model.sha256
        return wanted.typed.model, {"model_sha256": read_sha256, "typed": dict(wanted.typed.facts)}
    if not wanted.alternatives:
        return wanted.model, {}
    forms = (Alternative(name, wanted.model), *wanted.alternatives)
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
    told = {"model_sha256": read.model.sha256, "variant": read.name, "refused": refused}
    return wanted.model if read.uff else read.model, told
