"""JUnit XML: every gate of every cell is a test, so that a CI server shows which one broke.

The format has no standard; this is what Jenkins, GitLab and pytest agree on: testsuites, testsuite,
testcase, and in it failure (a gate that does not hold), error (a cell that did not end) or skipped.
"""

import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from runner.cells import Status
from runner.core.judgement import CellResult, HeadResult, Judgement
from runner.core.verdicts.gates import WHOLE_NETWORK, GateResult

JUNIT = "junit.xml"

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped (section 2.2)."""

SKIPPED = frozenset({Status.UNSUPPORTED, Status.UNAVAILABLE, Status.NOT_RUN})
"""Nothing was tried: no fault of the cell."""


def junit(judgement: Judgement) -> str:
    """Returns the XML text; one suite an environment and device."""
    root = ET.Element("testsuites", name=_clean(judgement.name))
    suites: dict[str, list[CellResult]] = {}
    for result in judgement.cells:
        where = f"{result.cell.environment}/{result.cell.device}"
        suites.setdefault(where, []).append(result)
    for where, results in suites.items():
        suite = ET.SubElement(root, "testsuite", name=_clean(where), timestamp=judgement.created)
        for result in results:
            suite.extend(_cases(judgement, result))
        _count(suite)
    _count(root)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _cases(judgement: Judgement, result: CellResult) -> Iterable[ET.Element]:
    """Yields a test for every gate; one for the whole cell where it has none."""
    where = f"{result.cell.environment}.{result.cell.device}.{result.cell.pass_.name}"
    if result.status is not Status.OK:
        yield _broken(where, result)
        return
    cases = [
        _gate_case(where, name, gate, why)
        for name, gates, why in (
            (WHOLE_NETWORK, result.gates, judgement.network_sentence),
            *((head.head, head.gates, _why(judgement, head)) for head in result.heads),
        )
        for gate in gates
    ]
    yield from cases or [_case(where, "runs")]


def _gate_case(where: str, name: str, gate: GateResult, why: str) -> ET.Element:
    case = _case(where, f"{name} {gate.name}")
    if not gate.passed:
        failure = ET.SubElement(case, "failure", type=gate.name)
        failure.set("message", _clean(f"{name}: {gate.text()}"))
        failure.text = _clean(why)
    return case


def _why(judgement: Judgement, head: HeadResult) -> str:
    verdicts = ", ".join(dict.fromkeys(str(one.kind) for one in head.verdicts))
    return f"verdicts: {verdicts or 'none'}\n{judgement.sentences.get(head.head, '')}"


def _broken(where: str, result: CellResult) -> ET.Element:
    case = _case(where, "runs")
    kind = "skipped" if result.status in SKIPPED else "error"
    child = ET.SubElement(case, kind, message=_clean(f"{result.status}: {result.reason}"))
    if result.log_tail:
        child.text = _clean(result.log_tail)
    return case


def _case(where: str, name: str) -> ET.Element:
    return ET.Element("testcase", classname=_clean(where), name=_clean(name))


def _count(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(kind) is not None for case in cases)))


def _clean(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
