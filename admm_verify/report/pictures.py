"""Pictures as files."""

from pathlib import Path
from typing import TYPE_CHECKING

from admm_verify.errors import InputError
from admm_verify.files import replaced
from admm_verify.report.picture_inputs import checked_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg", ".jpg")


def save(figure: "Figure", path: str, dpi: int) -> None:
    """Write a figure, whole or not at all, in the format that the file's suffix names.

    Raises: InputError for another suffix or a figure that cannot be drawn, OutputError when the file cannot be written.
    """
    suffix = Path(checked_path(path, FORMATS, "plot")).suffix.lower()
    with replaced(path, "plot") as file:
        try:
            figure.savefig(file, dpi=dpi, format=suffix[1:])
        except ValueError as error:
            raise InputError(f"The plot {path} cannot be drawn: {error}.") from error
