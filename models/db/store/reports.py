"""Reports of the data gate's later stages, as rows: one gate a version, one count of tokens for each way of writing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from models.db.tables import BaseModel, DatasetReport, DatasetVersion, Job
from models.domain.data_jobs import CountTokensSpec
from models.domain.ids import new_id


@dataclass(frozen=True, kw_only=True)
class NewReport:
    """`kind`: `gate` or `tokens`, of which the job's spec says the rest. The file holds its findings row by row."""

    kind: str
    facts: dict[str, Any]
    scope: str
    sha256: str
    size: int


def tokens_key(
    base_tree_sha256: str, train_on: str, template_arguments: Mapping[str, str | bool | int]
) -> str:  # fmt: skip
    """What makes two counts the same: the base's bytes, which turns are trained, and what its template is told."""
    told = [base_tree_sha256, str(train_on), dict(template_arguments)]
    return sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def insert_report(session: Session, job: Job, new: NewReport) -> None:
    """In place of an earlier one of the same kind and key: a second run finds the same, or was asked for."""
    version = session.get_one(DatasetVersion, job.spec["file"])
    base_id, key = None, ""
    if new.kind == "tokens":
        spec = CountTokensSpec.model_validate(job.spec)
        base_id = spec.base
        tree = session.get_one(BaseModel, base_id).tree_sha256
        key = tokens_key(tree, spec.train_on, spec.template_arguments)
    same = (DatasetReport.version_id == version.id, DatasetReport.kind == new.kind, DatasetReport.key == key)
    session.execute(delete(DatasetReport).where(*same))
    session.add(
        DatasetReport(
            id=new_id("report"), version_id=version.id, team_id=version.team_id, kind=new.kind, key=key,
            base_id=base_id, facts=new.facts, scope=new.scope, sha256=new.sha256, size=new.size, job_id=job.id,
        )
    )  # fmt: skip
    session.flush()
