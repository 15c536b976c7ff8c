"""What benchmarks/migration.py carries to where TensorRT is."""

import json
import shutil
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import migration
from trt_matrix.commands.migration.files import names_of, table_of
from trt_matrix.commands.migration.simulating import ran
from trt_matrix.commands.migration.sources import images_of, source_of
from trt_matrix.containers import job
from trt_matrix.core.migration.to_cache import to_cache
from trt_matrix.core.migration.to_qdq import to_qdq
from trt_matrix.core.network import graph
from trt_matrix.core.qdq.options import TENSORRT, PlacementOptions
from trt_matrix.core.tables.qdq_table import from_qdq
from trt_matrix.core.tables.trt_cache import Header, parse


def prepare(folder: str, config: str, cache: str, names: str | None, images: int) -> None:
    """Writes everything that `run` needs, by `trt-matrix migrate`'s own functions."""
    target = Path(folder).resolve()
    target.mkdir(parents=True)
    shutil.copytree(
        Path(job.__file__).parent, target / "job", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(migration.__file__, target / "migration.py")
    source = source_of(None, Path(config))
    given = table_of(Path(cache))
    renaming = names_of(Path(names)) if names else {}
    made = {
        name: to_qdq(
            source.model, given, source.heads, names=renaming, least=source.coverage, options=options
        )
        for name, options in (
            ("explicit", TENSORRT),
            ("explicit-unified", PlacementOptions(unified_scales=True)),
        )
    }  # fmt: skip
    (target / "float.onnx").write_bytes(source.model.SerializeToString())
    (target / "qdq.onnx").write_bytes(made["explicit"].model.SerializeToString())
    (target / "qdq-unified.onnx").write_bytes(made["explicit-unified"].model.SerializeToString())
    # As the cache has them: what the parser adds has its scale there too.
    (target / "table.json").write_text(json.dumps(dict(given.table().amax)))
    header = Header(version=(8, 6, 0), algorithm="EntropyCalibration2")
    back = to_cache(
        from_qdq(made["explicit"].model), source.model, header, names={}, least=source.coverage
    )
    scales = parse(back.text).scales
    (target / "returned.json").write_text(json.dumps({k: 127 * v for k, v in scales.items()}))
    (input_,) = graph.inputs(source.model)
    shape = {"input": input_.name, "heads": [list(pair) for pair in source.heads]}
    (target / "shape.json").write_text(json.dumps(shape))
    with TemporaryDirectory() as work:
        migration_images = images_of(source, None, images, Path(work))
        assert migration_images is not None
        with zipfile.ZipFile(
            target / "images.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9
        ) as out:
            out.write(migration_images.array, migration.IMAGES)
        networks = {migration.FP32: source.model} | {name: one.model for name, one in made.items()}
        with ran(networks, source.heads, migration_images) as done:
            told = {name: dict(done.sqnr_db(name, migration.FP32)) for name in made}
    (target / "simulated.json").write_text(json.dumps(told))
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1e6:.1f} MB, {len(given.values)} scales in the table, "
          f"{len(made['explicit'].scales)} in Q/DQ, {len(scales)} back in a cache, "
          f"{len(made['explicit'].requantised)} requantised")  # fmt: skip
