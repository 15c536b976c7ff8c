"""The two ways of `trt-matrix migrate`: what is asked for → files that were checked, and a report."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from trt_matrix.commands.migration import files
from trt_matrix.commands.migration.simulating import MigrationImages, SimulationError, ran
from trt_matrix.commands.migration.sources import Source, images_of, made_up, source_of
from trt_matrix.core.migration.to_cache import ToCache, to_cache
from trt_matrix.core.migration.to_qdq import ToQdq, to_qdq
from trt_matrix.core.migration.tracing import TensorFate
from trt_matrix.core.network import graph
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import TENSORRT, PlacementOptions, simulation_of
from trt_matrix.core.shipped.quantisation import quantisation_of
from trt_matrix.core.shipped.stripping import stripped
from trt_matrix.core.tables.forms import ReadTable
from trt_matrix.core.tables.mistakes import FarAbove, Mistake, compared, far_above, mistake
from trt_matrix.core.tables.table import TableError
from trt_matrix.core.tables.trt_cache import Header
from trt_matrix.core.words import count, verb
from trt_matrix.errors import ConfigError
from trt_matrix.execution.progress import Stage, untold

FLOAT, WRITTEN, OTHER, TABLE = "float", "migrated", "other-placement", "table"
MOST_IMAGES = 64
LEAST_FOR_RANGES = 4
"""Images from which on their ranges say something of a table."""
MOST_UNKNOWN = 0.5
"""Share of a table's names that are no tensors, from which on it seems another network's."""
UNNAMED = "_migrated.onnx"


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationWish:
    """What the command line asks for."""

    table: Path
    output: Path
    model: Path | None = None
    config: Path | None = None
    names: Path | None = None
    force: bool = False
    check: Path | None = None
    no_check: bool = False
    images: int = MOST_IMAGES
    unified_scales: bool = False
    exclude: Sequence[str] = ()
    header: Header | None = None
    """Of a cache that is to be written."""
    partial: bool = False
    """Whether a cache may lack tensors that the network quantises as no table can."""
    network: Path | None = None
    """Where the float network of a cache is to be written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkComparison:
    """Networks run on the host, in exact float32."""

    images: MigrationImages
    sqnr_db: Mapping[str, float | None]
    """Head → of the network that was written, against the float one."""
    other_db: Mapping[str, float | None] | None
    """The same of the other placement; None where both are one."""
    table_db: float | None
    """Least agreement of any head with the simulation of the table that verdicts use; None where equal to
    the last bit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A table against the ranges that the float network has on images."""

    why_not: str | None = None
    """Why it was not held against any; None where it was."""
    tensors: int = 0
    """Of the table, with a range there."""
    mistake: Mistake | None = None
    far_above: Sequence[FarAbove] = ()
    """Ranges that layers use, far above all that was seen; not looked for where the whole table is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MigratedToQdq:
    """What was written, and how it compares."""

    wish: MigrationWish
    source: Source
    table: ReadTable
    made: ToQdq
    other: ToQdq | None
    """With unified scales, where they were not asked for, and apart, where they were; None where alike."""
    compared: NetworkComparison | None
    loaded: bool
    """Whether ONNX Runtime runs it here."""
    held: Held
    names: Mapping[str, str]
    """The user's own map: names of the table → the network's."""
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MigratedToCache:
    """What was written."""

    wish: MigrationWish
    table: ReadTable
    made: ToCache
    float_network: str
    """Where the float network comes from."""
    weights: int
    """Layers whose weights the network quantises."""
    warnings: Sequence[str] = field(default=())


def migrate_to_qdq(wish: MigrationWish, stage: Stage = untold) -> MigratedToQdq:
    """Makes a Q/DQ network of a table, checks it, and writes it.

    Raises:
        ConfigError: something given is wrong, or the result does not run; nothing is written then.
    """
    files.refuse_existing(wish.output, force=wish.force)
    table = files.table_of(wish.table)
    source = source_of(wish.model, wish.config)
    read = (wish.table, source.path, wish.names, source.matrix)
    files.refuse_overwriting([wish.output], read)
    names = files.names_of(wish.names) if wish.names else source.names_of(wish.table)
    if (shipped := quantisation_of(source.model)) is not None and shipped.anything:
        message = f"{shipped.sentence()}; a table goes into the float network: name that"
        raise ConfigError(str(source.path), [message])
    options = replace(TENSORRT, unified_scales=wish.unified_scales, exclude=frozenset(wish.exclude))
    stage("placing", wish.output.name)
    try:
        migrated = _made(source, table, names, options)
        joins = migrated.avoided if wish.unified_scales else migrated.requantised
        flipped = replace(options, unified_scales=not wish.unified_scales)
        other = _made(source, table, names, flipped) if joins else None
        onnx.checker.check_model(migrated.model, full_check=True)
        simulated = place(source.model, migrated.table, simulation_of(options)).model
    except (graph.GraphError, TableError) as error:
        raise ConfigError(str(wish.table), [f"{source.path}: {error}"]) from error
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        message = f"the Q/DQ network made of it is not valid ({reason}): is the float one?"
        raise ConfigError(str(source.path), [message]) from error
    content = _content(migrated.model, wish.output)
    comparison, warnings = None, [*migrated.naming.problems, *_strange(migrated, source)]
    with tempfile.TemporaryDirectory(prefix="trt-matrix-migrate-") as name:
        folder = Path(name)
        images = None if wish.no_check else images_of(source, wish.check, wish.images, folder)
        held = Held(why_not=_not_asked(wish, images))
        file = folder / UNNAMED
        file.write_bytes(content)
        try:
            # By itself first: what cannot be compared may run all the same.
            with ran({WRITTEN: file}, source.heads, made_up(source, folder), stage=stage):
                pass
            if images is not None:
                networks: dict[str, onnx.ModelProto | Path] = {FLOAT: source.model, WRITTEN: file}
                networks[TABLE] = simulated
                networks |= {OTHER: other.model} if other else {}
                try:
                    comparison, held = _compared(networks, source, images, table, migrated, stage)
                except SimulationError as error:
                    held = Held(why_not=f"nothing could be compared: {error}")
            loaded = True
        except SimulationError as error:
            custom = graph.custom_operators(source.model)
            if not custom:
                message = (
                    f"the Q/DQ network made of it does not run here, and is not written: {error}"
                )
                raise ConfigError(str(source.path), [message]) from error
            loaded = False
            held = Held(
                why_not=f"ONNX Runtime has no operator {custom[0].operator!r} ({custom[0].domain}), and so cannot "
                "run the network here: it was checked, and neither loaded nor compared"
            )
    files.write(wish.output, content, force=wish.force)
    return MigratedToQdq(
        wish=wish,
        source=source,
        table=table,
        made=migrated,
        other=other,
        compared=comparison,
        loaded=loaded,
        held=held,
        names=names,
        warnings=warnings,
    )


def _strange(migrated: ToQdq, source: Source) -> Sequence[str]:
    """Returns that a table seems another network's, where most of its names are no tensors of this one."""
    # What TensorRT's parsers add themselves is in no ONNX file.
    names = [tensor for tensor in migrated.tensors if tensor.fate is not TensorFate.PARSER]
    unknown = migrated.with_fate(TensorFate.UNKNOWN)
    if len(unknown) <= MOST_UNKNOWN * len(names):
        return ()
    return (
        f"{len(unknown)} of the table's {count(len(names), 'name')} are no tensors of {source.path}: it seems "
        "another network's table; of another exporter's, a --map file says which name is which",
    )


