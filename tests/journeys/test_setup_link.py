"""From nothing to somebody signed in, with `tuneroom up` as a person meets it; a lost password while it runs."""

import re
import subprocess

import httpx

from tests.journeys.launched import launched, without_bundled_base
from webapp.processes import bare_environment, tuneroom_command

PASSWORD = "correct horse battery"


def test_up_says_a_setup_link_that_works_once_and_a_reset_works_while_it_runs(tmp_path, monkeypatch):
    without_bundled_base(tmp_path, monkeypatch)
    with launched(tmp_path / "var") as up:
        assert up.stdout is not None
        link = next(line for line in up.stdout if "Set up the first administrator" in line).split()[-1]
        site = re.sub("/setup/.*", "", link)
        form = {"email": "root@example.org", "password": PASSWORD}
        with browser(site) as first, browser(site) as second:
            assert "Create administrator" in first.get(link).text
            assert first.post(link, data=form).headers["location"] == "/"
            assert first.get("/api/v1/me").json()["role"] == "owner"
            assert second.get(link).status_code == 404
            assert second.post("/login", data=form).status_code == 303
            command = tuneroom_command("user", "reset", "root@example.org", "--data-dir", str(tmp_path / "var"))
            done = subprocess.run(command, env=bare_environment(), capture_output=True, text=True, check=True)
            assert [one.get("/api/v1/me").status_code for one in (first, second)] == [401, 401]
            new = form | {"password": done.stdout.splitlines()[-1]}
            assert [first.post("/login", data=told).status_code for told in (form, new)] == [401, 303]
    logs = "".join(file.read_text() for file in (tmp_path / "var" / "logs").iterdir())
    assert "first administrator set up" in logs
    for secret in (link.rsplit("/", 1)[1], PASSWORD, new["password"], "root@example.org"):
        assert secret not in logs


def browser(site: str) -> httpx.Client:
    return httpx.Client(base_url=site, headers={"Origin": site}, trust_env=False, timeout=30)
