"""All tables, so that importing this package fills `Base.metadata`."""

from models.db.tables.adapter import Adapter, Merge
from models.db.tables.base import Base, db_now
from models.db.tables.base_model import BaseModel
from models.db.tables.blob import Blob
from models.db.tables.conversation import Conversation, Message
from models.db.tables.dataset import Dataset, DatasetPart, DatasetReport, DatasetVersion
from models.db.tables.doors import Invitation, SetupToken, SignIn, SignInTry
from models.db.tables.job import Checkpoint, Job, JobEvent, Metric
from models.db.tables.link import Link, LinkUse
from models.db.tables.people import ApiKey, Membership, Secret, Team, User
from models.db.tables.preset import SavedPreset
from models.db.tables.sweep import Sweep, SweepRun
from models.db.tables.tracker import TrackedRun, Tracker
from models.db.tables.worker import Lease, Worker

__all__ = [
    "Adapter", "ApiKey", "Base", "BaseModel", "Blob", "Checkpoint", "Conversation", "Dataset", "DatasetPart",
    "DatasetReport", "DatasetVersion", "Invitation", "Job", "JobEvent", "Lease", "Link", "LinkUse", "Membership",
    "Merge", "Message", "Metric", "SavedPreset", "Secret", "SetupToken", "SignIn", "SignInTry", "Sweep",
    "SweepRun", "Team", "TrackedRun", "Tracker", "User", "Worker", "db_now",
]  # fmt: skip
