"""Is a ticket what it was when it was made? Reads every byte, believes none."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydantic

from trt_matrix.store.results import sha256_of
from trt_matrix.ticket.archive import Members, opened, refused
from trt_matrix.ticket.content import NAME, TicketContent

MOST_BYTES = 64 << 20
"""Of ticket.json."""


@dataclass(frozen=True, slots=True)
class Verified:
    path: Path
    sha256: str
    """Of the zip: two people who see the same have the same ticket."""
    content: TicketContent

    def text(self) -> str:
        content = self.content
        ready = [cell for cell in content.cells if cell.reproduce]
        lines = [
            f"{self.path}: whole, {len(content.files)} files as they were written",
            f"sha256 {self.sha256}",
            f"run {content.run} by trt-matrix {content.tool}",
            f"{len(ready)} of {len(content.cells)} cells can be run again{':' if ready else ''}",
            *(f"  {cell.cell} ({cell.status})" for cell in ready),
        ]
        if content.stand_in:
            lines.append(content.stand_in.sentence)
        return "\n".join(lines)


def verify(path: Path) -> Verified:
    """Checks every file of a ticket against its manifest.

    Hashes guard against damage and mixing up; they are no signature.

    Raises:
        StoreError: it is no ticket, is harmful, or a file is missing, added or changed; says which.
    """
    with opened(path) as members:
        content = _content(members)
        problems = list(_differences(members, content))
        if problems:
            raise refused(path, problems)
    return Verified(path, sha256_of(path), content)


def unpack(path: Path, folder: Path) -> TicketContent:
    """Unpacks a ticket into `folder` after checking it; raises as `verify` does."""
    content = verify(path).content
    with opened(path) as members:
        members.extract(folder)
    return content


def _content(members: Members) -> TicketContent:
    if NAME not in members.names:
        raise refused(members.path, [f"it has no {NAME}: it is no ticket of trt-matrix"])
    try:
        return TicketContent.model_validate_json(members.read(NAME, MOST_BYTES))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        problem = f"{NAME} is damaged, or of another version ({where}: {first['msg']})"
        raise refused(members.path, [problem]) from error


def _differences(members: Members, content: TicketContent) -> Iterator[str]:
    names = members.names - {NAME}
    for name in sorted(content.files.keys() - names):
        yield f"{name!a:.200} is missing"
    for name in sorted(names - content.files.keys()):
        yield f"{name!a:.200} was added"
    for name in sorted(names & content.files.keys()):
        stated = content.files[name]
        if members.size(name) != stated.size_bytes or members.sha256(name) != stated.sha256:
            yield f"{name!a:.200} was changed"
