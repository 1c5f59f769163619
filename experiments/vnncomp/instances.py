"""Lists of instances: the official instances.csv of a benchmark, or the shared format with a header."""

import ast
import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import admm_verify as av

PREFIX = "vnncomp_"
"""What the categories of competition instances begin with in the shared format."""

COLUMNS = ("id", "category", "model", "spec", "timeout_s", "truth", "truth_source")
TRUTHS = ("sat", "unsat", "unknown")

_VERSION_FOLDER = re.compile(r"\d+\.\d+")
"""Since 2025 a benchmark has one folder per VNN-LIB version, as in acasxu/1.0/instances.csv."""

_SUFFIXES = (".gz", ".onnx", ".vnnlib")


@dataclass(frozen=True)
class Instance:
    """One question; networks: (declared name or "", file); truth: sat, unsat or unknown; timeout in seconds."""

    id: str
    category: str
    networks: tuple[tuple[str, Path], ...]
    query: Path
    timeout: float
    truth: str


def read_instances(path: Path, root: Path | None, cap: float | None = None, only: str = "") -> list[Instance]:
    """The instances of a list whose id contains `only`, in file order, each timeout cut to `cap` seconds.

    root: the folder the list's paths are relative to, by default the list's own. A file may be there with .gz added.

    Raises: InputError naming the line for a list that cannot be read, the first file that is missing, an empty choice.
    """
    rows = _rows(path)
    folder = (path.parent if root is None else root).resolve()
    if not folder.is_dir():
        raise av.InputError(f"The folder {root} does not exist. Give the folder that the paths in {path} start from.")
    if cap is not None and not 0 < cap < math.inf:
        raise av.InputError(f"The cap {cap} is no positive number of seconds. Give one, or leave it out.")
    limit = math.inf if cap is None else cap
    if tuple(rows[0][1]) == COLUMNS:
        found = [_shared(path, line, row, folder, limit) for line, row in rows[1:]]
        instances = [instance for instance in found if instance is not None]
    else:
        category = _category(path)
        instances = _distinct([_official(path, line, row, folder, limit, category) for line, row in rows])
    chosen = [instance for instance in instances if only in instance.id]
    if not chosen:
        reason = f"has {only!r} in its id" if only else f"is a competition instance (category {PREFIX}...)"
        raise av.InputError(f"None of the rows of {path} {reason}. Choose others.")
    _check_ids(path, chosen)
    _check_files(path, chosen)
    return chosen


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, with their line numbers."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except FileNotFoundError as error:
        raise av.InputError(f"The list {path} does not exist. Give the path of an instances.csv.") from error
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise av.InputError(f"The list {path} cannot be read as a csv file: {error}.") from error
    if not rows:
        raise av.InputError(f"The list {path} is empty. Give rows onnx,vnnlib,timeout.")
    return rows


def _official(path: Path, line: int, row: Sequence[str], folder: Path, cap: float, category: str) -> Instance:
    if len(row) != 3:
        raise _malformed(path, line, f"{len(row)} fields where onnx,vnnlib,timeout are expected")
    networks = _networks(path, line, row[0], folder)
    model = "+".join(_stem(file) for _, file in networks)
    name = f"{category}/{model}/{_stem(Path(row[1]))}"
    return Instance(name, category, networks, _file(folder, row[1]), min(_seconds(path, line, row[2]), cap), "unknown")


def _shared(path: Path, line: int, row: Sequence[str], folder: Path, cap: float) -> Instance | None:
    """An instance, or None for a row of another category."""
    if len(row) != len(COLUMNS):
        raise _malformed(path, line, f"{len(row)} fields where the header has {len(COLUMNS)}")
    name, category, model, query, timeout, truth, _ = row
    if not category.startswith(PREFIX):
        return None
    if not name:
        raise _malformed(path, line, "no id")
    if truth not in TRUTHS:
        raise _malformed(path, line, f"the truth {truth!r}, which is none of {', '.join(TRUTHS)}")
    seconds = min(_seconds(path, line, timeout), cap)
    networks = (("", _file(folder, model)),)
    return Instance(name, category.removeprefix(PREFIX), networks, _file(folder, query), seconds, truth)


def _networks(path: Path, line: int, field: str, folder: Path) -> tuple[tuple[str, Path], ...]:
    """One path, or as in queries over several networks a list [('f', 'path'), ...]."""
    if not field.startswith("["):
        return (("", _file(folder, field)),)
    try:
        return tuple((str(name), _file(folder, str(file))) for name, file in ast.literal_eval(field))
    except (SyntaxError, ValueError, TypeError) as error:
        raise _malformed(path, line, f"the networks {field!r}, which are no list [('name', 'path'), ...]") from error


def _seconds(path: Path, line: int, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise _malformed(path, line, f"the timeout {text!r}, which is no positive number of seconds")
    return seconds


def _file(folder: Path, name: str) -> Path:
    """The file itself, or its compressed twin: benchmark repositories keep .gz files and list them without."""
    plain = folder / name
    packed = plain.with_name(plain.name + ".gz")
    return packed if packed.is_file() and not plain.is_file() else plain


def _stem(file: Path) -> str:
    name = file.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _category(path: Path) -> str:
    """The benchmark's name: that of the folder its list lies in."""
    folder = path.resolve().parent
    return folder.parent.name if _VERSION_FOLDER.fullmatch(folder.name) else folder.name


def _distinct(instances: Sequence[Instance]) -> list[Instance]:
    """Ids made distinct by a number: files of one name may lie in several folders."""
    seen: dict[str, int] = {}
    found = []
    for one in instances:
        seen[one.id] = number = seen.get(one.id, 0) + 1
        name = one.id if number == 1 else f"{one.id}#{number}"
        found.append(Instance(name, one.category, one.networks, one.query, one.timeout, one.truth))
    return found


def _check_ids(path: Path, instances: Sequence[Instance]) -> None:
    seen: set[str] = set()
    for instance in instances:
        if instance.id in seen:
            raise av.InputError(f"The id {instance.id} is twice in {path}. Give each instance its own.")
        seen.add(instance.id)


def _check_files(path: Path, instances: Sequence[Instance]) -> None:
    files = [file for one in instances for file in (*(file for _, file in one.networks), one.query)]
    missing = sorted({str(file) for file in files if not file.is_file()})
    if missing:
        count = f"{len(missing)} files that {path} names are missing, the first is" if len(missing) > 1 else "The file"
        raise av.InputError(f"{count} {missing[0]}: there is no such file. Check --root.")


def _malformed(path: Path, line: int, what: str) -> av.InputError:
    return av.InputError(f"{path}, line {line}: found {what}. Correct the list.")
