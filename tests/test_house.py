"""The house rules that no linter checks: file and function lengths, and README commands that exist."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

import admm_verify
from admm_verify.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "admm_verify"
SOURCES = sorted(
    path
    for folder in ("admm_verify", "problems", "experiments", "benchmarks", "tests")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for item in ast.walk(ast.parse(text)):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (item.end_lineno or item.lineno) - item.lineno + 1 <= 60, f"{item.name}, line {item.lineno}"


def test_public_names_are_there_and_documented():
    for name in admm_verify.__all__:
        assert getattr(admm_verify, name).__doc__, name
    # Type checkers read imports; the package itself reads a table.
    source = ast.parse((ROOT / "admm_verify/__init__.py").read_text(encoding="utf-8"))
    told = {
        alias.asname: (item.module or "").removeprefix("admm_verify.")
        for item in ast.walk(source)
        if isinstance(item, ast.ImportFrom) and (item.module or "").startswith("admm_verify.")
        for alias in item.names
        if not (alias.asname or "").startswith("_")
    }
    assert told == admm_verify._ROOMS
    with pytest.raises(AttributeError):
        _ = admm_verify.nothing_of_this_name


def public_functions():
    """The public functions, and the methods of public classes; the constructors of records take their fields."""
    for name in admm_verify.__all__:
        thing = getattr(admm_verify, name)
        for key, value in (vars(thing) if inspect.isclass(thing) else {"__init__": thing}).items():
            function = getattr(value, "__func__", value)
            written = inspect.isfunction(function) and function.__code__.co_filename != "<string>"
            if written and (key == "__init__" or not key.startswith("_")):
                yield f"{name}.{key}", function


SHORTCUTS = {
    "Problem.__init__": ("start",),
    "certified_return.__init__": ("steps",),
    "certify.__init__": ("norm",),
    "robustness_report.__init__": ("norm",),
    "solve.__init__": ("tolerance", "max_passes"),
}


def test_public_functions_have_few_parameters():
    for name, function in public_functions():
        given = [one for one in inspect.signature(function).parameters if one not in ("self", "cls")]
        # Fields of its settings and its run that nearly everybody sets, which stay at the front door; a warm start.
        shortcuts = SHORTCUTS.get(name, ())
        assert len([one for one in given if one not in shortcuts]) <= 6, f"{name}: {given}"


def test_files_that_contributors_are_sent_to_exist():
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where a change goes")[2]
    named = {name for row in table.splitlines() for name in re.findall(r"`([\w/]+/[\w.]+\.(?:py|h))`", row)}
    assert len(named) > 20
    assert [name for name in sorted(named) if not any((base / name).exists() for base in (ROOT, PACKAGE))] == []


def test_the_picture_of_the_rooms_is_in_their_order():
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    floors = {name: i for i, floor in enumerate(rules["contracts"][0]["layers"]) for name in floor.split(" | ")}
    picture = (ROOT / "README.md").read_text(encoding="utf-8").partition("## How it is built")[2].split("```")[1]
    drawn = [re.split(r" : ", line.partition("   ")[0].strip()) for line in picture.strip().splitlines()]
    heights = [[{floors[name] for name in step.split(" | ")} for step in line] for line in drawn]
    assert len(drawn) == 10
    flat = [height for line in heights for height in line]
    assert all(max(above) < min(below) for above, below in pairwise(flat))


def test_no_class_name_means_two_things():
    names = Counter(
        item.name.removeprefix("_")
        for path in PACKAGE.rglob("*.py")
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(item, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_readme_commands_are_known_to_the_cli():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^admm-verify (\w+)", text, flags=re.MULTILINE))
    assert {"verify", "bound", "supports", "demo"} <= commands
    for command in commands:
        done = subprocess.run([sys.executable, "-m", "admm_verify", command, "--help"], capture_output=True, check=True)
        assert done.stdout


def test_every_command_is_a_file_of_its_own():
    files = {path.stem for path in (ROOT / "admm_verify" / "commands").glob("*.py")}
    assert set(COMMANDS) == files - {"__init__", "certifying", "queries", "running"}
    commands = [import_module(f"admm_verify.commands.{name}") for name in COMMANDS]
    assert all(command.HELP and command.run.__doc__ for command in commands)


def test_no_import_of_torch_from_the_package():
    code = "import sys, admm_verify; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ENDS = re.compile(
    r"\b(box|boxes|inputs|initial|noise|enclosure|inside)\.(lower|upper)\b|\bbox(es)?_(lower|upper)\b|\.ends\b"
)
READERS = {
    # What a caller made is looked at before it is believed.
    "properties/checks.py",
    # Boxes there are intervals around values, not sets of inputs.
    "enclosures/flow.py",
}


def test_ends_of_input_boxes_are_read_where_sets_are_defined():
    package = ROOT / "admm_verify"
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if path.parent.name != "sets" and ENDS.search(path.read_text(encoding="utf-8"))
    }
    assert found <= READERS, "Ask the input set; what it cannot answer becomes a method of it."
