"""The schemas of all JSON that is read and written, made of what writes and reads it."""

import json
from typing import Any

from admm_verify.certificates.files import Manifest
from admm_verify.report.records.bound import BoundRecord
from admm_verify.report.records.certify import CertifyRecord
from admm_verify.report.records.check import CheckRecord
from admm_verify.report.records.demo import DemoRecord
from admm_verify.report.records.diff import DiffRecord
from admm_verify.report.records.lipschitz import LipschitzRecord
from admm_verify.report.records.policy import PolicyRecord
from admm_verify.report.records.reach import ReachRecord
from admm_verify.report.records.robustness_report import ReportRecord
from admm_verify.report.records.transfer import TransferRecord
from admm_verify.report.records.verify import VerifyRecord
from admm_verify.report.system_schema import system_schema
from admm_verify.robustness.journal import JournalHeader, JournalLine
from admm_verify.schemas import document, object_schema

RECORDS = (
    BoundRecord,
    CertifyRecord,
    CheckRecord,
    DemoRecord,
    DiffRecord,
    LipschitzRecord,
    PolicyRecord,
    ReachRecord,
    ReportRecord,
    TransferRecord,
    VerifyRecord,
)
"""What commands write with --json."""


def formats() -> dict[str, dict[str, Any]]:
    """The schema of every format by name."""
    return {
        **{record.SCHEMA.removeprefix("admm_verify/"): record.schema() for record in RECORDS},
        "certificate": document("admm_verify/certificate", object_schema(Manifest)),
        "certify_record": document(
            "admm_verify/certify_record", {"oneOf": [object_schema(JournalHeader), object_schema(JournalLine)]}
        ),
        "system": system_schema(),
    }


def schema_file(schema: dict[str, Any]) -> str:
    """The content of a schema's file."""
    return json.dumps(schema, indent=2) + "\n"
