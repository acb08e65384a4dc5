"""The laws of the tree that no linter knows: read from the source, file by file, with the offender's place in the message."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import tars.actors
import tars.supervisor

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "supervisor").rglob("*.py"), *(ROOT / "actors").rglob("*.py")])
BENCH = sorted((ROOT / "bench").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

BROAD_EXCEPTS = {
    # file: how many handlers may catch everything and not let it pass
    "supervisor/lives.py": 1,  # where a child's failure, whatever it is, becomes a value
    "actors/mqtt/author_code.py": 1,  # whatever an author's code raises, the failure ladder decides what follows
    "actors/connector_parts.py": 1,  # whatever a program's callback raises becomes one plain failure, for the ladder
    "actors/loading.py": 1,  # whatever an author's module raises at import is a mistake to be told, in words
    "actors/mqtt/aiomqtt_transport.py": 1,  # carries an error out of the asyncio loop, which would wrap it; raised again there
}

# What may stand at module level without `Final`: it declares, or nothing can change it.
DECLARATIONS = {"TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "frozenset", "tuple", "MappingProxyType", "compile"}
# What may not stand there at all.
CONTAINERS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter", "ChainMap", "count", "cycle"}
READ_ONLY = re.compile(r"Final\[(Mapping|Sequence|Collection|Set|AbstractSet|Iterable)\b")

FORBIDDEN_IN_TESTS = {
    "unittest.mock": "pass a real object in",
    "mock": "pass a real object in",
    "monkeypatch": "pass the thing in as an argument",
    "time.sleep": "wait for the thing itself",
    "asyncio.sleep": "wait for the thing itself",
    "sys.modules": "pass the thing in as an argument",
    "pytest.skip": "a test that does not run proves nothing",
    "pytest.importorskip": "a test that does not run proves nothing",
    "pytest.mark.skip": "a test that does not run proves nothing",
    "pytest.mark.skipif": "a test that does not run proves nothing",
    "pytest.mark.xfail": "a test that may fail proves nothing",
    "pytest.xfail": "a test that may fail proves nothing",
}


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def parsed(paths: list[Path]) -> Iterator[tuple[Path, ast.Module]]:
    for path in paths:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def last_name(node: ast.AST | None) -> str:
    """``Exception`` of ``builtins.Exception``; "" of what is no name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


# -- failures -------------------------------------------------------------------------------------


def is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    everything = handler.type is None or any(last_name(kind) in {"Exception", "BaseException"} for kind in caught)
    last = handler.body[-1]
    lets_it_pass = isinstance(last, ast.Raise) and last.exc is None
    return everything and not lets_it_pass


def is_broad_suppress(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and last_name(node.func) == "suppress"
        and any(last_name(kind) in {"Exception", "BaseException"} for kind in node.args)
    )


def broad_excepts() -> dict[str, int]:
    found: dict[str, int] = {}
    for path, tree in parsed([*SOURCES, *BENCH]):
        count = sum(is_broad(node) if isinstance(node, ast.ExceptHandler) else is_broad_suppress(node) for node in ast.walk(tree))
        if count:
            found[path.relative_to(ROOT).as_posix()] = count
    return found


def test_a_broad_except_stands_only_where_the_table_says() -> None:
    assert BROAD_EXCEPTS == broad_excepts()


def test_the_runtime_has_at_most_one_broad_except() -> None:
    assert 1 >= sum(count for path, count in broad_excepts().items() if path.startswith("supervisor/"))


# -- state ----------------------------------------------------------------------------------------


def mutable_state(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    for statement in tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            yield from ((statement, why) for why in why_mutable(statement))
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield node, "'global': state belongs to an instance with one owner"
        elif isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, (ast.Assign, ast.AnnAssign)) and is_container(statement.value):
                    yield statement, "a class attribute that is a container is shared by all instances"


