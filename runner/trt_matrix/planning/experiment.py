"""matrix.yaml, checked and expanded: what is measured, where, and everything that decides the numbers."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from trt_matrix.config import matrix as configuration
from trt_matrix.config.problems import few
from trt_matrix.config.quantisation import Quantisation
from trt_matrix.config.shared_table import Algorithm, SharedTable
from trt_matrix.config.yaml_file import Document
from trt_matrix.core.boxes.gates import gates_of
from trt_matrix.core.cells import Cell, Status, TableSource
from trt_matrix.core.hosts.gpus import Machine
from trt_matrix.core.metrics import EPSILON
from trt_matrix.core.network import graph
from trt_matrix.core.plan import expand, passes, select, without_device
from trt_matrix.core.qdq.placements import (
    Activations,
    PlacementChoice,
    Preference,
    activations_for,
    rules_of,
)
from trt_matrix.core.records import digest
from trt_matrix.core.tables.table import TableError
from trt_matrix.environments.base import PACKED, Environment
from trt_matrix.environments.factory import (
    axes_of,
    engine_options_of,
    environments_of,
    machines_of,
    reference_environment,
    reference_options,
)
from trt_matrix.environments.machine import processor, program
from trt_matrix.errors import ConfigError, NothingSelectedError
from trt_matrix.execution.inputs import GivenTable, ImageArrays, Network
from trt_matrix.execution.lanes import NamedReference
from trt_matrix.execution.wanted import PassRequests, Settings
from trt_matrix.planning.matrix import Checked, check
from trt_matrix.planning.placing import (
    activation_notes,
    carrier_notes,
    float_layer_notes,
    range_notes,
)
from trt_matrix.planning.tables import PATH, given_table
from trt_matrix.planning.variants import names_problem


@dataclass(frozen=True, slots=True)
class Experiment:
    checked: Checked
    source: Path
    network: Network
    environments: Mapping[str, Environment]
    reference: Environment
    engine_options: Mapping[str, Mapping[str, Any]]
    """environment → options handed to its engine; the reference's are among them."""
    cells: tuple[Cell, ...]
    machines: Mapping[str, Machine]
    """environment → where it runs."""
    given: GivenTable | None = None
    """The shared table, where it is a file's."""
    named: NamedReference | None = None
    """Whose outputs errors are against, where matrix.yaml names one."""
    idle: tuple[str, ...] = ()
    """Why environments have no cell."""
    unselected: int = 0
    """Cells of matrix.yaml that no pattern selects."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before anything runs."""
        return (
            *self.checked.notes,
            *self.idle,
            *((self.named.note,) if self.named else ()),
            *(self.given.notes if self.given else ()),
            *self._placing_notes(),
            *self._form_notes(),
        )

    def _form_notes(self) -> tuple[str, ...]:
        """What is to be known of nodes that only move values, and of those without weights that stay in float."""
        if not self.network.is_float:
            return ()
        # What cannot run here is packed for where it can: what no version of its engine can do is not.
        planned = [
            cell
            for cell in self.cells
            if cell.pass_.source in (TableSource.OWN, TableSource.SHARED)
            and not (cell.obstacle and cell.obstacle[0] is Status.UNSUPPORTED)
            and cell.recorded is None
        ]
        carried = any(
            cell.pass_.implicit and cell.pass_.source is TableSource.SHARED for cell in planned
        )
        model, given = self.checked.model, self.given
        equal = self.checked.config.calibration.carried_equal
        return (
            *(
                range_notes(given.file, model, given.table.amax, equal=equal)
                if given and carried
                else ()
            ),
            *carrier_notes(
                model,
                (
                    (rules_of(self.environments[cell.environment].engine), cell.pass_.exclude)
                    for cell in planned
                    if not cell.pass_.implicit and cell.pass_.exclude
                ),
            ),
        )

    def _placing_notes(self) -> tuple[str, ...]:
        """What is to be known of explicit int8 in ONNX Runtime: its types, and what it computes in float."""
        asked = self.checked.config.quantisation
        choices: dict[tuple[str, str], PlacementChoice] = {}
        for cell in self.cells:
            environment = self.environments[cell.environment]
            if cell.obstacle or cell.recorded or environment.engine != "onnxruntime":
                continue
            if cell.pass_.source not in (TableSource.OWN, TableSource.SHARED):
                continue
            identity = environment.identity()
            packed = identity is not None and identity.facts.get("kind") == PACKED
            machine = self.machines.get(cell.environment, Machine())
            choices[cell.environment, cell.device] = activations_for(
                environment.engine,
                on_cpu=cell.device == "cpu",
                asked=_asked_activations(asked),
                processor=None if packed else machine.processor,
            )
        if not choices:
            return ()
        ends = float_layer_notes(self.checked.model) if asked.outputs == "float" else ()
        return (*activation_notes(choices), *ends)

    def wants(self, data: ImageArrays) -> PassRequests:
        return PassRequests(
            settings=_settings(self.checked, self.machines, self.given),
            network=self.network,
            data=data,
            plugins=self.checked.plugins,
            functions=self.checked.functions,
        )

    @property
    def doubts(self) -> tuple[str, ...]:
        """The same where something is likely wrong."""
        return (*self.checked.doubts, *(self.given.doubts if self.given else ()))

    @property
    def bytes_a_repeat(self) -> int:
        """Size of the outputs of one repeat of one cell."""
        elements = sum(
            math.prod(size for size in info.shape or () if isinstance(size, int))
            for info in graph.outputs(self.checked.model)
            if info.name in dict(self.checked.heads).values()
        )
        return 4 * len(self.checked.evaluation) * elements

    @property
    def images_bytes(self) -> int:
        """Size of all images of both sets as the network takes them."""
        images = len(self.checked.evaluation) + len(self.checked.calibration)
        return 4 * images * math.prod(self.checked.shape)


