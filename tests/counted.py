"""Token counts as stage 3 of the data gate leaves them, without a worker."""

from collections.abc import Mapping

from models.db.store.reports import NewReport, insert_report
from models.db.store.system import SystemStore
from models.domain.reports import Finding, FoundRow, Length, TokenReport
from models.infra.storage import team_scope
from tests.house import House, Person
from webapp.actions.count_tokens import count_tokens


def report_of(lengths: Mapping[int, int], *, rows: int | None = None, findings: Mapping[str, int] | None = None):
    """`lengths`: so many sequences of so many tokens; half of their tokens are trained."""
    each = tuple(
        Length(tokens=tokens, sequences=count, total_tokens=tokens * count, trained_tokens=tokens * count // 2)
        for tokens, count in sorted(lengths.items())
    )
    sequences = sum(lengths.values())
    return TokenReport(
        base_name="tiny", rows=rows or sequences, sequences=sequences, lengths=each,
        total_tokens=sum(one.total_tokens for one in each), trained_tokens=sum(one.trained_tokens for one in each),
        percentiles={"50": 1, "90": 1, "99": 1, "100": max(lengths)}, seconds=1.0, tokens_per_second=1.0,
        findings=tuple(
            Finding(kind=kind, count=count, first=(FoundRow(row=1, found="x"),))
            for kind, count in (findings or {}).items()
        ),
    )  # fmt: skip


def counted(house: House, person: Person, file: str, base: str, report: TokenReport, **writing) -> None:
    """The report of this file for this base; `writing` as `count_tokens` takes it."""
    job = count_tokens(house.deps, person.principal, file, base, **writing).job
    assert job is not None
    new = NewReport(
        kind="tokens", facts=report.model_dump(mode="json"), scope=team_scope(person.principal.team), sha256="0" * 64,
        size=1,
    )  # fmt: skip
    with house.deps.database.write() as session:
        insert_report(session, SystemStore(session).job(job.job.id), new)
