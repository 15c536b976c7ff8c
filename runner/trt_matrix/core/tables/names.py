"""Whose tensor is whose: names of a table that another exporter made, brought to the network's; pure.

Exporters put a scope before all names (`yolov3/conv1`) or an output's number behind them (`conv1:0`,
`conv1_output_0`). Such a pair is found where one and the same covers what is missing. Else names are looked for
among those of nodes (`node_names`); what is left needs a map of the user's own.
"""

import difflib
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trt_matrix.core.tables.coverage import enough
from trt_matrix.core.words import listed

SAMPLED = 48
"""Names that candidates are looked for in."""
LONGEST = 150
"""Characters of a name in which candidates are looked for."""
LEAST_NAMES = 4
"""Fewer that agree may agree by chance."""
TRIED = 24
"""Candidates that are tried, the most frequent first."""
RIVAL = 0.5
"""Another candidate that maps more than this share of the names otherwise makes it ambiguous."""
LIKE = 0.7
"""Share of two names that is alike (difflib), from which on one may be meant by the other."""
NEAREST = 5
"""Names that are told with the one that is nearest."""
OUTPUTS = (":0", "_output_0", "_output")
"""What exporters put behind a node's name to name its first output."""
FUSED = " + "
"""Between the nodes of a fused layer in TensorRT's names; it gives out what the last one does."""


@dataclass(frozen=True, order=True, slots=True)
class Affixes:
    """What their names have and ours have not, and the other way round."""

    theirs: tuple[str, str] = ("", "")
    """Prefix and suffix that go."""
    ours: tuple[str, str] = ("", "")
    """Prefix and suffix that come."""

    def __str__(self) -> str:
        parts = [
            f"{what} {text!r} {done}"
            for pair, done in ((self.theirs, "taken off"), (self.ours, "put on"))
            for what, text in zip(("prefix", "suffix"), pair, strict=True)
            if text
        ]
        return listed(parts)

    def ours_of(self, name: str) -> str | None:
        """Returns our name of a tensor of theirs, None where it has not these affixes."""
        prefix, suffix = self.theirs
        core = name[len(prefix) : len(name) - len(suffix)]
        if not core or not name.startswith(prefix) or not name.endswith(suffix):
            return None
        if len(prefix) + len(suffix) >= len(name) or _cuts_a_number(prefix, core, suffix):
            return None
        before, after = self.ours
        return None if _cuts_a_number(before, core, after) else f"{before}{core}{after}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """How the names of a table become the network's."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Theirs → ours, of those that are called otherwise."""
    affixes: Affixes | None = None
    """What was found; None where names are alike, mapped by the user, or nothing fits."""
    by_nodes: bool = False
    """Whether their names, without the affixes, are those of nodes."""
    unmapped: tuple[str, ...] = ()
    """Our tensors without one of theirs."""
    unknown: tuple[str, ...] = ()
    """Theirs that are none of ours."""
    nearest: Mapping[str, str] = field(default_factory=dict)
    """Of the first of these, the unknown name of theirs that is most like it."""
    problems: tuple[str, ...] = ()
    """What is wrong with the user's map."""

    def advice(self) -> str:
        """Returns what to do about the tensors that stay unmapped."""
        said = [f"{theirs!r} may be {ours!r}" for ours, theirs in self.nearest.items()]
        like = f" ({'; '.join(said)})" if said else ""
        return f"say in matrix.yaml which is which, `names: {{theirs: ours}}` beside `table`{like}"


