"""What calibration tables keep: SQNR of each head in exact 8-bit arithmetic, algorithm by algorithm.

Beside them: the entropy of ONNX Runtime's own calibrator (1024 bins), and a table that TensorRT wrote
of the same images, where one is given. Then how far ten orders of the images move TensorRT's entropy.

python -m benchmarks.tables [--quick] [--histograms FOLDER] [MATRIX.yaml[=TABLE] ...]

By default the demo and the table that TensorRT 8.5 and 8.6 made of it on an H200. Of MATRIX.yaml the network, the images and
the preprocessing are taken; TABLE may have any form that can be read. --histograms keeps, for each network
with a table, what TensorRT's rule was computed from: tests/data/tensorrt_tables was made so.
"""

import argparse
import contextlib
import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from benchmarks import machine
from trt_matrix.containers.job import thresholds
from trt_matrix.containers.job.calibrate import calibrate
from trt_matrix.containers.job.engines import onnxruntime as engine
from trt_matrix.containers.job.histogram import Histogram
from trt_matrix.core.metrics import sqnr_db
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import TENSORRT, simulation_of
from trt_matrix.core.tables import pooled, reading
from trt_matrix.core.tables.table import Provenance, from_ranges
from trt_matrix.planning.arrays import data_of
from trt_matrix.planning.experiment import read_experiment
from trt_matrix.store.results import Store

ROOT = Path(__file__).parents[1]
DEMO = f"{ROOT / 'demo/matrix-h200.yaml'}={ROOT / 'tests/data/h200/tables/7301ca8fe2ff.json'}"

BINS = 1024
"""Of ONNX Runtime's entropy: at its default of 128 it returns MinMax's ranges."""

NEAR = 1e-4
"""Two ranges of one candidate differ by less: a bin is one part in 2048 or more."""

Images = npt.NDArray[np.float32]
Amax = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network, its images and what is to be compared with."""

    name: str
    model: onnx.ModelProto
    input: str
    heads: Mapping[str, str]
    """Head → output."""
    calibration: Images
    evaluation: Images
    table: Amax | None
    """That TensorRT wrote."""


@contextlib.contextmanager
def opened(argument: str, *, quick: bool) -> Iterator[Network]:
    """Opens `MATRIX.yaml[=TABLE]`."""
    source, _, table = argument.partition("=")
    experiment = read_experiment(Path(source), [])
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        data = data_of(experiment.checked, store)
        most = 2 if quick else None
        yield Network(
            name=experiment.checked.config.name,
            model=experiment.network.model,
            input=experiment.checked.input,
            heads=dict(experiment.checked.heads),
            calibration=store.array(data.calibration)[:most],
            evaluation=store.array(data.evaluation)[:most],
            table=reading.read(Path(table).read_bytes()).table().amax if table else None,
        )


def session_of(model: onnx.ModelProto) -> engine.Session:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(model, file.name)
        return engine.Engine({}).build(file.name, "fp32", None, None)


def histograms_of(network: Network, images: Images, algorithms: Sequence[str]) -> list[Histogram]:
    model, tensors = calibration_model(network.model)
    with contextlib.closing(session_of(model)) as session:
        return calibrate(session, network.input, images, tensors, algorithms, lambda _: None)


def ranges(network: Network, histograms: Sequence[Histogram], algorithm: str) -> Amax:
    """Returns tensor → amax as the tool makes it."""
    amax = {
        histogram.tensor: thresholds.threshold(histogram, algorithm, {})
        for histogram in histograms
        if histogram.amax > 0
    }
    if algorithm not in pooled.ALGORITHMS:
        return amax
    model = canonical(network.model)
    return pooled.take_inputs(amax, pooled.max_pools(model, set(amax)))


def onnxruntimes(network: Network) -> Amax:
    """Returns tensor → amax of ONNX Runtime's entropy calibrator over the same network and images."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            images = network.calibration
            self.feeds = ({network.input: images[i : i + 1]} for i in range(len(images)))

        def get_next(self) -> Mapping[str, Images] | None:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "model.onnx")
        onnx.save(canonical(network.model), path)
        calibrator = create_calibrator(
            path,
            calibrate_method=CalibrationMethod.Entropy,
            augmented_model_path=str(path) + ".augmented.onnx",
            extra_options={"num_bins": BINS, "symmetric": True},
        )
        with contextlib.redirect_stdout(None):
            calibrator.collect_data(Reader())
            found = calibrator.compute_data().data
    return {
        name: max(abs(float(bound)) for bound in value.range_value) for name, value in found.items()
    }


