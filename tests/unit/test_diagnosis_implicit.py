"""What implicit builds lose beyond their tables: on recorded H200 builds, and on made ones that must not fool it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from PIL import Image

from tests.unit import diagnoses, h200
from tests.unit import small_networks as networks
from trt_matrix.containers.job.reductions import compare
from trt_matrix.core.diagnosis.carried import carried, implicit
from trt_matrix.core.diagnosis.engine_loss import SeenBuild, by_position
from trt_matrix.core.diagnosis.quantisers import quantised
from trt_matrix.core.diagnosis.record import EngineLoss
from trt_matrix.core.layers.choices import Choice
from trt_matrix.core.layers.engine_layers import EngineLayer
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.metrics import Sums
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.network_map import network_map
from trt_matrix.core.qdq.options import TENSORRT
from trt_matrix.core.records import Record, StoredObject
from trt_matrix.core.tables.table import from_json
from trt_matrix.diagnosis.from_run import builds_of
from trt_matrix.diagnosis.implicit import engine_loss
from trt_matrix.diagnosis.simulator import Simulator
from trt_matrix.diagnosis.subject import Builds, ImplicitBuild, Subject
from trt_matrix.diagnosis.summary import engine_loss_lines
from trt_matrix.store.results import Store

RESIZINGS = ("neck16/upsample/Resize", "neck8/upsample/Resize")
IMAGES = 6

HELD = ("trt-8.5.1.7-held", "trt-8.6.0-held")
EQUAL_BUILDS = 6
"""Builds with the minmax table, in which the ranges around a resizing are equal."""


# Recorded on H200s


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., EngineLoss | None]:
    """From cells that are left out to what the other recorded builds are found to lose."""
    folder = tmp_path_factory.mktemp("recorded")
    manifest = Manifest.model_validate_json((h200.DATA / "manifest.json").read_bytes())
    every = [
        Record.model_validate(content)
        for content in json.loads((h200.DATA / "records.json").read_text())
    ]
    sums: Mapping[str, Sums] = dict(np.load(h200.DATA / "sums.npz"))
    layers = json.loads((h200.DATA / "layers.json").read_text())
    model = canonical(onnx.load(h200.ROOT / "demo" / "digits3.onnx"))
    files = sorted((h200.DATA / "tables").glob("*.json"))
    tables = {file.stem: from_json(file.read_text()) for file in files}
    assert manifest.asked
    network = network_map(model, manifest.asked.heads)

    def layers_of(stored: StoredObject) -> list[EngineLayer]:
        told = layers[stored.sha256]
        return [EngineLayer(tensors=tuple(names), precision=one) for names, one in told]

    def found(*without: str, told: bool = True) -> EngineLoss | None:
        assert manifest.asked
        builds = builds_of(
            manifest,
            [record for record in every if not any(part in record.cell for part in without)],
            tables,
            network,
            layers_of if told else lambda _: None,
            lambda y, r: sums[f"{y.sha256}-{r.sha256}"],
        )
        assert builds
        subject = replace(
            diagnoses.subject(diagnoses.three_heads(), folder),
            model=model,
            heads=manifest.asked.heads,
            table=tables["17bc48c1f460"],
            options=TENSORRT,
            images=_demo_images(),
            files=tuple(map(str, range(IMAGES))),
            builds=builds,
        )
        return engine_loss(subject, range(IMAGES), Store(folder / "results"), lambda _: None)

    return found


def _demo_images() -> npt.NDArray[np.float32]:
    files = sorted((h200.ROOT / "demo/images/evaluation").glob("*.jpg"))[:IMAGES]
    pixels = np.stack([np.asarray(Image.open(file), np.float32) for file in files])
    return pixels.transpose(0, 3, 1, 2) * np.float32(0.00392156862745098)


def test_the_set_that_was_found_by_hand_is_found_before_anything_was_held(
    recorded: Callable[..., EngineLoss | None],
) -> None:
    loss = recorded(*HELD)
    assert loss
    assert loss.why == "integers given on"
    assert loss.layers == RESIZINGS
    assert loss.heads == ("small", "medium")
    assert loss.elsewhere
    assert loss.elsewhere.fp32_layers == f"fp32_layers: {json.dumps(list(RESIZINGS))}"
    assert "has to prove it" in loss.sentence
    assert f"{EQUAL_BUILDS} builds with equal ranges lost nothing" in loss.sentence


def test_every_recorded_build_keeps_what_is_simulated(
    recorded: Callable[..., EngineLoss | None],
) -> None:
    """Nothing is fitted: 26 builds of three versions with four tables, on the same images."""
    loss = recorded()
    assert loss
    assert sum(len(way.cells) for way in loss.ways) == 26
    lost = 0
    for way in loss.ways:
        for head, kept in way.measured_db.items():
            simulated, qdq = way.given_on_db[head], way.qdq_db[head]
            assert simulated is not None
            assert qdq is not None
            for one in kept:
                assert one is not None
                # What a builder leaves in float beside it keeps more than is simulated, never less.
                assert -0.1 < one - simulated < 1.3
                if simulated < qdq - 1:
                    lost += 1
                    assert one == pytest.approx(simulated, abs=0.1)
    assert lost == 19


def test_that_it_was_held_and_measured_is_told(recorded: Callable[..., EngineLoss | None]) -> None:
    loss = recorded()
    assert loss
    assert loss.layers == RESIZINGS
    assert "8 builds that held them kept" in loss.sentence
    assert "has to prove" not in loss.sentence
    text = "\n".join(engine_loss_lines(loss))
    assert "neck16/upsample/Resize" in text
    assert "0.667" in text


@pytest.mark.parametrize("told", [True, False], ids=["layers told", "layers not told"])
def test_one_version_that_never_chose_otherwise_is_enough(
    recorded: Callable[..., EngineLoss | None], told: bool
) -> None:
    """No two of its builds differ, so nothing can be seen by comparing builds."""
    loss = recorded(*HELD, "8.5.", "own", "ort", told=told)
    assert loss
    assert [way.in_int8 for way in loss.ways] == [RESIZINGS]
    assert loss.layers == RESIZINGS
    assert "not measured here" in loss.sentence


def test_builds_that_lose_nothing_are_not_told_of(
    recorded: Callable[..., EngineLoss | None],
) -> None:
    assert recorded("entropy") is None, "minmax builds ran both in int8"
    assert recorded("trt-8.5.1.7/", "trt-8.5.3.1", "trt-8.6.0/") is None, "held"


# Made


def subject(folder: Path, factor: float) -> Subject:
    """A detector whose resizing has an output range of `factor` times its input's; outputs in float."""
    model = canonical(networks.detector())
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    data = np.random.default_rng(5).normal(0, 1, (6, *shape[1:])).astype("f4")
    made = diagnoses.subject(model, folder, options=TENSORRT, data=data)
    resize = next(node for node in model.graph.node if node.op_type == "Resize")
    source, target = resize.input[0], resize.output[0]
    amax = {**made.table.amax, target: made.table.amax[source] * factor}
    return replace(made, table=replace(made.table, amax=amax))