def why_mutable(statement: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """What is wrong with an assignment at module level."""
    target: ast.expr
    if isinstance(statement, ast.AnnAssign):
        target, annotation = statement.target, ast.unparse(statement.annotation)
    else:
        (target, *_), annotation = statement.targets, ""
    if last_name(target).startswith("__"):
        return
    if is_container(statement.value):
        if not READ_ONLY.match(annotation):
            yield "a container at module level: make it a tuple, frozenset, MappingProxyType, or declare it Final[Mapping[...]]"
    elif (
        isinstance(statement.value, ast.Call) and last_name(statement.value.func) not in DECLARATIONS and not annotation.startswith("Final")
    ):
        yield "an object at module level that is not declared Final"


def is_container(value: ast.expr | None) -> bool:
    if isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
        return True
    if isinstance(value, ast.BinOp):
        return is_container(value.left) or is_container(value.right)
    return isinstance(value, ast.Call) and last_name(value.func) in CONTAINERS


def test_no_module_and_no_class_holds_mutable_state() -> None:
    offenders = [f"{place(path, node)}: {why}" for path, tree in parsed([*SOURCES, *BENCH]) for node, why in mutable_state(tree)]

    assert [] == offenders


@pytest.mark.parametrize(
    "line",
    [
        "seen = {}",
        "seen: dict[str, int] = {}",
        "seen: Final[dict[str, int]] = {'a': 1}",
        "seen = [n for n in 'ab']",
        "seen = {'a': 1} | other",
        "seen: Final = collections.deque()",
        "client = Client()",
        "def f():\n    global seen",
        "class Broker:\n    sessions: dict[str, int] = {}",
    ],
)
def test_the_search_for_mutable_state_finds(line: str) -> None:
    assert [] != list(mutable_state(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        "T = TypeVar('T')",
        "LIMIT: Final = 3",
        "NAMES = ('a', 'b')",
        "NAMES = frozenset({'a'})",
        "CODES: Final[Mapping[int, str]] = {1: 'a'}",
        "NONE: Final = Backoff(0)",
        "__all__ = ['a']",
        "def f():\n    seen = {}",
    ],
)
def test_the_search_for_mutable_state_lets_pass(line: str) -> None:
    assert [] == list(mutable_state(ast.parse(line)))


# -- tests ----------------------------------------------------------------------------------------


def forbidden_in_tests(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            names = [dotted(node)]
        elif isinstance(node, ast.arg):
            names = [node.arg]
        yield from ((node, f"{name}: {FORBIDDEN_IN_TESTS[name]}") for name in names if name in FORBIDDEN_IN_TESTS)


def test_no_test_sleeps_skips_mocks_or_patches() -> None:
    offenders = [f"{place(path, node)}: {why}" for path, tree in parsed(TESTS) for node, why in forbidden_in_tests(tree)]

    assert [] == offenders


@pytest.mark.parametrize(
    "line",
    [
        "from unittest import mock",
        "from unittest.mock import Mock",
        "import unittest.mock",
        "def test_x(monkeypatch): pass",
        "from time import sleep",
        "time.sleep(1)",
        "pytest.skip('no broker')",
        "@pytest.mark.skipif(True, reason='')\ndef test_x(): pass",
        "pytestmark = pytest.mark.xfail",
        "sys.modules['x'] = None",
    ],
)
def test_the_search_for_what_tests_may_not_do_finds(line: str) -> None:
    assert [] != list(forbidden_in_tests(ast.parse(line)))


# -- files ----------------------------------------------------------------------------------------


def test_no_module_is_longer_than_three_hundred_lines() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in [*SOURCES, *BENCH]}

    assert {} == {path: length for path, length in lengths.items() if length > 300}


def test_every_module_says_at_its_top_what_it_is_for() -> None:
    assert [] == [place(path, tree) for path, tree in parsed([*SOURCES, *BENCH]) if tree.body and ast.get_docstring(tree) is None]


def text_files() -> Iterator[tuple[Path, str]]:
    made = {".git", ".venv", ".venv-bench", ".venv-fuzz", "var", "dist", "build", ".hypothesis", ".benchmarks", "__pycache__"}
    for folder, below, names in os.walk(ROOT):
        below[:] = sorted(name for name in below if name not in made and not name.endswith("_cache"))
        for file in (Path(folder, name) for name in sorted(names)):
            if file.suffix != ".lock" and not file.is_symlink():
                yield file, file.read_text(encoding="utf-8", errors="replace")


def test_no_file_names_a_path_of_one_machine() -> None:
    elsewhere = re.compile(r"(?<![\w./-])/(home|root|work|Users)/\w")
    offenders = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if elsewhere.search(line)
    ]

    assert [] == offenders


def test_the_lock_names_hashes_and_no_place_to_download_from() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)

    assert "--hash=sha256:" in text
    assert [] == re.findall(r".*(?:https?:|file:|index-url|find-links).*", text)
    assert {"trio", "trio-asyncio", "aiomqtt", "amqtt", "pytest", "ruff", "hatchling"} <= set(pinned)


# -- actors --------------------------------------------------------------------------------------


def test_every_actor_is_named_in_the_contract_that_keeps_them_apart() -> None:
    """An actor is an async function that tells its supervisor through `task_status` when it has started."""
    law = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (kept_apart,) = (set(contract["modules"]) for contract in law if contract["type"] == "independence")
    actors = {
        f"tars.actors.mqtt.{path.stem}"
        for path, tree in parsed(sorted((ROOT / "actors" / "mqtt").glob("*.py")))
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and "task_status" in [argument.arg for argument in node.args.kwonlyargs]
    }

    assert actors == kept_apart


# -- packages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["supervisor", "actors"])
def test_a_package_is_the_folder_at_the_top_through_a_relative_link_and_ships_its_types(name: str) -> None:
    link = ROOT / ".src" / "tars" / name

    assert link.is_symlink()
    assert Path("../..") / name == link.readlink()
    assert (ROOT / name).resolve() == link.resolve()
    assert (ROOT / name / "py.typed").is_file()
    assert not (ROOT / ".src" / "tars" / "__init__.py").exists()


def test_the_packages_are_tars_supervisor_and_tars_actors_from_this_checkout() -> None:
    for package in (tars.supervisor, tars.actors):
        assert package.__file__ is not None
        assert ROOT == Path(package.__file__).resolve().parent.parent


def test_nobody_imports_the_folders_by_their_own_names() -> None:
    offenders = [
        place(path, node)
        for path, tree in parsed([*SOURCES, *BENCH, *TESTS])
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
        if name.split(".")[0] in {"supervisor", "actors"}
    ]

    assert [] == offenders


def test_everything_imports_without_loading_a_second_copy(tmp_path: Path) -> None:
    """Every module, in a fresh interpreter: none fails alone, none pulls in `supervisor` or `actors` by that name."""
    names = [".".join(("tars", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__") for path in SOURCES]
    program = f"""
import importlib, sys
for name in {[name for name in names if not name.endswith("__main__")]}:
    importlib.import_module(name)
print(sorted(name for name in sys.modules if name.split(".")[0] in ("supervisor", "actors")))
"""
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ("", "[]") == (ended.stderr, ended.stdout.strip())