class Simulation:
    """SQNR of each head, in dB: the network with a table's scales in float32 arithmetic."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._outputs = list(network.heads.values())
        self._wanted = self._run(network.model)

    def _run(self, model: onnx.ModelProto) -> list[npt.NDArray[np.float64]]:
        made: list[list[npt.NDArray[np.float64]]] = [[] for _ in self._outputs]
        images = self._network.evaluation
        with contextlib.closing(session_of(model)) as session:
            for number in range(len(images)):
                feed = {self._network.input: images[number : number + 1]}
                for each, values in zip(made, session.run(feed, self._outputs), strict=True):
                    each.append(values.astype(np.float64).ravel())
        return [np.concatenate(each) for each in made]

    def sqnr(self, amax: Amax) -> list[float]:
        table = from_ranges(amax, Provenance(algorithm="benchmark"))
        placed = place(self._network.model, table, simulation_of(TENSORRT))
        found = self._run(placed.model)
        return [
            sqnr_db(float(((y - r) ** 2).sum() / (r**2).sum())) or math.nan
            for y, r in zip(found, self._wanted, strict=True)
        ]


def filled(amax: Amax, others: Amax) -> tuple[Amax, int]:
    """Returns `amax` with `others` where it has none, and how many those are."""
    missing = {name: value for name, value in others.items() if name not in amax}
    return {name: amax[name] for name in others if name in amax} | missing, len(missing)


def agreement(mine: Amax, theirs: Amax) -> str:
    """Says how near our table is to one that TensorRT wrote."""
    off = {
        name: abs(math.log(mine[name] / theirs[name])) for name in mine if theirs.get(name, 0) > 0
    }
    same = sum(one < NEAR for one in off.values()) / len(off)
    tenth = sum(one < math.log(1.1) for one in off.values()) / len(off)
    worst = max(off, key=lambda name: off[name])
    return (
        f"Our entropy and TensorRT's: {same:.1%} of {len(off)} tensors have the same candidate, {tenth:.1%} "
        f"lie within 10 %, the worst is {math.exp(off[worst]):.2f} times off."
    )


def orders(network: Network, simulation: Simulation, first: Amax, count: int) -> str:
    """Says how far so many orders of the calibration images move scales and heads."""
    rng = np.random.default_rng(0)
    moved: list[float] = []
    heads = [simulation.sqnr(first)]
    for _ in range(count):
        images = network.calibration[rng.permutation(len(network.calibration))]
        amax = ranges(network, histograms_of(network, images, ["entropy"]), "entropy")
        moved += [abs(amax[name] / first[name] - 1) for name in first]
        heads.append(simulation.sqnr(amax))
    spread = " ".join(f"{min(one):.1f}–{max(one):.1f}" for one in zip(*heads, strict=True))
    middle, most = np.percentile(moved, [50, 95])
    return (
        f"{count} other orders of the images move a scale of entropy by {middle:.1%} in the median, "
        f"{most:.1%} at the 95th percentile, {max(moved):.0%} at most; heads lie in {spread} dB."
    )


def keep(network: Network, histograms: Sequence[Histogram], folder: Path) -> None:
    """Writes the bins of every tensor that the table has."""
    table = network.table or {}
    chosen = [
        histogram for histogram in histograms if histogram.amax > 0 and histogram.tensor in table
    ]
    np.savez_compressed(
        folder / f"{network.name}.npz",
        tensors=np.array([histogram.tensor for histogram in chosen]),
        ranges=np.array([histogram.doubling.range for histogram in chosen]),
        counts=np.stack([histogram.doubling.counts for histogram in chosen]).astype(np.uint32),
    )


def row(name: str, found: Sequence[float], least: Sequence[float]) -> list[str]:
    """Returns a row; a head more than 1 dB below minmax's is marked."""
    return [
        name,
        *(f"{a:.1f}{' ▼' if a < b - 1 else ''}" for a, b in zip(found, least, strict=True)),
    ]


def told(network: Network, *, quick: bool, folder: Path | None) -> None:
    """Prints the part of one network."""
    histograms = histograms_of(network, network.calibration, list(thresholds.ALGORITHMS))
    if folder:
        keep(network, histograms, folder)
    simulation = Simulation(network)
    made = {name: ranges(network, histograms, name) for name in thresholds.ALGORITHMS}
    least = simulation.sqnr(made["minmax"])
    rows = [row(name, simulation.sqnr(amax), least) for name, amax in made.items()]
    peers = [(f"ONNX Runtime's entropy, {BINS} bins", onnxruntimes(network), made["minmax"])]
    if network.table:
        peers.append(("TensorRT's own entropy", network.table, made["entropy"]))
    notes = []
    for name, theirs, others in peers:
        amax, missing = filled(theirs, others)
        rows.append(row(name, simulation.sqnr(amax), least))
        if missing:
            notes.append(f"{name} has no range for {missing} of {len(others)} tensors: ours there.")
    if network.table:
        notes.append(agreement(made["entropy"], network.table))
    notes.append(orders(network, simulation, made["entropy"], 2 if quick else 10))
    print(f"### {network.name}\n")
    print(
        f"{len(network.calibration)} calibration and {len(network.evaluation)} evaluation images.\n"
    )
    print(machine.table(["SQNR, dB", *network.heads], rows))
    print("\n" + "\n".join(notes) + "\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two images: does it run at all?")
    parser.add_argument("--histograms", type=Path, help="folder to keep bins in")
    parser.add_argument("networks", nargs="*", metavar="MATRIX.yaml[=TABLE]")
    options = parser.parse_args(arguments)
    onnxruntime.set_default_logger_severity(3)
    print(
        f"Simulated with TensorRT's placement, weights per channel; onnxruntime {onnxruntime.__version__}. "
        "▼: more than 1 dB below minmax's.\n"
    )
    for argument in options.networks or [DEMO]:
        with opened(argument, quick=options.quick) as network:
            told(network, quick=options.quick, folder=options.histograms)


if __name__ == "__main__":
    main()