def read_experiment(
    source: Path,
    patterns: Sequence[str],
    around: Callable[[Environment], Environment] = lambda environment: environment,
) -> Experiment:
    """Reads matrix.yaml and everything it refers to; without `patterns` (globs over cell ids) all cells.

    `around` gives each environment, or another in its place.

    Raises:
        ConfigError: names every problem.
        NothingSelectedError: no cell matches the patterns.
    """
    config, document = configuration.load(source)
    root = source.resolve().parent
    checked = check(config, document, root)
    network = _network(checked, document)
    here = environments_of(config, root, checked.evaluation)
    environments = {name: around(environment) for name, environment in here.items()}
    given = _given(checked, document, network, environments)
    calibration = config.calibration
    wanted = passes(
        config.precisions,
        calibration.algorithms,
        calibration.shared_name,
        calibration.calibrators,
        shipped=network.shipped is not None,
        weights=config.quantisation.all_weights,
        exclude=config.quantisation.exclude,
        mixed=config.quantisation.mixed_layers,
    )
    machines = machines_of(config)
    axes = axes_of(config, environments, machines)
    every = checked.hindered(expand(axes, config.devices, wanted), environments)
    idle = without_device(axes, config.devices)
    # A pattern that matches nothing is a slip, also beside one that does.
    unmatched = [pattern for pattern in patterns if not select(every, [pattern])]
    if unmatched or not every:
        known = (
            f"a cell's id: {every[0].id}; environments: {few(list(environments))}"
            if every
            else "; ".join(idle)
        )
        message = f"no cell matches {' '.join(unmatched) or 'this experiment'}; {known}"
        raise NothingSelectedError(message)
    cells = select(every, patterns)
    named = _named(checked, document, every, here)
    reference = reference_environment()
    return Experiment(
        checked=checked,
        source=source,
        network=network,
        environments=environments,
        reference=reference,
        engine_options={
            **engine_options_of(config),
            **{
                name: function.options(checked.parts)
                for name, function in checked.functions.items()
            },
            reference.name: reference_options(config.engines.onnxruntime.threads),
        },
        cells=cells,
        unselected=len(every) - len(cells),
        machines=machines,
        given=given,
        named=named,
        idle=idle,
    )


