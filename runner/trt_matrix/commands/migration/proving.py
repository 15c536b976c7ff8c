"""What proves a migrated table in engines: the lines of matrix.yaml that run it both ways."""

from collections.abc import Iterator

from trt_matrix.commands.migration.migrating import MigratedToQdq
from trt_matrix.config.shared_table import FILE
from trt_matrix.config.yaml_file import UNREADABLE, quoted
from trt_matrix.core.words import listed

MOST = 5
"""Environments that a line names."""


def proof(done: MigratedToQdq) -> Iterator[str]:
    """Yields what to put into matrix.yaml, and what its run says then."""
    table = _for_matrix(done)
    if table is None:
        yield (
            "To prove it in engines, matrix.yaml runs the table both ways; it takes no control characters in names, "
            "so rename the table first (docs/how-to/migrate.md)."
        )
        return
    yield "To prove it in engines, matrix.yaml runs the table both ways, with the same images:"
    yield f"  calibration: {{shared: {{{table}}}}}"
    yield "  precisions: [fp32, int8]"
    yield "  repeats: 5"
    engines = [name for name, engine in done.source.engines.items() if engine == "tensorrt"]
    if engines:
        where = f"in {listed(engines, MOST)}"
    else:
        yield '  environments: [{ngc: ["24.04-py3", "26.08-py3"]}]     # with TensorRT 8 to 10, and 11'
        where = "in each TensorRT"
    yield (
        f"Then {where}: int8-implicit-shared-{FILE} is the implicit engine (to 10), int8-shared-{FILE} the explicit one "
        "(8 to 11). "
        "`trt-matrix run`, and each head's paragraph says whether they are the same within noise, or by how much "
        "not, and which layers ran in int8 in one of them alone (docs/how-to/migrate.md)."
    )


def _for_matrix(done: MigratedToQdq) -> str | None:
    """Returns the table and the user's map as matrix.yaml says them; None where it cannot."""
    absolute, root = done.wish.table.resolve(), done.source.root.resolve()
    near = absolute.relative_to(root) if absolute.is_relative_to(root) else absolute
    if any(UNREADABLE.search(text) for text in (str(near), *done.names, *done.names.values())):
        return None
    pairs = [f"{quoted(theirs)}: {quoted(ours)}" for theirs, ours in done.names.items()]
    return f"table: {quoted(str(near))}" + (f", names: {{{', '.join(pairs)}}}" if pairs else "")
