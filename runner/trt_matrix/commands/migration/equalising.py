"""A calibration table → TensorRT's cache with one range on both sides of what only moves values."""

from collections.abc import Mapping
from dataclasses import dataclass

from trt_matrix.commands.migration import files
from trt_matrix.commands.migration.migrating import MigrationWish
from trt_matrix.commands.migration.sources import source_of
from trt_matrix.core.migration.tensor_names import called_as
from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.scale_groups import equal_ranges
from trt_matrix.core.tables.forms import ReadTable
from trt_matrix.core.tables.table import LEVELS, TableError
from trt_matrix.core.tables.trt_cache import Cache, write
from trt_matrix.core.words import count, listed, visible
from trt_matrix.errors import ConfigError
from trt_matrix.execution.progress import Stage, untold

NAMED = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Equalised:
    wish: MigrationWish
    table: ReadTable
    scales: int
    changed: Mapping[str, tuple[float, float]]
    """Name in the table → the range that it had, and the one that it has now."""
    left_out: Mapping[str, str]
    """Names without a range that could be written → why."""

    def text(self) -> str:
        """Returns the report."""
        lines = [
            f"{visible(str(self.wish.table))} → {visible(str(self.wish.output))} ({self.wish.header}): "
            f"{count(self.scales, 'scale')}, of them "
            f"{len(self.changed)} changed"
        ]
        lines += [
            f"  {visible(name)}: range {before:.4g} → {after:.4g}"
            for name, (before, after) in self.changed.items()
        ]
        lines += [
            f"left out: {visible(name)}: {why}" for name, why in list(self.left_out.items())[:NAMED]
        ]
        lines.append(
            "What only moves values (resizing, pooling, transposing) has one range on both sides now, as with Q/DQ "
            "nodes. Prove it: build with it, and compare (`calibration: {shared: {table: …}}` in matrix.yaml)."
            if self.changed
            else "Nothing had two ranges where only values are moved: it is the same table."
        )
        return "\n".join(lines)

    def summary(self) -> Mapping[str, object]:
        return {
            "table": str(self.wish.table),
            "output": str(self.wish.output),
            "header": str(self.wish.header),
            "scales": self.scales,
            "changed": {
                name: {"from": before, "to": after}
                for name, (before, after) in self.changed.items()
            },
            "left_out": dict(self.left_out),
        }


def equalised(wish: MigrationWish, stage: Stage = untold) -> Equalised:
    """Writes a table as a calibration cache, with equal ranges where only values are moved.

    Raises:
        ConfigError: something given is wrong; nothing is written then.
    """
    assert wish.header is not None  # noqa: S101 - the command line has seen to it
    files.refuse_existing(wish.output, force=wish.force)
    table = files.table_of(wish.table)
    source = source_of(wish.model, wish.config)
    files.refuse_overwriting([wish.output], (wish.table, source.path, wish.names, source.matrix))
    names = files.names_of(wish.names) if wish.names else source.names_of(wish.table)
    stage("reading", wish.table.name)
    try:
        form = canonical(source.model)
        called = called_as(source.model, form, table.names, names, source.coverage)
        ours = {name: called.names.get(name, name) for name in table.values}
        usable = table.table().amax
        known = {ours[name]: amax for name, amax in usable.items()}
        new = equal_ranges(form, known)
        changed = {
            name: (usable[name], new[tensor]) for name, tensor in ours.items() if tensor in new
        }
        scales = {
            name: changed[name][1] / LEVELS if name in changed else amax / LEVELS
            for name, amax in usable.items()
        }
        text = write(Cache(header=wish.header, scales=scales))
    except (graph.GraphError, TableError) as error:
        raise ConfigError(str(wish.table), [str(error)]) from error
    here = {name for node in form.graph.node for name in node.output}
    if not here.intersection(known):
        message = (
            f"none of its {count(len(ours), 'name')} is a tensor of {source.path} "
            f"({listed(list(ours), 3)}): another network's?"
        )
        raise ConfigError(str(wish.table), [message])
    files.write(wish.output, text.encode("utf-8", "surrogateescape"), force=wish.force)
    return Equalised(
        wish=wish,
        table=table,
        scales=len(scales),
        changed=changed,
        left_out=table.table().unusable,
    )
