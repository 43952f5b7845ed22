"""One frozen Settings per process, read once from `TUNEROOM_*`, from which every URL spelling is derived."""

import os
import tempfile
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.domain.device_memory import LEAST_CAP_BYTES
from models.domain.errors import Code, Invalid

MAX_SOCKET_PATH_BYTES = 100  # sun_path holds 108; kombu and we append nothing, but leave room


class Settings(BaseSettings):
    """Where everything is and how long everything may take. Frozen; `TUNEROOM_<NAME>` overrides each field."""

    model_config = SettingsConfigDict(env_prefix="TUNEROOM_", frozen=True, extra="ignore")

    data_dir: Path = Field(default=Path("var"), description="All state of an embedded installation lives below it")
    database_url: str | None = Field(default=None, description="None: SQLite below data_dir")
    redis_url: str | None = Field(default=None, description="None: the embedded Valkey below data_dir")
    storage_url: str | None = Field(default=None, description="fsspec URL; None: file:// below data_dir")
    secret_key_file: Path | None = Field(
        default=None, description="None: data_dir/secret.key, made at first use, mode 0600"
    )

    host: str = "127.0.0.1"
    port: int = Field(default=7860, ge=0, le=65535)
    public_url: str | None = Field(default=None, description="None: http://host:port; builds every link")
    trusted_proxies: str = Field(default="", description="Comma-separated addresses of TLS proxies in front")
    container: bool = Field(default=False, description="True inside the project's container image only: allows 0.0.0.0")

    lease_seconds: float = Field(
        default=30, gt=0, description="A running job whose owner is silent this long is taken over"
    )
    heartbeat_seconds: float = Field(default=1, gt=0)
    sweep_seconds: float = Field(default=10, gt=0)
    cancel_grace_seconds: float = Field(default=15, gt=0, description="From TERM to KILL of a child")
    drain_seconds: float = Field(default=50, gt=0, description="From a worker's SIGTERM to KILL of its children")
    child_silence_seconds: float = Field(
        default=25, gt=0, description="A child without a heartbeat byte this long ends itself"
    )
    no_progress_seconds: float = Field(default=600, gt=0, description="A child that says nothing this long is stopped")
    max_attempts: int = Field(default=3, ge=1, description="Lost workers before a job fails as worker_lost")

    slots: int = Field(default=1, ge=1, le=64, description="Jobs one worker runs at once")
    light_slots: int = Field(
        default=2, ge=1, le=64, description="The same of the lane light; from two on, one is kept for quick jobs"
    )
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda:\d+)$")
    compute_dtype: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int | None = Field(default=None, ge=1, description="torch threads of a child; None: all cores")
    warm_child: Literal["auto", "on", "off"] = Field(
        default="auto", description="Keep a child with its libraries loaded for the next job; auto: from 8 GB on"
    )
    memory_limit_bytes: int | None = Field(
        default=None, ge=1, description="Host memory of one child; None: 80 % of the host"
    )
    device_memory_bytes: int | None = Field(
        default=None, ge=LEAST_CAP_BYTES, description="Memory of a CUDA device for one child; None: no cap"
    )
    chat_device: str = Field(default="cpu", pattern=r"^(cpu|cuda:\d+)$")
    chat_memory_bytes: int = Field(
        default=4 * 10**9, ge=10**8, description="Resident models of the chat worker, at most"
    )
    chat_device_memory_bytes: int | None = Field(
        default=None, ge=LEAST_CAP_BYTES, description="Memory of a CUDA device for the chat worker; None: no cap"
    )
    chat_concurrency: int = Field(default=16, ge=1, le=256, description="Live requests of one chat worker")
    answer_seconds: float = Field(default=300, gt=0, description="An answer nobody could start by then is dropped")
    answers_per_person: int = Field(default=5, ge=1, le=1000, description="Running answers of one person, at most")

    max_upload_bytes: int = Field(default=500 * 10**6, ge=1)
    cache_bytes: int = Field(default=50 * 10**9, ge=10**8, description="Local copies of bases and datasets, at most")
    care_seconds: float = Field(default=3600, gt=0, description="How often garbage and old records are looked for")
    gc_after_seconds: float = Field(
        default=24 * 3600, gt=0, description="Bytes that nothing refers to stay this long, so that no race loses them"
    )
    keep_logs_days: float = Field(
        default=30, gt=0, description="Logs, job folders and checkpoints of jobs that ended without a result"
    )
    keep_traces_days: float = Field(
        default=90, gt=0, description="Tries to sign in, ended sign-ins, used invitations, single uses of links"
    )
    tracker_hosts: str = Field(
        default="", description="Comma-separated hosts inside this network that trackers of teams may speak to"
    )
    tracker_local: bool = Field(
        default=False, description="True lets MLflow, W&B and Trackio keep files of teams below data_dir/trackers"
    )
    tracker_seconds: float = Field(default=10, gt=0, description="How often trackers are told of running trainings")
    tracker_silence_seconds: float = Field(
        default=60, gt=0, description="A tracker that does not answer this long is cut off and tried again later"
    )
    hub_offline: bool = Field(default=False, description="True refuses every download from the model hub")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @cached_property
    def database(self) -> str:
        """SQLAlchemy URL."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'tuneroom.db'}"
        if self.database_url.startswith(("postgresql://", "postgres://")):
            return "postgresql+psycopg://" + self.database_url.split("://", 1)[1]
        return self.database_url

    @cached_property
    def storage(self) -> str:
        return self.storage_url or f"file://{self.data_dir / 'storage'}"

    @cached_property
    def runtime_dir(self) -> Path:
        """Where sockets and pid files live: data_dir/run, or a short per-user directory if that path is too long."""
        wanted = self.data_dir / "run"
        if len(os.fsencode(wanted / "r.sock")) <= MAX_SOCKET_PATH_BYTES:
            return wanted
        digest = sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"tuneroom-{os.getuid()}-{digest}"

    @cached_property
    def redis_socket(self) -> Path:
        return self.runtime_dir / "r.sock"

    @cached_property
    def redis_py_url(self) -> str:
        """redis-py's spelling."""
        return self.redis_url or f"unix://{self.redis_socket}?db=0"

    @cached_property
    def celery_url(self) -> str:
        """Celery's spelling."""
        if self.redis_url is None:
            return f"redis+socket://{self.redis_socket}?virtual_host=0"
        if self.redis_url.startswith("unix://"):
            return "redis+socket://" + self.redis_url.removeprefix("unix://").replace("?db=", "?virtual_host=")
        return self.redis_url

    @cached_property
    def local_url(self) -> str:
        """Where this machine reaches the app; links for people say `public_url` where it is set."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @cached_property
    def jobs_dir(self) -> Path:
        return self.data_dir / "jobs"

    @cached_property
    def trackers_dir(self) -> Path:
        """A folder for each team, and in it one for each kind of tracker."""
        return self.data_dir / "trackers"

    @cached_property
    def cache_dir(self) -> Path:
        return self.data_dir / "cache"

    @cached_property
    def key_file(self) -> Path:
        return self.secret_key_file or self.data_dir / "secret.key"

    def check_bind(self) -> None:
        """Refuse to listen beyond loopback without a container's wall or a TLS proxy (fail closed)."""
        if self.host in ("127.0.0.1", "::1", "localhost") or self.container:
            return
        if self.trusted_proxies and (self.public_url or "").startswith("https://"):
            return
        raise Invalid(
            f"--host {self.host} would serve sign-in and keys without TLS to everyone who reaches this machine. "
            "Keep 127.0.0.1, or set TUNEROOM_PUBLIC_URL=https://... and TUNEROOM_TRUSTED_PROXIES for a TLS proxy.",
            code=Code.INVALID_SETTING,
        )

    def child_environment(self) -> dict[str, str]:
        """What another process of this installation needs to build equal Settings."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return {f"TUNEROOM_{name.upper()}": str(value) for name, value in values.items() if value is not None} | {
            "TUNEROOM_DATA_DIR": str(self.data_dir)
        }
