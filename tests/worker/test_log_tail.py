"""The end of a log as people see it: whatever a child printed, it is short, plain text."""

import pytest

from worker.log_tail import MOST_CHARACTERS, clean, log_tail


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[1;31mred\x1b[0m\x1b[2K done\n", "red done\n"),
        ("\x1b]0;a title\x07after\n", "after\n"),
        ("\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\\n", "link\n"),
        ("  0%|   |\r 50%|#  |\r100%|###|\nnext\n", "100%|###|\nnext\n"),
        ("two\r\nlines\r\n", "two\nlines\n"),
        ("nul\x00 bell\x07 c1\x9b31m\n", "nul bell c131m\n"),
        ("cod\u202egnp.exe\u202c\n", "codgnp.exe\n"),
        ("unfinished \x1b[", "unfinished "),
    ],
)
def test_terminal_codes_and_control_characters_are_gone(printed, shown):
    assert clean(printed) == shown


def test_a_long_log_shows_its_last_lines_whole(tmp_path):
    lines = [f"step {number} \u00e9\U0001f600\n" for number in range(50_000)]
    (tmp_path / "log.txt").write_text("".join(lines), encoding="utf-8")
    shown = log_tail(tmp_path / "log.txt", {})
    assert len(shown) <= MOST_CHARACTERS
    assert shown.splitlines(keepends=True) == lines[-len(shown.splitlines()) :]
    assert len(shown) > MOST_CHARACTERS - 50


def test_one_endless_line_keeps_its_end(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"x" * 300_000 + b"the end")
    assert log_tail(tmp_path / "log.txt", {}).endswith("xthe end")


def test_bytes_that_are_no_text_are_marked_and_paths_of_this_machine_are_named(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"\xff /data/jobs/1/in /data/other\n")
    assert log_tail(tmp_path / "log.txt", {"/data": "DATA", "/data/jobs/1": "JOB"}) == "\ufffd JOB/in DATA/other\n"


def test_no_log_is_an_empty_one(tmp_path):
    assert log_tail(tmp_path / "log.txt", {}) == ""
