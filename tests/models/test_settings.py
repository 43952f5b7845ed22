"""Settings: every URL in the spelling its reader wants, and no door open to the world by accident."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from models.domain.errors import Code, Invalid
from models.infra.settings import MAX_SOCKET_PATH_BYTES, Settings


@pytest.fixture(autouse=True)
def _without_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TUNEROOM_{name.upper()}", raising=False)


def test_everything_embedded_lies_below_the_data_directory(tmp_path):
    settings = Settings(data_dir=tmp_path)
    assert settings.database == f"sqlite:///{tmp_path}/tuneroom.db"
    assert settings.storage == f"file://{tmp_path}/storage"
    assert settings.redis_py_url == f"unix://{tmp_path}/run/r.sock?db=0"
    assert settings.celery_url == f"redis+socket://{tmp_path}/run/r.sock?virtual_host=0"
    assert {settings.jobs_dir, settings.cache_dir, settings.key_file.parent} <= {
        tmp_path, tmp_path / "jobs", tmp_path / "cache",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "redis_py", "celery"),
    [
        ("redis://host:6379/2", "redis://host:6379/2", "redis://host:6379/2"),
        ("rediss://user:pw@host/0", "rediss://user:pw@host/0", "rediss://user:pw@host/0"),
        ("unix:///run/r.sock?db=3", "unix:///run/r.sock?db=3", "redis+socket:///run/r.sock?virtual_host=3"),
    ],
)
def test_one_broker_in_two_spellings(given, redis_py, celery):
    settings = Settings(redis_url=given)
    assert (settings.redis_py_url, settings.celery_url) == (redis_py, celery)


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ("postgresql://u:p@h/db", "postgresql+psycopg://u:p@h/db"),
        ("postgres://u:p@h/db", "postgresql+psycopg://u:p@h/db"),
        ("postgresql+psycopg://u:p@h/db", "postgresql+psycopg://u:p@h/db"),
        ("sqlite:////srv/x.db", "sqlite:////srv/x.db"),
    ],
)
def test_a_database_url_names_the_driver(given, needed):
    assert Settings(database_url=given).database == needed


def test_a_long_data_directory_gets_a_short_place_for_its_socket(tmp_path):
    deep = tmp_path / ("d" * 90)
    settings = Settings(data_dir=deep)
    assert len(str(settings.redis_socket)) <= MAX_SOCKET_PATH_BYTES < len(str(deep / "run" / "r.sock"))
    assert settings.runtime_dir == Settings(data_dir=deep).runtime_dir != Settings(data_dir=tmp_path / "e").runtime_dir


def test_a_relative_data_directory_does_not_move_with_the_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_dir=Path("var"))
    monkeypatch.chdir("/")
    assert settings.data_dir == tmp_path / "var"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_is_open(host):
    Settings(host=host).check_bind()


@pytest.mark.parametrize(
    "risky",
    [
        {},
        {"public_url": "https://tuneroom.example"},
        {"trusted_proxies": "10.0.0.1"},
        {"public_url": "http://tuneroom.example", "trusted_proxies": "10.0.0.1"},
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_an_address_others_reach_is_refused_without_tls(host, risky):
    with pytest.raises(Invalid, match="without TLS") as refused:
        Settings(host=host, **risky).check_bind()
    assert refused.value.code is Code.INVALID_SETTING


def test_an_address_others_reach_is_allowed_behind_a_tls_proxy_or_in_the_container():
    Settings(host="0.0.0.0", public_url="https://t.example", trusted_proxies="10.0.0.1").check_bind()
    Settings(host="0.0.0.0", container=True).check_bind()


def test_another_process_builds_equal_settings_from_the_environment(tmp_path, monkeypatch):
    settings = Settings(data_dir=tmp_path, lease_seconds=3, slots=2, redis_url="redis://h/1", container=True)
    for name, value in settings.child_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


@pytest.mark.parametrize(
    "wrong", [{"lease_seconds": 0}, {"port": 70_000}, {"device": "gpu"}, {"slots": 0}, {"device_memory_bytes": 10}]
)
def test_a_setting_out_of_range_is_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().port = 1