def _named(
    checked: Checked,
    document: Document,
    cells: Sequence[Cell],
    here: Mapping[str, Environment],
) -> NamedReference | None:
    """Returns the cell that `reference` names, whichever cells are selected; on the first device that has it.

    `here` are environments as they are on this machine: what is packed to run elsewhere is not the reference.

    Raises:
        ConfigError: there is none, or it cannot run here.
    """
    if checked.reference is None:
        return None
    name, pass_ = checked.reference
    where = document.where(("reference",))
    why = f"{name} has no pass {pass_}; a function has one that `entry_point` names"
    for cell in cells:
        if (cell.environment, cell.pass_.name) != (name, pass_):
            continue
        obstacle = here[name].obstacle(cell.device)
        if cell.obstacle is None and obstacle is None:
            return NamedReference(cell=cell, environment=here[name])
        reason = cell.obstacle[1] if cell.obstacle else obstacle
        why = f"{cell.id} cannot run here: {reason if isinstance(reason, str) or not reason else reason[1]}"
    raise ConfigError(document.source, [f"{where}: {why}"])


def _given(
    checked: Checked,
    document: Document,
    network: Network,
    environments: Mapping[str, Environment],
) -> GivenTable | None:
    """Returns the shared table where it is a file's; none for what comes quantised.

    Raises:
        ConfigError: it is none of this network's.
    """
    if checked.table is None or checked.shipped:
        return None
    engines = {rules_of(environment.engine) for environment in environments.values()}
    variants = [variant.model for variant in network.variants]
    try:
        return given_table(
            checked.config, checked.table, network.model, variants, checked.heads, engines
        )
    except (TableError, graph.GraphError) as error:
        raise ConfigError(document.source, [f"{document.where(PATH)}: {error}"]) from error


def _network(checked: Checked, document: Document) -> Network:
    """Returns the network with its variants.

    Raises:
        ConfigError: no range can be measured in one of them, or their tensors have other names.
    """
    problems = []
    variants = []
    for index, variant in enumerate(checked.variants):
        try:
            variants.append(
                Network(variant.content, variant.model, variant.name, shipped=variant.shipped)
            )
        except graph.GraphError as error:
            problems.append(f"{document.where(('model', 'variants', index))}: {error}")
    name = str(checked.config.model.onnx)
    try:
        network = Network(
            checked.content,
            checked.model,
            name,
            variants,
            checked.uff,
            checked.shipped,
            checked.facts,
        )
    except graph.GraphError as error:
        problems.append(f"{document.where(('model', 'onnx'))}: {error}")
        raise ConfigError(document.source, problems) from error
    if not problems:
        least = checked.config.calibration.coverage
        for index, other in enumerate(variants):
            if problem := names_problem(other.tensors, network.tensors, least):
                where = document.where(("model", "variants", index))
                problems.append(f"{where}: {other.name}: {problem}")
    if problems:
        raise ConfigError(document.source, problems)
    return network


def _settings(
    checked: Checked, machines: Mapping[str, Machine], given: GivenTable | None
) -> Settings:
    config = checked.config
    calibration = config.calibration
    # What came quantised is not quantised a second time; its limit is looked for all the same.
    algorithm = None if isinstance(calibration.shared, SharedTable) else calibration.shared
    least, most = config.repeats_range()
    return Settings(
        input=checked.input,
        heads=checked.heads,
        batch=config.model.batch,
        algorithms={
            name: {"percentile": calibration.percentile} if name == "percentile" else {}
            for name in get_args(Algorithm)
        },
        shared=None if checked.shipped else algorithm,
        given=given,
        transplant=calibration.transplant,
        equal_ranges=calibration.carried_equal,
        coverage=calibration.coverage,
        quantisation=Preference(
            int8_outputs=config.quantisation.outputs == "int8",
            activations=_asked_activations(config.quantisation),
        ),
        repeats=least,
        most_repeats=most,
        timing=config.timing.model_dump(mode="json"),
        deadline_s=config.deadline_s,
        results_bytes=round(config.results_gb * 1e9),
        program=program(),
        host=digest(processor()),
        preprocess=digest(config.data.preprocess.recorded()),
        machines=machines,
        settle=_settle(checked),
    )


def _settle(checked: Checked) -> Mapping[str, Any] | None:
    """Returns what jobs elsewhere are asked in place of outputs; None where these are to travel."""
    gates = gates_of(checked.decode.decode if checked.decode else None)
    if checked.config.keep == "outputs" or gates is None:
        return None
    # As JSON spells it: it is compared with what came back.
    asked = {"epsilon": EPSILON, "gates": [asdict(gate) for gate in gates]}
    return dict(json.loads(json.dumps(asked)))


def _asked_activations(section: Quantisation) -> Activations | None:
    return None if section.activations == "auto" else Activations(section.activations)
