"""Write the schema files anew: python .ci/schemas.py, after a record or the reader of systems has changed."""

from admm_verify.report.formats import formats, schema_file
from admm_verify.report.schemas import FOLDER

for name, schema in formats().items():
    (FOLDER / f"{name}.json").write_text(schema_file(schema), encoding="utf-8")
