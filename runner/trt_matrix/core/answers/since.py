"""In which versions: alike in all of them, in a run of them, or in one."""

from collections.abc import Collection, Sequence

from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.answers.per_head import accused
from trt_matrix.core.answers.rows import HeadRow, int8_of, rows_of
from trt_matrix.core.answers.sentences import how_alike
from trt_matrix.core.answers.speaking import speaking
from trt_matrix.core.collecting import grouped
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.equivalence import Equivalence
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import count, listed

MOST = 3


def environments_of(judgement: Judgement, *, int8: bool = True) -> tuple[str, ...]:
    """Returns the environments that gave int8 results, in the order of the matrix."""
    return tuple(
        dict.fromkeys(
            result.environment
            for result in judgement.judged
            if result.status.ok and (not int8 or result.pass_.is_int8)
        )
    )


def run_of(names: Collection[str], order: Sequence[str]) -> str:
    """Returns `v1 to v3` where they follow each other in `order`, else a list of them."""
    places = [index for index, name in enumerate(order) if name in names]
    if len(set(names)) == len(places) > 2 and places[-1] - places[0] == len(places) - 1:
        return f"{order[places[0]]} to {order[places[-1]]}"
    return listed([order[place] for place in places] or list(names), MOST)


def alike(judgement: Judgement, heads: Sequence[str]) -> tuple[Equivalence, ...]:
    """Returns one equality a head, each of all versions of the pass that the head is spoken of with; else none."""
    equivalences = []
    everywhere = set(environments_of(judgement))
    for head in heads:
        rows = int8_of(rows_of(head, judgement.judged))
        spoken = speaking(rows)
        if not spoken:
            # No test compares its errors; the same bits need none.
            if not _same_bits(judgement, rows):
                return ()
            continue
        cell = spoken[0].result.cell
        answer = judgement.answer(head)
        named = accused(answer.findings) if answer else frozenset()
        equal = [
            same
            for same in judgement.equal
            if (same.head, same.pass_, same.device) == (head, cell.pass_.name, cell.device)
            and same.all
            and len(same.environments) > 1
            and cell.environment in same.environments
            and everywhere == set(same.environments)
            and not named.intersection(same.environments)
        ]
        if not equal:
            return ()
        equivalences.append(equal[0])
    return tuple(equivalences)


def _same_bits(judgement: Judgement, rows: Sequence[HeadRow]) -> bool:
    """Whether each pass on each device gave the same outputs of a head in all environments."""
    ways = grouped(((row.result.pass_, row.result.device), row) for row in rows)
    names = set(environments_of(judgement))
    return bool(ways) and all(
        {row.result.environment for row in same} == names
        and {row.result.id for row in same} <= {same[0].result.id, *same[0].head.identical_to}
        for same in ways.values()
    )


def where(judgement: Judgement, heads: Sequence[str]) -> str:
    """Returns `, in all 6 versions alike`, ` in v1`, or where it is worst; empty where no int8 cell speaks."""
    equal = alike(judgement, heads)
    if equal:
        number = len(equal[0].environments)
        return f", in {'both' if number == 2 else f'all {number}'} versions alike"
    names = environments_of(judgement)
    if len(names) == 1:
        return f" in {names[0]}"
    return f", at worst of {len(names)} environments" if names else ""


def since(judgement: Judgement, answer: Answer | None, finding: Finding | None) -> str:
    """Returns in which versions it is so; empty of one version, and where nothing is wrong."""
    order = environments_of(judgement, int8=False)
    if len(order) < 2 or answer is None:
        return ""
    choice = next((each for each in judgement.choices if each.head == answer.head), None)
    if choice and "layer's:" in answer.fault:
        told = (
            f"with {count(choice.tables, 'table')} {count(len(choice.worse_db), 'build')} chose so"
        )
        return f"no version's step: {told}, and {len(choice.better_db)} did not"
    heads = [answer.head] if answer.head in judgement.heads else judgement.heads
    if equal := alike(judgement, heads):
        return f"{run_of(equal[0].environments, order)}, alike {how_alike(equal, sure='')}"
    if finding is None or not finding.environments:
        return ""
    rest = [name for name in order if name not in finding.environments]
    shown = run_of(finding.environments, order)
    if finding.kind is Kind.INCONCLUSIVE:
        return f"perhaps {shown}: not decided"
    if finding.kind is Kind.NOT_COMPARABLE and not rest:
        return ""
    if rest:
        return f"{shown}; not in {run_of(rest, order)}"
    seen = finding.kind in (Kind.COULD_NOT_RUN, Kind.BROKEN_OUTPUT)
    return f"{shown}: {'all of them' if seen else 'not shown to be alike'}"