def naming(
    theirs: Sequence[str],
    ours: Sequence[str],
    given: Mapping[str, str],
    least: float,
    others: Sequence[Mapping[str, str]] = (),
) -> Naming:
    """Brings the names of a table to those of a network.

    Args:
        theirs: Of the table, each once.
        ours: Tensors of the network that need a range, each once.
        given: The user's map, theirs → ours; goes before all else.
        least: Least share of `ours` that must be known for affixes, or names of nodes, to be taken:
            `calibration.coverage`.
        others: Other names of our tensors, the surest first: `node_names.other_names`.
    """
    known, there = frozenset(ours), frozenset(theirs)
    mapped = {name: tensor for name, tensor in given.items() if name in there and tensor in known}
    taken = frozenset(mapped.values())
    exact = {name for name in theirs if name in known and name not in mapped and name not in taken}
    missing = [tensor for tensor in ours if tensor not in taken and tensor not in exact]
    unknown = [name for name in theirs if name not in known and name not in mapped]
    affixes = _affixes(unknown, missing, len(ours), least)
    by_nodes = False
    renamed = _renamed(affixes, unknown, frozenset(missing)) if affixes else {}
    if not affixes and others and unknown and missing:
        affixes, renamed = _by_nodes(unknown, missing, others, len(ours), least)
        by_nodes = bool(renamed)
    if renamed:
        mapped |= renamed
        taken = frozenset(renamed.values())
        missing = [tensor for tensor in missing if tensor not in taken]
        unknown = [name for name in unknown if name not in renamed]
    return Naming(
        names={name: tensor for name, tensor in mapped.items() if name != tensor},
        affixes=affixes,
        by_nodes=by_nodes,
        unmapped=tuple(missing),
        unknown=tuple(unknown),
        nearest=_nearest(missing, unknown),
        problems=tuple(_problems(given, there, ours)),
    )


def _affixes(
    unknown: Sequence[str], missing: Sequence[str], wanted: int, least: float
) -> Affixes | None:
    """Returns what one and the same of maps as many names as are needed; None where nothing does, or two do."""
    wants = frozenset(missing)
    tried: dict[Affixes, Mapping[str, str]] = {}
    for candidate in _candidates(unknown, missing):
        tried[candidate] = _renamed(candidate, unknown, wants)
    ranked = sorted(tried, key=lambda affixes: (-len(tried[affixes]), len(str(affixes)), affixes))
    best = next(iter(ranked), None)
    if best is None:
        return None
    mapped = tried[best]
    # All that is called otherwise, where what is called alike is not enough by itself.
    if len(mapped) < LEAST_NAMES or not enough(wanted - len(missing) + len(mapped), wanted, least):
        return None
    for other in ranked[1:]:
        otherwise = sum(mapped.get(name) != ours for name, ours in tried[other].items())
        if otherwise > RIVAL * len(mapped):
            return None
    return best


def _by_nodes(
    unknown: Sequence[str],
    missing: Sequence[str],
    others: Sequence[Mapping[str, str]],
    wanted: int,
    least: float,
) -> tuple[Affixes | None, dict[str, str]]:
    """Returns theirs → ours by the names of nodes as they stand, else by those and one pair of affixes.

    Nothing where it is not enough: a few names that agree may be those of other layers.
    """
    there = wanted - len(missing)
    wants = frozenset(missing)
    mapped: dict[str, str] = {}
    for tier in others:
        left = wants - frozenset(mapped.values())
        pairs = [(name, _means(name, tier)) for name in unknown if name not in mapped]
        often = Counter(tensor for _, tensor in pairs if tensor in left)
        # Two names of one tensor: whose range is right, nobody knows.
        mapped |= {name: tensor for name, tensor in pairs if tensor and often[tensor] == 1}
    if mapped and enough(there + len(mapped), wanted, least):
        return None, mapped
    nodes = {name: tensor for tier in reversed(others) for name, tensor in tier.items()}
    surest = {tensor: name for name, tensor in nodes.items() if tensor in wants}
    names = list(surest.values())
    affixes = _affixes(unknown, names, there + len(names), least) if names else None
    if affixes is None:
        return None, {}
    renamed = _renamed(affixes, unknown, frozenset(names))
    if not enough(there + len(renamed), wanted, least):
        return None, {}
    return affixes, {theirs: nodes[name] for theirs, name in renamed.items()}


