"""The cells of an experiment: axes → cells, pure; each with the reason where it cannot run."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from trt_matrix.core.cells import Cell, Pass, Precision, Status, TableSource, device_kind
from trt_matrix.core.hosts.gpus import Gpu, expanded

SHIPPED = Pass(precision=Precision.INT8, source=TableSource.SHIPPED)
"""A network that comes quantised, as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """What the plan must know of one environment."""

    environment: str
    devices: frozenset[str]
    """Kinds of device its engine can use: `cpu`, `gpu`."""
    precisions: frozenset[Precision]
    obstacle: Callable[[str], tuple[Status, str] | None]
    """From a device to why nothing can run on it."""
    implicit: bool = False
    """Its engine has calibrators of its own: own tables are theirs, and networks may stay float."""

    recording: "Recording | None" = None
    """What there is of recorded outputs; None where jobs are run."""
    gpus: tuple[Gpu, ...] = ()
    """Those of the machine that it runs on."""
    functions: frozenset[str] = frozenset()
    """Passes that functions of the user's own are there for, as `runner.config.entry_point.ByPass`."""

    def places(self, devices: Sequence[str]) -> Sequence[str]:
        """Returns on which of the experiment's devices it has cells: every GPU that they mean, once.

        Recorded outputs have their own.
        """
        if self.recording:
            return (self.recording.device,)
        usable = [device for device in devices if device_kind(device) in self.devices]
        return expanded(usable, self.gpus)

    def wanted(self, passes: Sequence[Pass]) -> Sequence[Pass]:
        """Returns the passes of the experiment that have a meaning for its engine, or what is recorded."""
        if self.recording:
            return self.recording.passes
        if self.functions:
            return _of_functions(self.functions, passes)
        return [pass_ for pass_ in passes if self.offers(pass_)]

    def offers(self, pass_: Pass) -> bool:
        """Whether a pass has any meaning for its engine."""
        if self.implicit:
            return pass_.implicit or pass_.source is not TableSource.OWN
        return not pass_.implicit


def _of_functions(functions: Collection[str], passes: Sequence[Pass]) -> list[Pass]:
    """Returns the passes that functions are there for: what a function makes of int8 has no table of ours."""
    of_functions = []
    for pass_ in passes:
        qdq = pass_.is_int8 and pass_.source is not TableSource.OWN and not pass_.implicit
        if ("int8-qdq" in functions and qdq) if pass_.is_int8 else pass_.precision in functions:
            of_functions.append(pass_)
    if "int8" in functions and any(pass_.is_int8 for pass_ in passes):
        of_functions.append(Pass(precision=Precision.INT8, source=TableSource.OWN))
    return of_functions


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """Which outputs a program of the user's own wrote, and where it ran."""

    device: str
    passes: tuple[Pass, ...]
    repeats: int


def recordable(engine: str, shared: str | None, calibrators: Sequence[str]) -> Mapping[str, Pass]:
    """Returns what a program's outputs may be called → the pass that they are.

    Passes are called as in cell ids. `int8` is one with a table of the program's own, made nobody
    knows how: by TensorRT's calibrator, where TensorRT is the engine.
    `engine` is `tensorrt` or `onnxruntime`, `shared` the algorithm of the table that all get, and `calibrators` are
    TensorRT's own.
    """
    inside = engine == "tensorrt"
    own = Pass(precision=Precision.INT8, source=TableSource.OWN, implicit=inside)
    every = passes(tuple(Precision), (), shared, calibrators, weights=("per_channel", "per_tensor"))
    usable = [pass_ for pass_ in every if inside or not pass_.implicit]
    return {str(Precision.INT8): own, **{pass_.name: pass_ for pass_ in [*usable, own, SHIPPED]}}


def passes(
    precisions: Sequence[Precision],
    algorithms: Sequence[str],
    shared: str | None,
    calibrators: Sequence[str] = (),
    *,
    shipped: bool = False,
    weights: Sequence[str] = ("per_channel",),
    exclude: Sequence[str] = (),
    mixed: Sequence[str] = (),
) -> tuple[Pass, ...]:
    """Returns the passes of all engines: int8 once with each table.

    A network that comes quantised has one int8 pass: itself. It has it whatever precisions are asked
    for, since it would be nowhere otherwise.
    `algorithms` are those of the job's own calibration, `calibrators` TensorRT's; `shared` is that of the table that all get.
    `weights` is `per_channel`, `per_tensor`, or both: explicit int8 once with each. Explicit int8 keeps the layers
    `exclude` in float, and a pass of its own `mixed` besides.
    """
    if shipped and Precision.INT8 not in precisions:
        precisions = (*precisions, Precision.INT8)
    own = TableSource.OWN
    tables = [] if shared is None else [(TableSource.SHARED, shared)]
    explicit = [
        Pass(
            precision=Precision.INT8,
            source=source,
            algorithm=algorithm,
            per_tensor=scales == "per_tensor",
            exclude=tuple(exclude),
        )
        for scales in weights
        for source, algorithm in (*tables, *((own, name) for name in algorithms))
    ]
    implicit = [
        Pass(precision=Precision.INT8, source=source, algorithm=algorithm, implicit=True)
        for source, algorithm in (*tables, *((own, name) for name in calibrators))
    ]
    int8 = [SHIPPED] if shipped else [*explicit, *implicit]
    every = [
        pass_
        for precision in precisions
        for pass_ in (int8 if precision is Precision.INT8 else [Pass(precision=precision)])
    ]
    return (*every, *mixed_passes(every, mixed))


