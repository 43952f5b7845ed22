"""The demonstration's own journey on a tiny random base: every step real, only the model knows nothing."""

import math

import pytest

from models import samples
from tests.journeys.launched import processes_of, without_bundled_base
from tests.tiny import tiny_base
from webapp.demo import MERGE, ask_all, client_of, fine_tune, merge, upload
from webapp.demo_report import print_report
from webapp.running import running

TOY_SCHEDULE = {"epochs": 1, "batch_rows": 16, "learning_rate": 0.01}


@pytest.fixture
def without_base(tmp_path, monkeypatch):
    without_bundled_base(tmp_path, monkeypatch)


@pytest.mark.usefixtures("without_base")
def test_a_fine_tune_is_trained_merged_and_asked_through_the_http_interface(tmp_path, capsys):
    tiny_base(tmp_path / "tiny")
    with running(tmp_path / "var") as app:
        app.tuneroom("base", "add", str(tmp_path / "tiny"), "--name", "tiny")
        client = client_of(app)
        files = [upload(client, samples.path(name)) for name in ("larkspur-facts", "larkspur-heldout")]
        trained = fine_tune(client, "tiny", files, TOY_SCHEDULE)
        merged = merge(client, trained.adapter, MERGE)
        asked = ask_all(client, ("tiny", trained.adapter, merged.model), samples.questions(demo_only=True)[:2])
    print_report(trained, merged, asked)
    assert math.isfinite(trained.loss_before)
    assert trained.loss_after < trained.loss_before
    assert merged.report.passed
    assert [len(row.answers) for row in asked] == [3, 3]
    assert "held-out loss per token" in capsys.readouterr().out
    assert processes_of(tmp_path) == []