def build(
    one: Subject, errors: Mapping[str, float], *, fp32: tuple[str, ...] = ()
) -> ImplicitBuild:
    """A build that kept so many dB of each head on every image."""
    network = network_map(one.model, one.heads)
    sums = {}
    for head, db in errors.items():
        reference = np.ones((len(one.images), 100), np.float32)
        noise = np.float32(10 ** (-db / 20))
        sums[head] = compare(reference + noise, reference, 1e-3)
    return ImplicitBuild(
        cell="trt/gpu:0/int8-implicit-own-entropy2",
        table=one.table,
        table_name="its own",
        options=one.options,
        ran={layer.name: "fp32" if layer.name in fp32 else "int8" for _, layer in network.layers},
        held=frozenset(),
        sums=sums,
    )


def simulated(one: Subject, *, given_on: bool) -> dict[str, float]:
    """Returns what each head keeps, over all images."""
    found = quantised(one.model, one.table, one.options)
    simulator = Simulator(found, [tensor for _, tensor in one.heads])
    state = implicit(found, one.table, carried(found, one.table)) if given_on else found.state
    result = {}
    for head, tensor in one.heads:
        error = energy = 0.0
        for index in range(len(one.images)):
            real = simulator.run(one.image(index), type(state)())[tensor]
            error += float(((simulator.run(one.image(index), state)[tensor] - real) ** 2).sum())
            energy += float((real**2).sum())
        result[head] = -10 * np.log10(error / energy)
    return result