def _means(name: str, nodes: Mapping[str, str]) -> str | None:
    """Returns our tensor that a name of theirs means, after its node or the last one of a fused layer."""
    tensor = None
    for part in name.split(FUSED):
        cores = _without_output(part.strip())
        tensor = next((nodes[core] for core in cores if core in nodes), None)
        if tensor is None:
            return None
    return tensor


def _without_output(name: str) -> Iterator[str]:
    yield name
    for suffix in OUTPUTS:
        if name.endswith(suffix):
            yield name.removesuffix(suffix)


def _renamed(affixes: Affixes, unknown: Sequence[str], wants: Collection[str]) -> dict[str, str]:
    pairs = ((name, affixes.ours_of(name)) for name in unknown)
    return {name: tensor for name, tensor in pairs if tensor is not None and tensor in wants}


def _candidates(unknown: Sequence[str], missing: Sequence[str]) -> Sequence[Affixes]:
    """Returns the affixes that bring most sampled names together, the most frequent first."""
    votes: Counter[Affixes] = Counter()
    wants, there = frozenset(missing), frozenset(unknown)
    cores = {core: pair for pair, core in _cores(missing)}
    for name in _sampled(unknown):
        for prefix, core, suffix in _parts(name):
            if core in wants:
                votes[Affixes(theirs=(prefix, suffix))] += 1
            if core in cores:
                votes[Affixes(theirs=(prefix, suffix), ours=cores[core])] += 1
    for name in _sampled(missing):
        for prefix, core, suffix in _parts(name):
            if core in there:
                votes[Affixes(ours=(prefix, suffix))] += 1
    return [affixes for affixes, _ in votes.most_common(TRIED)]


def _cores(missing: Sequence[str]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yields our names without what exporters add, with what that is."""
    for name in missing:
        for prefix in ("", "/"):
            for suffix in ("", *OUTPUTS):
                core = name.removeprefix(prefix).removesuffix(suffix)
                if core and (prefix or suffix) and f"{prefix}{core}{suffix}" == name:
                    yield (prefix, suffix), core


def _sampled(names: Sequence[str]) -> Sequence[str]:
    step = max(1, len(names) // SAMPLED)
    return [name for name in names[::step] if len(name) <= LONGEST]


def _parts(name: str) -> Iterator[tuple[str, str, str]]:
    """Yields (prefix, core, suffix) of a name, all but the whole."""
    for start, end in itertools.combinations(range(len(name) + 1), 2):
        if end - start < len(name):
            yield name[:start], name[start:end], name[end:]


def _cuts_a_number(prefix: str, core: str, suffix: str) -> bool:
    """Whether an affix ends amid digits: 1187 is no 187 with a prefix."""
    return (prefix[-1:].isdigit() and core[:1].isdigit()) or (
        core[-1:].isdigit() and suffix[:1].isdigit()
    )


def _nearest(missing: Sequence[str], unknown: Sequence[str]) -> dict[str, str]:
    # Numbers are as like as they are unlike.
    words = [name for name in unknown if len(name) <= LONGEST and not name.isdigit()][:2000]
    nearest: dict[str, str] = {}
    for name in [tensor for tensor in missing if not tensor.isdigit()][:TRIED]:
        like = difflib.get_close_matches(name[:LONGEST], words, 1, LIKE)
        if like and len(nearest) < NEAREST:
            nearest[name] = like[0]
    return nearest


def _problems(
    given: Mapping[str, str], there: Collection[str], ours: Sequence[str]
) -> Iterator[str]:
    known = frozenset(ours)
    for name, tensor in given.items():
        if name not in there:
            yield f"`names` has {name!r}, which the table does not{_like(name, sorted(there))}"
        elif tensor not in known:
            yield f"`names` maps {name!r} to {tensor!r}, which is no tensor that needs a range{_like(tensor, ours)}"


def _like(name: str, others: Sequence[str]) -> str:
    like = difflib.get_close_matches(name[:LONGEST], others[:2000], 1)
    return f": did you mean {like[0]!r}?" if like else ""
