"""What is compiled stays such that compiled it does the same."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mypy.build
import mypy.modulefinder
import mypy.nodes
import mypy.options
import mypy.types
import pytest

from tests.support.scripts import script

ROOT = Path(__file__).parent.parent
SETUP = script(ROOT / "setup.py")
HOT: list[str] = SETUP.hot()


def every(kind: type[ast.AST], path: str) -> Iterator[Any]:
    return (node for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))) if isinstance(node, kind))


def test_what_is_left_as_it_is_would_be_compiled_else() -> None:
    assert all((ROOT / path).is_file() for path in SETUP.AS_IT_IS)
    assert "extproc/exchange/machine.py" in HOT and SETUP.AS_IT_IS.isdisjoint(HOT)
    assert not [path for path in HOT if path.endswith("__init__.py")]


@pytest.mark.parametrize("path", HOT)
def test_a_class_says_nothing_that_the_compiler_drops(path: str) -> None:
    """Keywords of a class statement, and defaults that only msgspec understands."""
    for node in every(ast.ClassDef, path):
        assert not node.keywords, f"{node.name}: derive it from Frozen, or leave its module as it is"
        assert not any("runtime_checkable" in ast.unparse(each) for each in node.decorator_list), node.name
        bases = {ast.unparse(base) for base in node.bases}
        if bases & {"Struct", "Frozen", "Plain"}:
            values = [each.value for each in node.body if isinstance(each, ast.AnnAssign) and each.value is not None]
            assert not [value for value in values if ast.unparse(value).startswith("field(")], node.name


EACH_MESSAGE = [each for each in HOT if each.startswith(("extproc/exchange/", "extproc/server/h2/"))]


@pytest.mark.parametrize("path", EACH_MESSAGE)
def test_no_function_holds_another(path: str) -> None:
    """Each call of it would make an object to keep the other's variables in, whether or not it comes so far."""
    for function in every(ast.FunctionDef, path):
        inner = [node for node in ast.walk(function) if isinstance(node, ast.Lambda | ast.FunctionDef)]
        assert inner == [function], function.name


@pytest.mark.parametrize("path", EACH_MESSAGE)
def test_a_constant_is_final(path: str) -> None:
    """Where each message comes by: of any other name each use is a look-up in the module's dictionary."""
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        assert not isinstance(node, ast.Assign) or not ast.unparse(node.targets[0]).isupper(), ast.unparse(node)


@pytest.mark.parametrize("path", HOT)
def test_a_class_has_no_base_that_cannot_be_compiled(path: str) -> None:
    """Of Python's own exceptions it can derive from few."""
    own = {name for name in vars(builtins) if name[0].isupper()} - {"Exception", "ValueError", "LookupError"}
    for node in every(ast.ClassDef, path):
        assert own.isdisjoint(ast.unparse(base) for base in node.bases), node.name


@pytest.mark.parametrize("path", HOT)
def test_two_kinds_of_exception_have_two_names(path: str) -> None:
    """Within a function a name has one type, and another exception under it would raise TypeError."""
    for function in every(ast.FunctionDef, path):
        caught: dict[str, set[str]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and node.name and node.type is not None:
                caught.setdefault(node.name, set()).add(ast.unparse(node.type))
        assert not {name: kinds for name, kinds in caught.items() if len(kinds) > 1}, function.name


@pytest.mark.parametrize("path", HOT)
def test_no_private_name_becomes_a_word_of_the_c_compiler(path: str) -> None:
    """It puts an underscore before each: ``_signed`` would be ``__signed``, a type."""
    words = {"_signed", "_const", "_inline", "_volatile", "_asm", "_restrict", "_typeof", "_thread", "_real"}
    named = {node.attr for node in every(ast.Attribute, path)} | {node.id for node in every(ast.Name, path)}
    assert not named & words


@pytest.mark.parametrize("path", HOT)
def test_what_is_walked_backwards_has_a_type(path: str) -> None:
    """Of a call into what is not compiled it knows none, and fails at ``reversed``: take a slice."""
    for node in every(ast.For, path):
        call = node.iter
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "reversed":
            assert not isinstance(call.args[0], ast.Call), ast.unparse(call)


@pytest.mark.parametrize("path", HOT)
def test_nothing_is_decoded_into_a_class_of_a_compiled_module(path: str) -> None:
    """Its annotations are not what the source says: msgspec would check against something else."""
    own = {node.name for node in every(ast.ClassDef, path)}
    for node in every(ast.Call, path):
        if ast.unparse(node.func).endswith("Decoder"):
            assert not own & {ast.unparse(argument) for argument in node.args}


@pytest.mark.parametrize("path", HOT)
def test_a_class_is_derived_from_where_its_base_is_made(path: str) -> None:
    """Compiled, the base is looked for in its own module, which only an import from there has at hand."""
    given = {name.asname or name.name: (node, name.name) for node in every(ast.ImportFrom, path) for name in node.names}
    for node in every(ast.ClassDef, path):
        for base in node.bases:
            origin, name = given.get(ast.unparse(base), (None, ""))
            if origin is None or not origin.level:
                continue
            folder = (ROOT / path).parents[origin.level - 1]
            module = folder.joinpath(*(origin.module or "").split("."))
            file = module.with_suffix(".py") if module.with_suffix(".py").is_file() else module / "__init__.py"
            made = {
                each.name for each in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(each, ast.ClassDef)
            }
            assert name in made, f"{node.name}: {name} is not made in {file.relative_to(ROOT)}"


def test_values_of_a_compiled_class_are_compared_by_a_function() -> None:
    """Between two of them ``==`` would be compiled to ``is``: the compiler does not see what msgspec gives them."""
    options = mypy.options.Options()
    options.export_types = options.preserve_asts = options.ignore_missing_imports = True
    options.incremental = False
    modules = {path.removesuffix(".py").replace("/", "."): path for path in HOT}
    sources = [mypy.modulefinder.BuildSource(str(ROOT / path), name) for name, path in modules.items()]
    types = mypy.build.build(sources, options).types

    def is_compiled(side: mypy.nodes.Expression) -> bool:
        kind = mypy.types.get_proper_type(types.get(side))
        return (
            isinstance(kind, mypy.types.Instance)
            and kind.type.module_name in modules
            and any(base.module_name.startswith("msgspec") for base in kind.type.mro)
        )

    compared = [each for each in types if isinstance(each, mypy.nodes.ComparisonExpr)]
    assert len(compared) > 1000
    places = {
        (node.lineno, node.col_offset): f"{path}: {ast.unparse(node)}"
        for path in HOT
        for node in every(ast.Compare, path)
    }
    for each in compared:
        for operator, one, other in zip(each.operators, each.operands, each.operands[1:], strict=False):
            if operator in ("==", "!=") and is_compiled(one) and is_compiled(other):
                assert (each.line, each.column) not in places, f"{places[each.line, each.column]}:{each.line}"
