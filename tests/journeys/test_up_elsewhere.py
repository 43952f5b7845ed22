"""`up` with a PostgreSQL and a Redis of one's own: nothing embedded is made, everything else is the same."""

import httpx
import openai

from models.infra import valkey
from models.infra.settings import Settings
from tests.journeys.launched import eventually, processes_of, without_bundled_base
from webapp.running import running


def test_up_works_on_a_database_and_a_broker_that_it_did_not_start(tmp_path, postgres_url, monkeypatch):
    without_bundled_base(tmp_path, monkeypatch)
    outside = Settings(data_dir=tmp_path / "outside")
    broker = valkey.start(outside)
    assert broker is not None
    home = tmp_path / "var"
    try:
        with running(home, database_url=postgres_url(), redis_url=outside.redis_py_url) as app:
            eventually(lambda: httpx.get(f"{app.url}/readyz", trust_env=False).status_code == 200)
            http = httpx.Client(trust_env=False)
            client = openai.OpenAI(base_url=f"{app.url}/v1", api_key=app.new_key("anna@example.org"), http_client=http)
            eventually(lambda: [file.status for file in client.files.list()] == ["processed"] * 3)
        assert not (home / "tuneroom.db").exists() and not (home / "valkey").exists()
        assert processes_of(home) == []
    finally:
        broker.stop()
