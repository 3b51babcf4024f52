"""The command `sallyport-agent`: what is wrong is said in one line, and nothing is written before it is right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.wire import AGENT_VERSION


def call(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SALLYPORT_")}
    return subprocess.run(
        [sys.executable, "-m", "agent", *arguments],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_version_is_said() -> None:
    assert call("--version").stdout == f"sallyport-agent {AGENT_VERSION}\n"


@pytest.mark.parametrize("arguments", [(), ("fly",), ("report",), ("run", "--backend", "openvpn"), ("enrol",)])
def test_a_wrong_call_ends_with_2_and_the_usage(arguments: tuple[str, ...]) -> None:
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: sallyport-agent")


@pytest.mark.parametrize(
    ("arguments", "settings", "reason"),
    [
        (("enrol", "http://gateway.example"), {}, "must be https"),
        (("enrol", "https://[::1"), {}, "no gateway address"),
        (("enrol", "https://gateway.example:99999"), {}, "no gateway address"),
        (("enrol", "https://gateway.example", "--ca", "/nowhere/ca.crt"), {}, "no such file"),
        (("enrol", "https://127.0.0.1:1", "--no-browser"), {}, "cannot be reached"),
        (("login",), {}, "sallyport-agent enrol URL"),
        (("run",), {}, "sallyport-agent enrol URL"),
        (("status",), {}, "sallyport-agent enrol URL"),
        (("status",), {"SALLYPORT_AGENT_STATE_DIR": "relative"}, "must be an absolute path"),
        (("report", "--print"), {"SALLYPORT_AGENT_CLAMD_SOCKET": "relative"}, "must be an absolute path"),
    ],
)
def test_what_cannot_be_done_is_one_line_that_says_why(
    folder: Path, arguments: tuple[str, ...], settings: dict[str, str], reason: str
) -> None:
    done = call(*arguments, **{"SALLYPORT_AGENT_STATE_DIR": str(folder), **settings})
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done
    assert done.stderr.startswith("error: ")
    assert reason in done.stderr
    assert not (folder / "enrolment.json").exists()


def test_an_authority_that_is_no_certificate_is_refused_before_anything_is_enrolled(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    done = call("enrol", "https://127.0.0.1:1", "--ca", str(tmp_path / "ca.crt"), SALLYPORT_AGENT_STATE_DIR=str(folder))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "holds no certificate" in done.stderr
