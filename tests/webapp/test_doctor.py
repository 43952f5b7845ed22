"""`doctor`: a line a part, a remedy where something does not work, and the exit code that scripts read."""

import pytest
from typer.testing import CliRunner

from models.infra.settings import Settings
from webapp.cli import app
from webapp.doctor import Finding, Verdict, device_memory, examine


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


GB = 10**9


def sharing(total: int | None, **settings) -> list[Finding]:
    made = Settings(**settings)
    return device_memory(made, dict.fromkeys((made.device, made.chat_device), total))


@pytest.mark.parametrize(
    ("jobs", "chat", "slots", "total", "verdict", "words"),
    [
        (None, None, 1, 24 * GB, Verdict.PROBLEM, ["DEVICE_MEMORY_BYTES and TUNEROOM_CHAT_DEVICE_MEMORY_BYTES"]),
        (8 * GB, None, 1, 24 * GB, Verdict.PROBLEM, ["set TUNEROOM_CHAT_DEVICE_MEMORY_BYTES, or"]),
        (None, 8 * GB, 1, 24 * GB, Verdict.PROBLEM, ["set TUNEROOM_DEVICE_MEMORY_BYTES, or"]),
        (15 * GB, 8 * GB, 1, 24 * GB, Verdict.OK, ["24.0 GB of 24.0 GB"]),
        (15 * GB + 1, 8 * GB, 1, 24 * GB, Verdict.PROBLEM, ["more than its 24.0 GB", "lower"]),
        (8 * GB, 8 * GB, 2, 24 * GB, Verdict.PROBLEM, ["8.0 GB + 8.0 GB + 8.0 GB", "25.5 GB"]),
        (8 * GB, 8 * GB, 1, None, Verdict.NOTE, ["not known"]),
    ],
)
def test_jobs_and_chat_on_one_gpu_need_caps_that_fit_together(jobs, chat, slots, total, verdict, words):
    caps = {"device_memory_bytes": jobs, "chat_device_memory_bytes": chat, "slots": slots}
    [found] = sharing(total, device="cuda:0", chat_device="cuda:0", **caps)
    assert found.verdict is verdict
    assert all(word in found.line() for word in words)


@pytest.mark.parametrize(
    ("settings", "verdicts"),
    [
        ({}, [Verdict.OK, Verdict.OK]),
        ({"device_memory_bytes": 30 * GB}, [Verdict.PROBLEM, Verdict.OK]),
        ({"chat_device_memory_bytes": 30 * GB}, [Verdict.OK, Verdict.PROBLEM]),
        ({"slots": 2}, [Verdict.PROBLEM, Verdict.OK]),
        ({"slots": 2, "device_memory_bytes": 10 * GB}, [Verdict.OK, Verdict.OK]),
    ],
)
def test_a_gpu_each_needs_caps_only_for_jobs_side_by_side_and_none_above_the_device(settings, verdicts):
    found = sharing(24 * GB, device="cuda:0", chat_device="cuda:1", **settings)
    assert [one.verdict for one in found] == verdicts


def test_caps_on_host_memory_are_no_caps_on_the_gpu():
    host = {"memory_limit_bytes": GB, "chat_memory_bytes": GB}
    [found] = sharing(24 * GB, device="cuda:0", chat_device="cuda:0", **host)
    assert found.is_grave


def test_a_cap_on_device_memory_asks_nothing_of_the_cpu():
    [found] = sharing(8 * GB, device_memory_bytes=30 * GB)
    assert found.verdict is Verdict.OK
