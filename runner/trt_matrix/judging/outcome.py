"""What a run tells at its end: a few lines, and the exit code."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_matrix.core.answer import Answer
from trt_matrix.core.answers.degree import degree, how_sure
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.sentences import made_up
from trt_matrix.core.collecting import grouped
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed
from trt_matrix.errors import ExitCode
from trt_matrix.report import fix_lines, images

MOST_LINEAGES = 3
"""Sets of bad heads that are told; the report has all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    judgement: Judgement
    folder: Path
    report: Path
    seconds: Mapping[str, float]

    def exit_code(self, *, strict: bool) -> ExitCode:
        """Returns 1 where a gate failed or an output is broken, 4 where a cell failed.

        With `strict` 4 comes first, and counts cells that were never meant to run here too.
        """
        failing = [finding.kind is Kind.COULD_NOT_RUN for finding in self.judgement.failing]
        if strict and any(not result.status.ok for result in self.judgement.cells):
            return ExitCode.COULD_NOT_RUN
        if self.judgement.gates_failed or False in failing:
            return ExitCode.GATE_FAILED
        if failing:
            return ExitCode.COULD_NOT_RUN
        if not any(result.status.ok for result in self.judgement.cells):
            return ExitCode.COULD_NOT_RUN
        return ExitCode.OK

    def text(self) -> str:
        lines = [""]
        judgement = self.judgement
        for name, answer, sentence in (
            (WHOLE_NETWORK, judgement.network, judgement.network_sentence),
            *(
                (head, judgement.answer(head), judgement.sentences.get(head, ""))
                for head in judgement.heads
            ),
        ):
            if answer:
                lines += _lines(answer)
            elif sentence or name != WHOLE_NETWORK:
                lines.append(f"{name}: {sentence}")
        lines += fix_lines.lines(self.judgement)
        lines += images.lines(self.judgement.calibration) if self.judgement.calibration else []
        lines += [
            f"lineage: {lineage.sentence}" for lineage in self.judgement.lineage[:MOST_LINEAGES]
        ]
        if self.judgement.additions:
            lines.append("to tell them apart, add to `environments` of matrix.yaml:")
            lines += [f"  {line}" for line in self.judgement.additions]
        if self.judgement.latency_sentence:
            lines.append(f"latency: {self.judgement.latency_sentence}")
        lines += self._unknown_boxes()
        failed = self.judgement.gates_failed
        if failed:
            lines.append(
                "gate failed: " + listed([f"{cell} {head}" for cell, head in failed], most=4)
            )
        lines += self._disturbed()
        lines += [
            f"{_who(ids)} {status}: {reason}"
            for (status, reason), ids in self.judgement.not_ok.items()
        ]
        ok = sum(result.status.ok for result in self.judgement.cells)
        reused = sum(result.reused for result in self.judgement.cells)
        lines.append(
            f"{ok} of {len(self.judgement.cells)} cells ok ({reused} known before), "
            f"{self.seconds.get('wall', 0):.1f} s"
        )
        lines += ["", *headline(self.judgement).lines(), f"report: {self.report}"]
        return "\n".join(lines)

    def _unknown_boxes(self) -> list[str]:
        """Returns a line for each reason why boxes are not known: the cell's id, or how many."""
        report = self.judgement.boxes
        if report and report.problem:
            return [f"boxes: not known: {report.problem}"]
        cells = grouped(
            (result.boxes.problem, result.id)
            for result in self.judgement.cells
            if result.boxes and result.boxes.problem
        )
        return [f"boxes: not known in {_who(ids)}: {problem}" for problem, ids in cells.items()]

    def _disturbed(self) -> list[str]:
        """Returns a line for each disturbance of what latencies are of: the cell's id, or how many."""
        return [
            f"disturbed: {_who(ids)}, {reason}; {'its' if len(ids) == 1 else 'their'} latency is not to be trusted: run again with --fresh"
            for reason, ids in self.judgement.disturbed.items()
        ]

    def summary(self) -> Mapping[str, Any]:
        return {
            "run": self.judgement.run_id,
            "headline": list(headline(self.judgement).lines()),
            "report": str(self.report),
            "seconds": dict(self.seconds),
            "sentences": dict(self.judgement.sentences),
            "answers": {answer.head: _plain(answer) for answer in self.judgement.answers},
            "network": _plain(self.judgement.network) if self.judgement.network else None,
            "lineage": [lineage.sentence for lineage in self.judgement.lineage],
            "fixes": [dataclasses.asdict(fix) for fix in self.judgement.fixes],
            "no_fix": list(self.judgement.no_fix),
            "additions": list(self.judgement.additions),
            "network_sentence": self.judgement.network_sentence,
            "calibration": [claim.text for claim in self.judgement.calibration.said()]
            if self.judgement.calibration
            else None,
            "latency_sentence": self.judgement.latency_sentence,
            "gates_failed": [list(pair) for pair in self.judgement.gates_failed],
            "cells": [
                {
                    "id": result.id,
                    "status": str(result.status),
                    "reason": result.reason,
                    "reused": result.reused,
                    "disturbed": result.disturbed,
                }
                for result in self.judgement.cells
            ],
        }


def _who(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{len(ids)} cells"


def _lines(answer: Answer) -> list[str]:
    """Returns how much it matters, whose fault it is and what to do; then what was seen, where anything was."""
    sure = f" ({told})" if (told := how_sure(answer)) else ""
    first = f"{answer.head} [{degree(answer)}]: {answer.fault}{sure}. {answer.advice}".rstrip()
    text = " ".join(filter(None, (answer.text, made_up(answer))))
    return [first, f"  {text}"] if text else [first]


def _plain(answer: Answer) -> Mapping[str, Any]:
    return {
        "severity": str(answer.severity),
        "clean": answer.clean,
        "fault": answer.fault,
        "confidence": answer.confidence,
        "advice": answer.advice,
    }
