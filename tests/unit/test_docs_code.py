"""What documents show as code: commands parse, files exist, YAML is matrix.yaml, options are options."""

import copy
import functools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import typer
import yaml
from typer.exceptions import TyperException

from tests.unit.test_docs import FILES, PAGES, ROOT
from trt_matrix.cli import app
from trt_matrix.config.environments import KINDS
from trt_matrix.config.matrix import Config, validate
from trt_matrix.config.yaml_file import Document
from trt_matrix.errors import ConfigError

SHOWN = [page for page in PAGES if not page.startswith("tests/") and page != "CHANGELOG.md"]
FENCED = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|^)((?: {4}.*\n|\n(?= {4}))+)", re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
TOOL = re.compile(r"^(?:\.venv/bin/)?trt-matrix (.*)$")
FOREIGN = {
    "--all", "--basetemp", "--exportLayerInfo", "--exportOutput", "--exportProfile", "--filter", "--gpus",
    "--inputs-as-nchw", "--layerPrecisions", "--load-inputs", "--loadEngine", "--loadInputs", "--node_data_paths", "--now",
    "--outputs-as-nchw", "--profilingVerbosity", "--save-outputs", "--separateProfileRun", "--upgrade",
}  # fmt: skip
"""Options of others: docker, Polygraphy, trtexec, tf2onnx, Model Explorer, pytest, systemd, uv."""
OWN_SCRIPTS = (
    "containers/job/",
    "runner/trt_matrix/packs/",
    "runner/trt_matrix/ticket/",
    "benchmarks/",
    "demo/",
    "tests/fuzz/",
    "tests/gpu/",
    "tests/docker/",
    "tests/unit/killing.py",
)
"""What writes, or is, a script with options of its own."""


