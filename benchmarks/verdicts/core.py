"""The one place that knows the judging code: matrices in, claims out."""

from collections.abc import Iterable

import numpy as np

from benchmarks.verdicts.evidence import evidence
from benchmarks.verdicts.made import BASELINE, Made, Matrix
from benchmarks.verdicts.score import Claims
from trt_matrix.core.cells import Precision
from trt_matrix.core.judge import judge
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead
from trt_matrix.core.verdicts.decisions import verdicts
from trt_matrix.core.verdicts.sample import Sample


def told(matrix: Matrix) -> Claims:
    """Judges the error sums alone."""
    found = verdicts(head_errors(matrix), BASELINE, Rules())
    return Claims(
        kinds=frozenset((verdict.cell, verdict.head, str(verdict.kind)) for verdict in found)
    )


def judged(matrix: Matrix) -> Claims:
    """Judges the matrix as a run would be: from stored outputs, to answers."""
    judgement = judge(evidence(matrix))
    kinds = {
        (result.cell.id, verdict.head, str(verdict.kind))
        for result in judgement.cells
        for verdict in result.all_verdicts
    }
    by_environment = {
        (environment, answer.head, str(finding.kind))
        for answer in judgement.answers
        for finding in answer.findings
        for environment in finding.environments
    }
    return Claims(
        kinds=frozenset(kinds),
        findings=frozenset(by_environment),
        clean=frozenset(answer.head for answer in judgement.answers if answer.clean),
    )


def head_errors(matrix: Matrix) -> list[MeasuredHead]:
    return [
        MeasuredHead(
            head=name,
            cells=list(_cells(matrix, head)),
            simulations={
                key: Sample(errors[head][np.newaxis], matrix.energy[head], exact=True)
                for key, errors in matrix.simulations.items()
            },
            gate_nmse=matrix.gates.get(name),
        )
        for head, name in enumerate(matrix.heads)
    ]


def _cells(matrix: Matrix, head: int) -> Iterable[CellError]:
    for cell in matrix.cells:
        if cell.errors.shape[1]:
            yield _cell_error(cell, Sample(cell.errors[head], matrix.energy[head]))


def _cell_error(made: Made, sample: Sample) -> CellError:
    return CellError(
        cell=made.id,
        environment=made.environment,
        device=made.device,
        pass_=made.pass_,
        precision=Precision(made.precision),
        sample=sample,
        placement=made.placement,
        table=made.table,
        own=made.own,
        integer_share=made.share,
        implicit=made.implicit,
        fixed=made.fixed,
    )
