"""The timeline shows every step in a terminal and outside of one, and only a whole run is a success."""

from __future__ import annotations

import io

from rich.console import Console

from gateway.demo.timeline import Step, Timeline, summary

GOOD = Step("quarantine", "payroll cut", "payroll 0/125", 240.0, ok=True)
BAD = Step("recovery", "payroll back", "payroll 0/125", 0.0, ok=False)


def test_a_run_is_a_success_only_when_every_planned_step_was_done_and_held() -> None:
    assert summary([GOOD, GOOD], planned=2, time_to_contain_ms=240.0)["ok"] is True
    assert summary([GOOD], planned=2, time_to_contain_ms=240.0)["ok"] is False
    assert summary([GOOD, BAD], planned=2, time_to_contain_ms=240.0)["ok"] is False


def test_the_json_holds_name_expected_observed_milliseconds_and_ok() -> None:
    assert summary([GOOD], planned=1, time_to_contain_ms=240.0) == {
        "ok": True,
        "time_to_contain_ms": 240.0,
        "steps": [
            {
                "name": "quarantine",
                "expected": "payroll cut",
                "observed": "payroll 0/125",
                "milliseconds": 240.0,
                "ok": True,
            }
        ],
    }


def test_without_a_terminal_each_step_is_a_few_plain_lines() -> None:
    out = io.StringIO()
    with Timeline(["quarantine", "recovery"], Console(file=out, width=40)) as timeline:
        timeline.note("firewall flushed [bold]")
        timeline.add(GOOD)
        timeline.add(BAD)
    lines = out.getvalue().splitlines()
    assert "firewall flushed [bold]" in lines[0]
    assert "ok  1. quarantine" in lines[1]
    assert lines[3].endswith("observed: payroll 0/125  [240.0 ms]")
    assert "FAILED  2. recovery" in lines[4]
    assert "\x1b" not in out.getvalue()


def test_in_a_terminal_the_table_names_every_step_and_its_figure() -> None:
    out = io.StringIO()
    with Timeline(["quarantine", "recovery"], Console(file=out, width=120, force_terminal=True)) as timeline:
        timeline.add(GOOD)
    for text in ("quarantine", "payroll 0/125", "240.0", "recovery", "now"):
        assert text in out.getvalue()