def mixed_passes(passes: Iterable[Pass], layers: Sequence[str]) -> tuple[Pass, ...]:
    """Returns the passes in which layers are kept in float: one a way to int8, with the shared table.

    Of weights with a scale a channel and with one for all, what stands first.
    """
    ways: dict[bool, Pass] = {}
    for pass_ in passes:
        if pass_.source is TableSource.SHARED and not pass_.mixed and layers:
            kept = tuple(dict.fromkeys((*pass_.exclude, *layers)))
            ways.setdefault(pass_.implicit, replace(pass_, exclude=kept, mixed=True))
    return tuple(ways.values())


def mixed_cells(cells: Iterable[Cell], layers: Mapping[bool, Sequence[str]]) -> tuple[Cell, ...]:
    """Returns the cells that try layers in float: where the same is planned without.

    `layers`: whether int8 is implicit → what is kept in float there.
    """
    planned = tuple(cells)
    wanted = {
        mixed_pass
        for implicit, names in layers.items()
        for mixed_pass in mixed_passes((cell.pass_ for cell in planned), names)
        if mixed_pass.implicit is implicit
    }
    mixed = (
        replace(cell, pass_=pass_)
        for cell in planned
        if cell.recorded is None  # nobody can record it now
        for pass_ in wanted
        if replace(pass_, exclude=cell.pass_.exclude, mixed=False) == cell.pass_
    )
    return tuple({cell.id: cell for cell in mixed}.values())


def hindered(cells: Iterable[Cell], why: Callable[[Cell], str | None]) -> tuple[Cell, ...]:
    """Returns the cells, `unsupported` where `why` gives a reason; what was recorded has run."""
    return tuple(
        replace(cell, obstacle=(Status.UNSUPPORTED, reason))
        if cell.recorded is None and (reason := why(cell))
        else cell
        for cell in cells
    )


def expand(
    axes: Iterable[Axis], devices: Sequence[str], wanted: Sequence[Pass]
) -> tuple[Cell, ...]:
    """Crosses environments with the devices that they can use and with the passes."""
    return tuple(
        Cell(
            environment=axis.environment,
            device=device,
            pass_=pass_,
            obstacle=_unsupported(axis, pass_) or obstacle,
            recorded=axis.recording.repeats if axis.recording else None,
        )
        for axis in axes
        for device in axis.places(devices)
        for obstacle in [axis.obstacle(device)]
        for pass_ in axis.wanted(wanted)
    )


def without_device(axes: Iterable[Axis], devices: Sequence[str]) -> tuple[str, ...]:
    """Returns a sentence for each environment that has no cell, because none of the devices is of its kind."""
    named = ", ".join(devices)
    told = []
    for axis in axes:
        if not axis.places(devices):
            kinds = sorted(axis.devices)
            written = ", ".join("cpu" if kind == "cpu" else '"gpu:*"' for kind in kinds)
            told.append(
                f"{axis.environment} is left out: it runs on {' or '.join(kinds)}, and `devices` has "
                f"{named} alone; add it: `devices: [{named}, {written}]`"
            )
    return tuple(told)


def _unsupported(axis: Axis, pass_: Pass) -> tuple[Status, str] | None:
    if axis.recording or pass_.precision in axis.precisions:
        return None
    offered = ", ".join(sorted(axis.precisions))
    why = f"this engine offers {offered}, not {pass_.precision}"
    if pass_.precision.reduced and "cpu" in axis.devices:
        # It inserts Casts around every layer: what came out would be float32's speed and no kernel's error.
        why += ": on a CPU it would compute in fp32 between conversions, which measures nothing"
    return Status.UNSUPPORTED, why


def select(cells: Iterable[Cell], patterns: Sequence[str]) -> tuple[Cell, ...]:
    """Returns the cells whose id matches one of the globs; all where there is none.

    `*` also matches `/`, so that `ort-1.26*` selects every cell of that environment.
    """
    return tuple(
        cell
        for cell in cells
        if not patterns or any(fnmatchcase(cell.id, pattern) for pattern in patterns)
    )
