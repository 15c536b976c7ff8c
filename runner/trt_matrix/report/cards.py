"""What stands first on the page: the whole network's answer, then each head's; pure, no markup."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.answers import degree
from trt_matrix.core.answers.degree import how_sure
from trt_matrix.core.answers.rows import rows_of
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed
from trt_matrix.report.fix_lines import on_card

MARKS = {"severe": "✗", "visible": "!", "open": "?", "harmless": "·", "clean": "✓"}
"""By the state of a card; `none` has a dash."""
ABOVE = "See the whole network above; nothing else was found here."


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One answer as it is shown."""

    head: str
    answer: Answer | None
    """None in judgements made before there were answers."""
    paragraph: str
    passed: int
    """Results that keep every gate, in any precision that has one."""
    failed: tuple[str, ...]
    """Ids of the cells whose gate does not hold."""
    ungated: int
    """int8 results without a gate."""
    precisions: tuple[str, ...]
    """Those that have a gate."""
    sqnr_db: float | None = None
    """Of the cell whose error is taken apart."""
    elsewhere: tuple[Finding, ...] = ()
    """What the first card tells already."""
    remedies: tuple[str, ...] = ()
    """What would help it, the most first."""

    @property
    def state(self) -> str:
        """What its colour and mark say: a word of `Strip.state`."""
        return degree.state(self.answer)

    @property
    def word(self) -> str:
        """How much it matters, in a word or two."""
        return degree.degree(self.answer)

    @property
    def told_above(self) -> bool:
        """Whether all that was found of the head is what the first card tells."""
        return self.lead is not None and any(finding is self.lead for finding in self.elsewhere)

    @property
    def text(self) -> str:
        if self.answer is None or self.lead is None or not self.told_above:
            return self.answer.text if self.answer else ""
        return f"{ABOVE} {self.answer.text.removeprefix(self.lead.text)}".strip()

    @property
    def advice(self) -> str:
        return "" if self.answer is None or self.told_above else self.answer.advice

    @property
    def sure(self) -> str:
        return "" if self.answer is None or self.told_above else how_sure(self.answer)

    @property
    def mark(self) -> str:
        return MARKS.get(self.state, "–")

    @property
    def lead(self) -> Finding | None:
        """The finding that the answer's own sentences tell."""
        return self.answer.lead if self.answer else None

    @property
    def besides(self) -> tuple[Finding, ...]:
        """What else there is to deal with."""
        return self._rest(lambda finding: not finding.beaten and not finding.planned)

    @property
    def failing_cells(self) -> str:
        return listed(self.failed, 3)

    @property
    def is_network(self) -> bool:
        return bool(self.answer and self.answer.head == WHOLE_NETWORK and not self.paragraph)

    @property
    def unused(self) -> tuple[Finding, ...]:
        """What was found with tables alone that another one beats: no harm where those are not used."""
        return self._rest(lambda finding: finding.beaten)

    @property
    def planned(self) -> tuple[Finding, ...]:
        """Cells that were never meant to run here."""
        return self._rest(lambda finding: finding.planned)

    def _rest(self, wanted: Callable[[Finding], bool]) -> tuple[Finding, ...]:
        told = (self.lead, *self.elsewhere)
        return tuple(
            finding
            for finding in (self.answer.findings if self.answer else ())
            if wanted(finding) and all(finding is not other for other in told)
        )

    @property
    def gate(self) -> str:
        """Returns whether every gate holds, and in which precisions there are any."""
        total = self.passed + len(self.failed)
        kinds = f"{listed(self.precisions)} cell{'s' if total != 1 else ''}"
        if self.failed:
            return f"fails in {len(self.failed)} of {total:,} {kinds}"
        if total:
            return f"holds in {'all ' if total > 1 else ''}{total:,} {kinds}"
        if self.head == WHOLE_NETWORK:
            return "none set for all heads together"
        return "none set" if self.ungated else "nothing measured that has one"


def cards(judgement: Judgement) -> tuple[Card, ...]:
    """Returns the whole network's, where it has anything to say, then one a head."""
    first = _network(judgement)
    findings = first.answer.findings if first and first.answer else ()
    heads = [_card(judgement, head, findings) for head in judgement.heads]
    return (first, *heads) if first else tuple(heads)


def _network(judgement: Judgement) -> Card | None:
    answer = judgement.network
    if answer is None or (answer.clean and answer.passed is None and not answer.findings):
        return None
    gated = [result for result in judgement.judged if result.passed is not None]
    return Card(
        head=WHOLE_NETWORK,
        answer=answer,
        paragraph="",
        passed=sum(result.passed is True for result in gated),
        failed=tuple(result.id for result in gated if result.passed is False),
        ungated=sum(result.passed is None for result in judgement.judged if result.heads),
        precisions=_precisions(gated),
    )


def _card(judgement: Judgement, head: str, elsewhere: Sequence[Finding]) -> Card:
    answer = judgement.answer(head)
    rows = rows_of(head, judgement.judged)
    shares = answer.shares if answer else None
    return Card(
        head=head,
        answer=answer,
        paragraph=judgement.sentences.get(head, ""),
        passed=sum(row.passed is True for _, row in rows),
        failed=tuple(result.id for result, row in rows if row.passed is False),
        ungated=sum(row.passed is None for result, row in rows if result.pass_.precision.gated),
        precisions=_precisions(result for result, row in rows if row.passed is not None),
        sqnr_db=next(
            (row.sqnr_db for result, row in rows if shares and result.id == shares.cell), None
        ),
        remedies=on_card(judgement, head),
        elsewhere=tuple(
            finding
            for finding in (answer.findings if answer else ())
            if finding.kind is Kind.COULD_NOT_RUN and finding in elsewhere
        ),
    )


def _precisions(results: Iterable[CellResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(result.pass_.precision) for result in results))