def _not_asked(wish: MigrationWish, images: MigrationImages | None) -> str | None:
    if wish.no_check:
        return "--no-check was said"
    return None if images else "no images were given (--check IMAGES, or matrix.yaml)"


def _made(
    source: Source, table: ReadTable, names: Mapping[str, str], options: PlacementOptions
) -> ToQdq:
    return to_qdq(
        source.model, table, source.heads, names=names, least=source.coverage, options=options
    )


def _compared(
    networks: Mapping[str, onnx.ModelProto | Path],
    source: Source,
    images: MigrationImages,
    table: ReadTable,
    migrated: ToQdq,
    stage: Stage,
) -> tuple[NetworkComparison, Held]:
    few = images.count < LEAST_FOR_RANGES
    ranges_of = None if few else source.model
    with ran(networks, source.heads, images, ranges_of=ranges_of, stage=stage) as done:
        agreement = [db for db in done.sqnr_db(WRITTEN, TABLE).values() if db is not None]
        comparison = NetworkComparison(
            images=images,
            sqnr_db=done.sqnr_db(WRITTEN, FLOAT),
            other_db=done.sqnr_db(OTHER, FLOAT) if OTHER in networks else None,
            table_db=min(agreement, default=None),
        )
        if few:
            counted = count(images.count, "image")
            return comparison, Held(
                why_not=f"{counted} {verb('is', [''] * images.count)} too few: {LEAST_FOR_RANGES} are the least"
            )
        return comparison, _held(table, migrated, done.ranges)