def asked(
    one: Subject, *builds: ImplicitBuild, choices: tuple[Choice, ...] = ()
) -> EngineLoss | None:
    network = network_map(one.model, one.heads)
    one = replace(one, builds=Builds(network=network, built=builds, choices=choices))
    store = Store(one.folder / "results")
    return engine_loss(one, range(len(one.images)), store, lambda _: None)


def test_a_loss_that_resizing_does_not_explain_is_not_put_on_it(tmp_path: Path) -> None:
    """Half of what giving on would lose, twice as much, or a loss where both ranges are equal."""
    one = subject(tmp_path, 0.6)
    qdq, given = simulated(one, given_on=False), simulated(one, given_on=True)
    (head,) = [name for name in qdq if qdq[name] - given[name] > 4]
    assert asked(one, build(one, qdq)) is None
    loss = asked(one, build(one, given))
    assert loss
    assert loss.why == "integers given on"
    assert loss.heads == (head,)
    for away in (0.5, 2.0):
        errors = {**qdq, head: qdq[head] - away * (qdq[head] - given[head])}
        other = asked(one, build(one, errors))
        assert other
        assert other.why == "position"
        assert "suspicion" in other.sentence
    equal = subject(tmp_path, 1.0)
    kept = simulated(equal, given_on=False)
    other = asked(equal, build(equal, {**kept, head: kept[head] - 6}))
    assert other
    assert other.why == "position"
    # A resizing that ran in floating point gives on nothing.
    resize = next(node.name for node in one.model.graph.node if node.op_type == "Resize")
    other = asked(one, build(one, given, fp32=(resize,)))
    assert other
    assert resize not in other.layers


@pytest.mark.parametrize("kept", [np.nan, 0.0], ids=["NaN", "nothing to be held against"])
def test_what_no_number_of_decibels_tells_is_not_put_on_resizings(
    tmp_path: Path, kept: float
) -> None:
    one = subject(tmp_path, 0.6)
    built = build(one, simulated(one, given_on=False))
    head = one.heads[-1][0]
    reference = np.full((len(one.images), 100), 0.0 if kept == 0 else 1.0, np.float32)
    broken = compare(np.full_like(reference, kept or 1.0), reference, 1e-3)
    assert asked(one, replace(built, sums={**built.sums, head: broken})) is None


def test_where_builds_differ_by_another_layer_that_is_told(tmp_path: Path) -> None:
    one = subject(tmp_path, 1.0)
    qdq = simulated(one, given_on=False)
    head = one.heads[-1][0]
    choice = Choice(
        head=head, layers=("some/Add",), worse_db=(9.0,), better_db=(20.0, 21.0), tables=1
    )
    loss = asked(one, build(one, {**qdq, head: 9.0}), build(one, qdq), choices=(choice,))
    assert loss
    assert loss.why == "builds differ"
    assert loss.layers == ("some/Add",)
    assert "has to prove it" in loss.sentence


def test_position_clears_what_a_sound_head_lies_behind() -> None:
    model = networks.detector()
    network = network_map(model, [("large", "large"), ("small", "small")])
    every = {layer.name: "int8" for _, layer in network.layers}
    resize = next(layer.name for _, layer in network.layers if layer.operator == "Resize")
    seen = [SeenBuild(table="t", ran=every, lost=frozenset({"small"}))]
    suspected = by_position(network, seen)
    assert resize in suspected
    behind = {layer.name: part.heads for part, layer in network.layers}
    assert all(behind[name] == ("small",) for name in suspected)
    # A build with the same table that ran it in int8 and lost nothing clears it; of another table it does not.
    sound = replace(seen[0], lost=frozenset())
    assert by_position(network, [*seen, sound]) == ()
    assert by_position(network, [*seen, replace(sound, table="u")]) == suspected
    # What ran in floating point is not suspected, nor is what was not told.
    assert resize not in by_position(network, [replace(seen[0], ran={**every, resize: "fp32"})])
    assert by_position(network, [replace(seen[0], ran={})]) == ()
