"""What the web process holds open, built once at the entry point. Knows no route and no user."""

from dataclasses import dataclass
from typing import Self

from models.db.engine import Database
from models.infra.broker import Broker
from models.infra.questions import Questions
from models.infra.secrets import load_key
from models.infra.settings import Settings
from models.infra.storage import Storage
from models.infra.stored_rows import StoredRows
from models.infra.streams import Streams


@dataclass(frozen=True, kw_only=True)
class Deps:
    """Every part may be shared between threads; `streams.follow_async` belongs to one event loop."""

    settings: Settings
    database: Database
    storage: Storage
    rows: StoredRows
    broker: Broker
    streams: Streams
    questions: Questions
    secret_key: bytes

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Connects to nothing yet, so that a web process starts while its broker or database is away."""
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        storage, broker = Storage(settings.storage), Broker(settings)
        return cls(
            settings=settings,
            database=Database(settings.database),
            storage=storage,
            rows=StoredRows(storage),
            broker=broker,
            streams=Streams(settings.redis_py_url),
            questions=Questions(broker, settings.redis_py_url),
            secret_key=load_key(settings.key_file),
        )

    def close(self) -> None:
        self.questions.close()
        self.streams.close()
        self.broker.close()
        self.database.close()
