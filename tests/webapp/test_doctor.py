"""`doctor`: a line a part, a remedy where something does not work, and the exit code that scripts read."""

import pytest
from typer.testing import CliRunner

from models.infra.settings import Settings
from webapp.cli import app
from webapp.doctor import Finding, Verdict, examine


def finding(findings: list[Finding], part: str) -> Finding:
    return next(one for one in findings if one.part == part)


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory) -> list[Finding]:
    folder = tmp_path_factory.mktemp("doctor") / "var"
    findings = examine(Settings(data_dir=folder))
    assert not folder.exists()  # looking changes nothing
    return findings


def test_a_machine_without_an_installation_is_well_and_told_what_comes_next(on_cpu):
    assert [one.part for one in on_cpu if one.is_grave] == []
    assert finding(on_cpu, "database").verdict is Verdict.NOTE
    assert "`tuneroom up`" in finding(on_cpu, "broker").remedy


def test_the_device_and_four_bit_training_were_really_tried(on_cpu):
    assert "computes in" in finding(on_cpu, "device").found
    assert finding(on_cpu, "4-bit").verdict is Verdict.OK


def test_every_finding_that_is_not_well_has_a_remedy(on_cpu):
    assert all(one.remedy for one in on_cpu if one.verdict is not Verdict.OK)


def test_a_shared_gpu_without_a_cap_and_a_missing_device_and_services_that_do_not_answer_are_problems(
    tmp_path, monkeypatch
):
    wrong = {
        "DEVICE": "cuda:99", "CHAT_DEVICE": "cuda:99", "REDIS_URL": "redis://127.0.0.1:1",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }  # fmt: skip
    for name, value in wrong.items():
        monkeypatch.setenv(f"TUNEROOM_{name}", value)
    result = CliRunner().invoke(app, ["doctor", "--data-dir", str(tmp_path)])
    graves = {line.split()[1] for line in result.output.splitlines() if line.startswith("problem")}
    assert result.exit_code == 1
    assert graves == {"database", "broker", "device", "sharing"}
