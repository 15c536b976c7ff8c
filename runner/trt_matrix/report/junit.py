"""JUnit XML: every gate of every cell is a test, so that a CI server shows which one broke.

What a run fails for without a gate (a broken output, fp32 that is wrong) is a failed test of its cells too.

The format has no standard; this is what Jenkins, GitLab and pytest agree on: testsuites, testsuite,
testcase, and in it failure (a gate that does not hold), error (a cell that did not end) or skipped.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree as ET

from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.collecting import grouped
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK, GateResult
from trt_matrix.core.verdicts.verdict import Kind

JUNIT = "junit.xml"

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped (section 2.2)."""


def junit(judgement: Judgement) -> str:
    """Returns the XML text; one suite an environment and device."""
    root = ET.Element("testsuites", name=_clean(judgement.name))
    root.append(_properties(judgement))
    ungated = _ungated(judgement)
    suites = grouped(
        (f"{result.environment}/{result.device}", result) for result in judgement.cells
    )
    for where, results in suites.items():
        cases = (
            case
            for result in results
            for case in _cases(judgement, result, ungated.get(result.id, ()))
        )
        _suite(root, judgement, where, cases)
    nowhere = ungated.get("", ())
    if nowhere:
        cases = (_finding_case(WHOLE_NETWORK, head, finding) for head, finding in nowhere)
        _suite(root, judgement, WHOLE_NETWORK, cases)
    _count(root)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ET.Element, judgement: Judgement, where: str, cases: Iterable[ET.Element]) -> None:
    suite = ET.SubElement(root, "testsuite", name=_clean(where), timestamp=judgement.created)
    suite.extend(cases)
    _count(suite)


def _properties(judgement: Judgement) -> ET.Element:
    """Returns what every output says first, a property a line."""
    properties = ET.Element("properties")
    for number, line in enumerate(headline(judgement).lines(), 1):
        ET.SubElement(properties, "property", name=f"headline{number}", value=_clean(line))
    return properties


def _ungated(judgement: Judgement) -> Mapping[str, Sequence[tuple[str, Finding]]]:
    """Returns cell → (head, finding) for which the run fails without a gate; cell "" where it names none."""
    answers = (*((judgement.network,) if judgement.network else ()), *judgement.answers)
    gated = set(judgement.gates_failed)
    return grouped(
        (cell, (answer.head, finding))
        for answer in answers
        for finding in answer.findings
        if finding.fails and finding.kind is not Kind.COULD_NOT_RUN
        for cell in finding.cells or ("",)
        if (cell, answer.head) not in gated
    )


def _finding_case(where: str, head: str, finding: Finding) -> ET.Element:
    case = _case(where, f"{head} {finding.kind}")
    failure = ET.SubElement(case, "failure", type=str(finding.kind))
    failure.set("message", _clean(f"{head}: {finding.fault}"))
    failure.text = _clean(f"{finding.text}\n{finding.advice}")
    return case


def _cases(
    judgement: Judgement, result: CellResult, ungated: Sequence[tuple[str, Finding]]
) -> Iterable[ET.Element]:
    """Yields a test for every gate, and one for all else that a run fails for; one where there is neither."""
    where = f"{result.environment}.{result.device}.{result.pass_.name}"
    if not result.status.ok:
        yield _broken(where, result)
        return
    if result.pass_.mixed:
        yield _case(where, "runs")  # its gates fail no run
        return
    cases = [
        _gate_case(where, name, gate, why)
        for name, gates, why in (
            (WHOLE_NETWORK, result.gates, judgement.network_sentence),
            *((head.head, head.gates, _why(judgement, head)) for head in result.heads),
        )
        for gate in gates
    ]
    cases += [_finding_case(where, head, finding) for head, finding in ungated]
    yield from cases or [_case(where, "runs")]


def _gate_case(where: str, name: str, gate: GateResult, why: str) -> ET.Element:
    case = _case(where, f"{name} {gate.name}")
    if not gate.passed:
        failure = ET.SubElement(case, "failure", type=gate.name)
        failure.set("message", _clean(f"{name}: {gate.text()}"))
        failure.text = _clean(why)
    return case


def _why(judgement: Judgement, head: HeadResult) -> str:
    verdicts = ", ".join(dict.fromkeys(str(verdict.kind) for verdict in head.verdicts))
    return f"verdicts: {verdicts or 'none'}\n{judgement.sentences.get(head.head, '')}"


def _broken(where: str, result: CellResult) -> ET.Element:
    case = _case(where, "runs")
    kind = "skipped" if result.status.never_started else "error"
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
