"""Which names of TensorRT a program uses, and under which conditions: from its source.

Names are resolved by convention: `trt.X.Y` is the module's, and a variable or attribute of one of the
names in VARIABLES holds an object of that class. A use below `if hasattr(builder, "name"):` is needed
only where Builder has that name, one in its `else`, or behind an `if not hasattr(…): raise`, only
where it has not, and so on.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VARIABLES = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "definition": "INetworkDefinition",
    "engine": "ICudaEngine",
    "error": "ParserError",
    "inspector": "EngineInspector",
    "layer": "ILayer",
    "parser": "OnnxParser",
    "plan": "IHostMemory",
    "profile": "IOptimizationProfile",
    "registry": "IPluginRegistry",
    "runtime": "Runtime",
    "tensor": "ITensor",
    "output": "ITensor",
    "uff": "UffParser",
}

Condition = tuple[str, str, bool]
"""(class, name, whether the class must have it)."""


@dataclass(frozen=True)
class Use:
    owner: str
    """Class, "" for the module."""
    name: str
    conditions: frozenset[Condition]
    where: str


def uses(path: Path) -> list[Use]:
    """Returns every use in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    aliases = _aliases(tree)
    return list(_walk(tree.body, frozenset(), aliases, path.name))


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Returns local names given to classes of the module: `flags = trt.BuilderFlag`."""
    return {
        target.id: node.value.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_module(getattr(node.value, "value", None))
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Attribute)
    }


def _walk(
    body: list[ast.stmt], given: frozenset[Condition], aliases: dict[str, str], file: str
) -> Iterator[Use]:
    for statement in body:
        if isinstance(statement, ast.If):
            there, absent = _conditions(statement.test, aliases)
            yield from _in_expression(statement.test, given, aliases, file)
            yield from _walk(statement.body, given | there, aliases, file)
            yield from _walk(statement.orelse, given | absent, aliases, file)
            if isinstance(statement.body[-1], ast.Raise | ast.Return | ast.Continue):
                given = given | absent
        else:
            blocks = [
                block
                for field in ("body", "orelse", "finalbody")
                if isinstance(block := getattr(statement, field, None), list)
            ]
            blocks += [handler.body for handler in getattr(statement, "handlers", ())]
            for block in blocks:
                yield from _walk(block, given, aliases, file)
            inner = {id(child) for block in blocks for child in block}
            for child in ast.iter_child_nodes(statement):
                if id(child) not in inner and not isinstance(child, ast.ExceptHandler):
                    yield from _in_expression(child, given, aliases, file)


def _in_expression(
    node: ast.AST, given: frozenset[Condition], aliases: dict[str, str], file: str
) -> Iterator[Use]:
    if isinstance(node, ast.IfExp):
        there, absent = _conditions(node.test, aliases)
        yield from _in_expression(node.test, given, aliases, file)
        yield from _in_expression(node.body, given | there, aliases, file)
        yield from _in_expression(node.orelse, given | absent, aliases, file)
        return
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        for value in node.values:
            yield from _in_expression(value, given, aliases, file)
            given = given | _conditions(value, aliases)[0]
        return
    if isinstance(node, ast.Attribute):
        owner = _class_of(node.value, aliases)
        if owner is not None:
            yield Use(owner, node.attr, given, f"{file}:{node.lineno}")
    for child in ast.iter_child_nodes(node):
        yield from _in_expression(child, given, aliases, file)


def _conditions(
    test: ast.expr, aliases: dict[str, str]
) -> tuple[frozenset[Condition], frozenset[Condition]]:
    """Returns what holds where `test` is true, and where it is false; empty where that is unknown."""
    nothing: frozenset[Condition] = frozenset()
    match test:
        case ast.Call(func=ast.Name(id="hasattr"), args=[of, ast.Constant(value=str(name))]):
            owner = _class_of(of, aliases)
            if owner is None:
                return nothing, nothing
            return frozenset({(owner, name, True)}), frozenset({(owner, name, False)})
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            there, absent = _conditions(operand, aliases)
            return absent, there
        case ast.BoolOp(op=ast.And(), values=values):
            return nothing.union(*(_conditions(value, aliases)[0] for value in values)), nothing
        case ast.BoolOp(op=ast.Or(), values=values):
            return nothing, nothing.union(*(_conditions(value, aliases)[1] for value in values))
    return nothing, nothing


def _is_module(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Name) and node.id == "trt"


def _class_of(node: ast.expr, aliases: dict[str, str]) -> str | None:
    match node:
        case ast.Name(id="trt"):
            return ""
        case ast.Attribute(value=ast.Name(id="trt"), attr=name):
            return name
        case ast.Name(id=name) if name in aliases:
            return aliases[name]
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return VARIABLES.get(name.lstrip("_"))
    return None
