"""What the database does not keep for ever: ends of logs, and traces of people coming in. Metrics and events stay."""

from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from models.db.tables import Invitation, Job, LinkUse, SetupToken, SignIn, SignInTry, Worker, db_now


class ForgettingStore:
    """The part of SystemStore that lets old records go. Each call is one short transaction's work."""

    session: Session

    def forget_logs(self, keep_seconds: float) -> int:
        """The ends of logs of jobs that ended so long ago; how many."""
        old = (Job.log_tail.is_not(None), Job.finished_at < db_now(-keep_seconds))
        return _rows(self.session.execute(update(Job).where(*old).values(log_tail=None)))

    def forget_traces(self, keep_seconds: float) -> dict[str, int]:
        """Tries to sign in, sign-ins and invitations that are over, single uses of links, workers long gone."""
        return {
            name: _rows(self.session.execute(delete(table).where(is_old)))
            for name, table, is_old in _traces(keep_seconds)
        }

    def ended_before(self, job_ids: list[str], seconds: float) -> tuple[set[str], set[str]]:
        """Of these jobs: those that ended so long ago, and those that nobody knows."""
        found = self.session.execute(select(Job.id, Job.finished_at < db_now(-seconds)).where(Job.id.in_(job_ids)))
        over = {job: bool(is_over) for job, is_over in found}
        return {job for job, is_over in over.items() if is_over}, set(job_ids) - set(over)


def _traces(keep_seconds: float) -> list[tuple[str, type[Any], ColumnElement[bool]]]:
    then = db_now(-keep_seconds)
    used = or_(Invitation.used_at < then, Invitation.revoked_at < then, Invitation.expires_at < then)
    return [
        ("tries to sign in", SignInTry, SignInTry.at < then),
        ("ended sign-ins", SignIn, or_(SignIn.expires_at < then, SignIn.revoked_at < then)),
        ("used invitations", Invitation, used),
        ("setup links", SetupToken, or_(SetupToken.used_at < then, SetupToken.expires_at < then)),
        ("uses of links", LinkUse, LinkUse.at < then),
        ("workers", Worker, Worker.seen_at < then),
    ]


def _rows(result: Any) -> int:
    return result.rowcount