@functools.cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yields (language, content) of fenced and of indented code."""
    yield from FENCED.findall(text)
    for content in INDENTED.findall(FENCED.sub("", text)):
        yield "", re.sub("^ {4}", "", content, flags=re.MULTILINE)


def spans(text: str) -> list[str]:
    """Returns what stands in single backticks, on one line."""
    prose = INDENTED.sub("\n", FENCED.sub("", text))
    return [" ".join(span.split()) for span in SPAN.findall(prose)]


def commands(text: str) -> Iterator[tuple[str, bool]]:
    """Yields the arguments of every `trt-matrix` that a page shows, and whether it is only named in a sentence."""
    for _, content in blocks(text):
        for line in content.splitlines():
            for part in re.split(r" #|\s{3,}", line.strip())[0].split(" && "):
                if match_ := TOOL.match(part.strip()):
                    yield match_[1], False
    for span in spans(text):
        if match_ := TOOL.match(span):
            yield match_[1], True


def refused(arguments: str, *, named: bool = False) -> str | None:
    """Returns what the real parser says against a command line; nothing is run.

    Args:
        arguments: `[…]` and ` …` in it are left out.
        named: It may lack an argument.
    """
    command: Any = typer.main.get_command(app)
    given = shlex.split(re.sub(r" ?\[[^\]]*\]| …", "", arguments))
    try:
        context = command.make_context("trt-matrix", list(given))
        name, chosen, rest = command.resolve_command(context, list(given))
        chosen.make_context(name, rest, parent=context)
    except typer.Exit:  # --version, --help
        return None
    except TyperException as error:
        if named and "Missing" in type(error).__name__:
            return None
        return f"trt-matrix {arguments}: {error.format_message()}"
    return None


@pytest.mark.parametrize("page", SHOWN)
def test_every_command_line_is_taken_by_the_parser(page: str) -> None:
    assert [
        told for line, named in commands(text_of(page)) if (told := refused(line, named=named))
    ] == []


def test_wrong_command_lines_are_found() -> None:
    page = "\n\n    trt-matrix jugde latest   # comment\n    cd x && trt-matrix run --selct a\n\nand `trt-matrix gc --keep x`.\n"
    assert [refused(line, named=named) is not None for line, named in commands(page)] == [
        True,
        True,
        True,
    ]
    assert refused("judge RUN --most-cells 2000") is None
    assert len([command for page in SHOWN for command in commands(text_of(page))]) > 70


def test_commands_that_messages_name_are_taken_too() -> None:
    """A hint that the tool itself refuses helps nobody."""
    wrong = []
    for name in FILES:
        if name.startswith("runner/") and name.endswith(".py"):
            for line in re.findall(r"`trt-matrix ([^`\n]+)`", text_of(name)):
                if line.startswith("{"):
                    continue
                told = refused(re.sub(r"\{[^}]*\}", "x", line), named=True)
                wrong += [f"{name}: {told}"] if told else []
    assert wrong == []


@functools.cache
def options() -> frozenset[str]:
    """Returns every option of the command line, and of the scripts that run without it."""
    command: Any = typer.main.get_command(app)
    found = {"--help"}
    for one in (command, *command.commands.values()):
        for parameter in one.params:
            found |= {*parameter.opts, *parameter.secondary_opts}
    for name in FILES:
        if name.startswith(OWN_SCRIPTS):
            found |= (
                set(re.findall(r"--[a-z][\w-]+", text_of(name))) if name.endswith(".py") else set()
            )
    return frozenset(found)


def unknown_options(text: str) -> set[str]:
    found = {
        option
        for span in spans(text)
        for option in re.findall(r"(?:(?<=\s)|^)(--[a-zA-Z][\w-]+)", span)
    }
    return found - options() - FOREIGN


TARGETS = frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def missing_targets(text: str) -> list[str]:
    """Returns targets of make, and modules run by `python -m`, that are not there."""
    shown = [line.strip() for _, content in blocks(text) for line in content.splitlines()]
    missing = []
    for line in [*shown, *spans(text)]:
        missing += [
            one for one in re.findall(r"(?:^|&& )make ([a-z][\w-]*)", line) if one not in TARGETS
        ]
        for name in re.findall(
            r"python3? -m ((?:benchmarks|demo|tests|trt_matrix|job)[\w.]*)", line
        ):
            place = {"trt_matrix": "runner/", "job": "containers/"}.get(name.split(".")[0], "")
            base = place + name.replace(".", "/")
            missing += [] if {f"{base}.py", f"{base}/__main__.py"} & set(FILES) else [name]
    return missing


NAMED = re.compile(
    r"(?:runner|containers|tests|benchmarks|demo|docs|\.ci)/[\w./*{},-]+|[\w/{},-]+\.(?:py|j2)"
)
NOT_OURS = {"record.py", "mine/decoder.py", "run-pack.py", "node_data_builder.py"}
"""Programs of examples and of others."""


def missing_files(text: str) -> list[str]:
    """Returns names of files in backticks, whole or by their end, that no file has."""
    missing = []
    for span in spans(text):
        if not NAMED.fullmatch(span) or span in NOT_OURS or "NAME" in span:
            continue
        for one in expanded(span.rstrip("/")):
            pattern = re.compile(
                rf"(?:.*/)?{re.escape(one).replace(re.escape('*'), '[^/]*')}(?:/.*)?"
            )
            if not (any(pattern.fullmatch(file) for file in FILES) or (ROOT / one).is_symlink()):
                missing.append(one)
    return missing


def expanded(name: str) -> Iterator[str]:
    """Yields a/b and a/c of a/{b,c}."""
    if match_ := re.search(r"\{([^}]*)\}", name):
        for one in match_[1].split(","):
            yield from expanded(name.replace(match_[0], one, 1))
    else:
        yield name


@pytest.mark.parametrize("page", SHOWN)
def test_options_targets_modules_and_files_exist(page: str) -> None:
    text = text_of(page)
    assert (unknown_options(text), missing_targets(text), missing_files(text)) == (set(), [], [])


def test_what_does_not_exist_is_found() -> None:
    page = (
        "`--nope` `trt-matrix gc --keep 1 --dry` `tests/unit/test_{cli,nothing}.py` `gone.py` `cli/app.py`\n\n"
        "    make matrix && make tea   # x\n    python -m benchmarks.none\n    python -m benchmarks.tables\n"
    )
    assert unknown_options(page) == {"--nope", "--dry"}
    assert missing_targets(page) == ["tea", "benchmarks.none"]
    assert missing_files(page) == ["tests/unit/test_nothing.py", "gone.py"]


# matrix.yaml

DEMO = yaml.safe_load((ROOT / "matrix.yaml").read_text())
NO_SETTINGS = {"crashed: killed for memory", "unavailable: no NVIDIA driver", "{head: array}"}
DUMP = {
    "dumps": "x",
    "name": "x",
    "version": "1",
    "device": "cpu",
    "passes": {"fp32": {"files": "{head}"}},
}
VERSIONS = {"onnxruntime": "1.32.0", "tensorrt": "8.6.0", "tensorrt-rtx": "1.7.1.116"}
NEEDED: Mapping[str, Mapping[str, Any]] = {
    "interpreter": {"name": "x"},
    "image": {"name": "x"},
    "elsewhere": {"engine": "tensorrt"},
    "dumps": DUMP,
}
PLACES: tuple[tuple[str | int, ...], ...] = (
    (), ("model",), ("heads",), ("heads", "small"), ("heads", "small", "gate"), ("data",), ("data", "evaluation"), ("data", "preprocess"), ("calibration",),
    ("decode",), ("quantisation",), ("timing",), ("verdicts",), ("engines",),
    ("environments", 0), ("environments", 1), ("environments", 1, "passes"), ("environments", 1, "passes", "fp32"),
    ("environments", 2), ("environments", 3), ("calibration", "shared"), ("calibration", "forensics"), ("engines", "tensorrt"),
)  # fmt: skip


def base() -> dict[str, Any]:
    """Returns the demo's settings with an entry of several kinds, into which fragments are put."""
    found: dict[str, Any] = copy.deepcopy(DEMO)
    found["environments"] = [
        found["environments"][0],
        copy.deepcopy(DUMP),
        {"elsewhere": ["x"], "engine": "tensorrt"},
        {"image": "x", "name": "y"},
    ]
    found["calibration"]["shared"] = {"table": "x.cache"}
    found["calibration"]["forensics"] = {}
    found["engines"] = {"tensorrt": {}}
    return found


