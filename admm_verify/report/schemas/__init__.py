"""The schemas of all JSON that is read and written, a file each; `formats.py` makes them, this reads them."""

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def schema_names() -> tuple[str, ...]:
    """The names of all formats."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def schema_text(name: str) -> str:
    """The schema of a format, as JSON."""
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8").rstrip("\n")
