"""Another version as a way out: only where a test says that it is better, or Q/DQ nodes where scales are implicit."""

from tests.unit.fixes import IMPLICIT, better, cell, kinds, only, regression, told
from tests.unit.judgements import BASELINE, SHARED
from tests.unit.passes import MINMAX
from trt_matrix.core.fix import FixKind
from trt_matrix.core.verdicts.equivalence import Equivalence
from trt_matrix.core.verdicts.verdict import Kind, Verdict

# Another version


def test_a_version_that_a_test_says_is_better_is_named_once_for_all() -> None:
    judgement = told(
        cell("old-1", small_db=15, verdicts=[regression("old-1")]),
        cell("old-2", small_db=16, verdicts=[regression("old-2")]),
        cell(BASELINE, small_db=22),
        cell("new", small_db=22),
    )
    fix = only(judgement)
    assert fix.kind is FixKind.VERSION
    assert fix.what == f"one of {BASELINE} and new"
    assert fix.against == f"old-1/cpu/{SHARED.name}"  # the worst
    assert "a gain in 2 environments" in fix.why


def test_a_version_that_is_better_and_no_test_says_so_is_no_fix() -> None:
    assert told(cell("old"), cell(BASELINE, small_db=22)).fixes == ()
    open_ = regression("old", Kind.INCONCLUSIVE, suspected=Kind.ENGINE_REGRESSION, needs="builds")
    assert told(cell("old", verdicts=[open_]), cell(BASELINE, small_db=22)).fixes == ()


def test_a_version_that_loses_the_same_is_no_fix() -> None:
    equal = Equivalence(
        head="small", device="cpu", pass_=SHARED.name, baseline=BASELINE,
        environments=(BASELINE, "old"), within_db=0.9, same_bits=False, all=True,
    )  # fmt: skip
    cells = cell("old", verdicts=[regression("old")]), cell(BASELINE, small_db=16.8)
    assert kinds(told(*cells)) == [FixKind.VERSION]
    assert told(*cells, equal=(equal,)).fixes == ()


def test_a_version_that_is_itself_suspected_is_not_named() -> None:
    judgement = told(
        cell("old", verdicts=[regression("old")]),
        cell("other", small_db=24, verdicts=[regression("other", Kind.CALIBRATOR_REGRESSION)]),
        cell(BASELINE, small_db=22),
    )
    versions = [fix for fix in judgement.fixes if fix.kind is FixKind.VERSION]
    assert all("other" not in version.what for version in versions)


def test_the_baseline_itself_may_be_the_worse_one() -> None:
    sure = told(cell(BASELINE), cell("new", small_db=20.5, verdicts=[better("new", 4.5, 1)]))
    assert only(sure).what == "new"
    by_noise = told(cell(BASELINE), cell("new", small_db=17, verdicts=[better("new", 1.0, 1.5)]))
    assert by_noise.fixes == ()


def test_a_version_that_runs_float_is_no_fix() -> None:
    nothing = Verdict(kind=Kind.NOTHING_QUANTISED, cell="c", head="small", why="float")
    judgement = told(
        cell("old", verdicts=[regression("old")]), cell(BASELINE, small_db=90, verdicts=[nothing])
    )
    assert judgement.fixes == ()


# Another way


def test_qdq_nodes_of_the_same_table_replace_implicit_scales() -> None:
    judgement = told(cell("trt", IMPLICIT), cell("trt", SHARED, 22), cell("trt", MINMAX, 24))
    (way,) = [fix for fix in judgement.fixes if fix.kind is FixKind.WAY]
    assert way.cells == (f"trt/cpu/{SHARED.name}",)


def test_qdq_nodes_elsewhere_or_worse_are_no_way_out() -> None:
    assert told(cell("trt", IMPLICIT), cell("other", SHARED, 22)).fixes == ()
    worse = told(cell("trt", IMPLICIT), cell("trt", SHARED, 15))
    assert FixKind.WAY not in kinds(worse)
    explicit = told(cell("trt", IMPLICIT, 22), cell("trt", SHARED, 15))
    assert FixKind.WAY not in kinds(explicit)