def merged(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
    return new


Joined = Callable[[Any, Any], Any]

FUNCTION = {"engine": "python", "entry_point": "f.py:f", "device": "cpu"}
"""Keys of an environment whose engine is a function."""


def put(content: Any, place: tuple[str | int, ...], value: Any, joined: Joined) -> Any:
    if not place:
        return joined(content, value)
    step, *rest = place
    copied: Any = list(content) if isinstance(content, list) else dict(content)
    copied[step] = put(content[step], tuple(rest), value, joined)
    return copied


def problem(fragment: Any, *, named: bool = False) -> str | None:
    """Returns what is said against a fragment of matrix.yaml, if it fits nowhere.

    Args:
        fragment: A mapping, or a list of environments.
        named: An environment in it may lack what it needs besides.
    """
    if isinstance(fragment, list):
        fragment = {"environments": fragment}
    if named and set(fragment) <= FUNCTION.keys() and fragment.get("engine", "python") == "python":
        fragment = {"interpreter": "python", "name": "x", **FUNCTION, **fragment}
    kind = next((kind for kind in KINDS if kind in fragment), None)
    if kind:
        version = VERSIONS.get(str(fragment[kind]))
        needed = {"versions": [version]} if version else NEEDED.get(kind, {})
        fragment = {"environments": [merged(needed if named else {}, fragment)]}
    told = ""
    for place in PLACES:
        if place == () and not set(fragment) <= set(Config.model_fields):
            continue
        for joined in (merged, lambda old, new: {**old, **new}):
            try:
                validate(Document("matrix.yaml", put(base(), place, fragment, joined)))
            except (ConfigError, KeyError, TypeError) as error:
                told = told or str(error)
            else:
                return None
        if place == ():
            break
    return f"{fragment}: {told}"


def fragments(text: str) -> Iterator[tuple[Any, bool]]:
    """Yields every fragment of matrix.yaml on a page, and whether it is only named in a sentence."""
    for language, content in blocks(text):
        found = loaded(content)
        if language == "yaml" or (
            language == "" and isinstance(found, Mapping) and set(found) <= {*Config.model_fields}
        ):
            yield (found if found is not None else content), False
    for span in spans(text):
        inline = span.removeprefix("- ")
        if inline in NO_SETTINGS:
            continue
        if re.match(r"^(?:\{ ?)?[a-z_0-9]+: ", inline) and isinstance(
            found := loaded(inline), Mapping
        ):
            yield found, True


def loaded(text: str) -> Any:
    """Returns YAML's content; None where it is none. `…` stands for what is left out."""
    try:
        return yaml.safe_load(re.sub(r": …", ": [x]", re.sub(r", …(?=[}\]])", "", text)))
    except yaml.YAMLError:
        return None


@pytest.mark.parametrize("page", SHOWN)
def test_yaml_is_matrix_yaml_in_its_place(page: str) -> None:
    assert [
        told for one, named in fragments(text_of(page)) if (told := problem(one, named=named))
    ] == []


def test_wrong_yaml_is_found() -> None:
    page = "```yaml\nrepeats: many\n```\n\n`verdicts: {lest_effect_db: 1}` `- {venv: x, wersions: [1]}` ok `report: {images: false}`\n"
    assert [problem(one, named=named) is None for one, named in fragments(page)] == [
        False,
        False,
        False,
        True,
    ]
