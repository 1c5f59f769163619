"""Print a constraints file with the lowest version of every package that pyproject.toml allows, torch left out."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = [extra for name, extra in project["optional-dependencies"].items() if not name.startswith("cuda")]
for requirement in sorted({*project["dependencies"], *(requirement for extra in extras for requirement in extra)}):
    if requirement.startswith("admm-verify["):
        continue
    bound = re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement)
    if bound is None:
        raise SystemExit(f"{requirement!r} in pyproject.toml has no lower bound of the form name>=version.")
    # The lowest torch has no small CPU build on every index; constraints.txt pins the one that CI uses.
    if bound[1] != "torch":
        print(f"{bound[1]}=={bound[2]}")
