"""Rules for names, documentation and linter exceptions, checked on the source."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = ("schema", "resolvers", "dataloaders", "services", "models")
FOLDERS = (*FLOORS, "tests", "bench")
MAX_MODULES = 3
"""A public name may be defined in this many modules of the product; more need a reason below."""
REPEATED_NAMES = {
    "approve": "approves an order of the module's type; services/approvals dispatches to it",
    "load": "loads what the module is named after: an actor, the settings, the demo",
}
"""Names that mean the same in every module that defines them, with that meaning."""
MAX_NOQA = 40
MAX_TYPE_IGNORES = 15
MIN_DOCUMENTED = 0.9
NUMBERS_WITHOUT_UNIT = re.compile(r"(^|_)(amount|fee|price|balance|payout|duration|timeout|interval|delay)$")
"""Names that need a unit at their end; none of these words is one, so that a match lacks it."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def source_files(*folders: str) -> list[Path]:
    """Return the Python files of folders, without installed packages and migrations."""
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not {"node_modules", "migrations"} & set(path.parts)
    ]


def public_definitions(path: Path) -> Iterator[Definition]:
    """Yield the public functions and classes of a module, without those in other functions."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node


def public_functions(path: Path) -> Iterator[Function]:
    """Yield the public functions of a module, and the public methods of its public classes."""
    for node in public_definitions(path):
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        for member in members:
            if isinstance(member, Function) and not member.name.startswith("_"):
                yield member


def matching_lines(pattern: str) -> list[str]:
    """Return the lines of all source files, except this one, that match a pattern."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in source_files(*FOLDERS)
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_a_public_name_is_defined_in_at_most_three_modules() -> None:
    modules: defaultdict[str, set[str]] = defaultdict(set)
    for path in source_files(*FLOORS):
        for node in public_definitions(path):
            modules[node.name].add(str(path.relative_to(ROOT)))
    repeated = {name: sorted(paths) for name, paths in modules.items() if len(paths) > MAX_MODULES}
    assert repeated.keys() == REPEATED_NAMES.keys(), repeated


def test_the_formatter_formats_everything() -> None:
    assert matching_lines(r"#\s*fmt:\s*skip") == []


def test_there_are_few_exceptions_from_the_linter_and_the_type_checker() -> None:
    noqa, ignores = matching_lines(r"#\s*noqa"), matching_lines(r"#\s*type:\s*ignore")
    assert len(noqa) <= MAX_NOQA, noqa
    assert len(ignores) <= MAX_TYPE_IGNORES, ignores


def test_nine_of_ten_public_functions_have_a_docstring() -> None:
    functions = [
        (path, function)
        for path in source_files("resolvers", "dataloaders", "services", "models")
        for function in public_functions(path)
    ]
    missing = [f"{path.relative_to(ROOT)}: {f.name}" for path, f in functions if not ast.get_docstring(f)]
    assert len(missing) <= (1 - MIN_DOCUMENTED) * len(functions), missing


def test_whole_numbers_of_money_and_time_are_named_with_their_unit() -> None:
    unnamed = []
    for path in source_files("services"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg | ast.AnnAssign) and _is_int(node.annotation):
                name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
                if NUMBERS_WITHOUT_UNIT.search(name):
                    unnamed.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
    assert unnamed == []


def _is_int(annotation: ast.expr | None) -> bool:
    return annotation is not None and ast.unparse(annotation) in {
        "int",
        "int | None",
        "float",
        "float | None",
    }