def _held(table: ReadTable, migrated: ToQdq, ranges: Sequence[Mapping[str, float]]) -> Held:
    values = table.renamed(migrated.naming.names).values
    tensors = compared(values, ranges)
    if not tensors:
        why_not = "no range in it can be used" if values else "it has no ranges"
        return Held(why_not=f"{why_not}, of tensors that have one on these images")
    wrong = mistake(values, ranges, scales=table.form.scales)
    used = {traced.tensor for traced in migrated.with_fate(TensorFate.USED)}
    return Held(
        tensors=tensors,
        mistake=wrong,
        far_above=()
        if wrong and wrong.sure
        else far_above({name: values[name] for name in values if name in used}, ranges),
    )


def _content(model: onnx.ModelProto, target: Path) -> bytes:
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except ValueError as error:  # "exceeds maximum protobuf size"
        message = "with its scales the network has 2 GB or more, which no ONNX file can hold"
        raise ConfigError(str(target), [message]) from error


def migrate_to_cache(wish: MigrationWish, stage: Stage = untold) -> MigratedToCache:
    """Writes the scales of a Q/DQ network as a calibration cache.

    Raises:
        ConfigError: something given is wrong, or the network quantises what no cache can say.
    """
    assert wish.header is not None  # noqa: S101 - the command line has seen to it
    outputs = [wish.output, *([wish.network] if wish.network else [])]
    for path in outputs:
        files.refuse_existing(path, force=wish.force)
    files.refuse_overwriting(outputs, (wish.table, wish.model, wish.names))
    table = files.table_of(wish.table)
    if table.unusable and not wish.partial:
        shown = [f"{name!r}: {why}" for name, why in list(table.unusable.items())[:20]]
        more = len(table.unusable) - len(shown)
        problems = [*shown, *([f"and {more} more"] if more > 0 else [])]
        problems.append("a cache cannot say that; --partial writes the others and leaves these out")
        raise ConfigError(str(wish.table), problems)
    stage("reading", wish.table.name)
    # Where the float network is named, nothing of this one is needed but its scales.
    given = (files.unchecked_network_of if wish.model else files.network_of)(wish.table)
    shipped = quantisation_of(given)
    names = files.names_of(wish.names) if wish.names else {}
    warnings: list[str] = []
    try:
        if wish.model is not None:
            model, called = files.network_of(wish.model), str(wish.model)
        else:
            bare = stripped(given)
            model, called = bare.model, f"{wish.table}, its quantisation taken out"
            if bare.rounded and wish.network:
                warnings.append(
                    f"{bare.rounded} of its weights were integers: the float network has the values that those "
                    "stand for, rounded once"
                )
        migrated = to_cache(table, model, wish.header, names=names, least=0.5)
    except graph.GraphError as error:
        hint = "" if wish.model else "; name the float network with --model"
        raise ConfigError(str(wish.model or wish.table), [f"{error}{hint}"]) from error
    except TableError as error:
        raise ConfigError(str(wish.table), [str(error)]) from error
    if wish.network:
        files.write(wish.network, _content(model, wish.network), force=wish.force)
    files.write(wish.output, migrated.text.encode("utf-8", "surrogateescape"), force=wish.force)
    return MigratedToCache(
        wish=wish,
        table=table,
        made=migrated,
        float_network=called,
        weights=shipped.weights if shipped else 0,
        warnings=[*migrated.naming.problems, *warnings],
    )
