"""Whether the functions of `engine: python` are there: their file, what it reads, and their names in it."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from trt_matrix.config.entry_point import WithFunction
from trt_matrix.config.matrix import Config
from trt_matrix.config.problems import did_you_mean, few
from trt_matrix.containers.job import protocol
from trt_matrix.execution.functions import FunctionFiles
from trt_matrix.planning.problems import Add
from trt_matrix.store.untrusted import named_file

LIMIT_BYTES = 2 << 30
MOST_FILES = 10_000


def function_files(config: Config, root: Path, add: Add) -> Mapping[str, FunctionFiles]:
    """Returns environment → its functions with all that travels with them."""
    all_files: dict[str, FunctionFiles] = {}
    for index, entry in enumerate(config.environments):
        if not isinstance(entry, WithFunction) or entry.program is None:
            continue
        where = ("environments", index)
        contents: dict[str, bytes] = {}
        for key, file in (
            ("entry_point", entry.program),
            *(("files", path) for path in entry.files),
        ):
            for problem in _read(root / file, file.name, contents):
                add((*where, key), problem)
        name = entry.program.name
        for problem in _missing(contents.get(name), name, entry.functions):
            add((*where, "entry_point"), problem)
        files = FunctionFiles(file=name, functions=entry.functions, files=contents)
        all_files |= dict.fromkeys(entry.ids(), files)
    return all_files


def _read(path: Path, name: str, contents: dict[str, bytes]) -> Iterator[str]:
    """Reads a file, or all of a folder, into `contents`; yields what is wrong."""
    try:
        folder = path.is_dir()
        paths = sorted(file for file in path.rglob("*") if not file.is_dir()) if folder else [path]
    except OSError as error:
        yield f"{path}: {error.strerror}"
        return
    if not paths:
        yield f"{path}: this folder is empty"
    if len(paths) + len(contents) > MOST_FILES:
        yield f"{path}: more than {MOST_FILES:,} files would travel with each job: name those that are read"
        return
    for file in paths:
        inside = (name, *file.relative_to(path).parts)
        if "__pycache__" in inside:
            continue
        if wrong := [part for part in inside if not protocol.SAFE_NAME.match(part)]:
            yield f"{file}: {wrong[0]!a} is no plain name: use letters, digits, . _ -"
        elif "/".join(inside) in contents:
            yield f"{file}: a second file called {'/'.join(inside)}, and both would lie in one folder: rename it"
        else:
            try:
                contents["/".join(inside)] = named_file(file, LIMIT_BYTES)
            except OSError as error:
                yield f"{file}: {error.strerror}"


def _missing(source: bytes | None, file: str, functions: Mapping[str, str]) -> Iterator[str]:
    """Yields which functions the file does not define, as far as that can be seen without running it."""
    known = _names(source or b"")
    for name in dict.fromkeys(functions.values()):
        if known is not None and source is not None and name not in known:
            close = did_you_mean(name, sorted(known))
            yield f"{file} defines no {name!r}{close}; {few(sorted(known)) if known else 'it defines nothing'}"


def _names(source: bytes) -> set[str] | None:
    """Returns what a file binds on its first level; None where only running it tells."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # the Python that runs it may be another; that one says what is wrong
    names_bound: set[str] = set()
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names_bound.add(name)
            case ast.Assign(targets=targets):
                names_bound |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names_bound.add(name)
            case ast.ImportFrom(names=names) | ast.Import(names=names):
                names_bound |= {alias.asname or alias.name for alias in names}
            case ast.Expr():
                pass
            case _:  # under a condition, in a loop: it may bind anything
                return None
    return None if "*" in names_bound else names_bound
