"""The demonstration's own journey on a tiny random base: every step real, only the model knows nothing."""

import math

from models import samples
from webapp.demo import MERGE, ask_all, client_of, fine_tune, merge, upload
from webapp.demo_report import Stages, print_report
from webapp.running import Running

TOY_SCHEDULE = {"epochs": 1, "batch_rows": 16, "learning_rate": 0.01}


def test_a_fine_tune_is_trained_merged_and_asked_through_the_http_interface(app: Running, capsys):
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


def test_where_the_time_went_is_one_line_in_the_order_of_the_stages():
    stages = Stages()
    stages.ended("start")
    stages.ended("base model")
    assert stages.line() == "start 0 s, base model 0 s"
    assert 0 <= stages.total_seconds < 60
