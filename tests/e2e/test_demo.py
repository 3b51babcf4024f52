"""The demo as a newcomer runs it: six steps observed in packets, nothing left behind, clear words when something lacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.demo import namespaces
from gateway.demo.stage import sweep
from gateway.demo.steps import CUT_WITHIN, NAMES, missing_events
from tests.sim.hosts import interface_names, namespace_names

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "gateway", "demo"]


def remains(pid: int) -> dict[str, set[str]]:
    """What a run left behind: namespaces, interfaces, sockets and temporary folders all carry its process id."""
    mark = f"{namespaces.PREFIX}-{pid}-"
    ours = {f"sp{pid}g", f"sp{pid}a"}
    found = {
        "namespaces": {name for name in namespace_names() if name.startswith(mark)},
        "interfaces": interface_names() & {*ours, "internet", "office"},
        "sockets": {path.name for path in Path("/var/run/wireguard").glob("*.sock") if path.stem in ours},
        "folders": {path.name for path in Path("/tmp").glob(f"{mark}*")},
    }
    return {kind: names for kind, names in found.items() if names}


def descendants(pid: int) -> set[int]:
    """Every process below one."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in listed.splitlines()}
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= more
    return found


def start(*arguments: str, output: Path) -> subprocess.Popen[str]:
    with output.open("w") as file:
        return subprocess.Popen([*DEMO, *arguments], cwd="/", stdout=file, stderr=subprocess.STDOUT, text=True)


def said(output: Path, text: str, *, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while text not in output.read_text():
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.02)


def gone(pids: set[int], *, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Two demos at the same time, from another folder than the clone."""
    folder = tmp_path_factory.mktemp("demo")
    outputs = [folder / "one.log", folder / "two.log"]
    started = [start("--json", str(output.with_suffix(".json")), output=output) for output in outputs]
    statuses = [run.wait(240) for run in started]
    results = [json.loads(output.with_suffix(".json").read_text()) for output in outputs]
    for run, status, result, output in zip(started, statuses, results, outputs, strict=True):
        result.update(status=status, output=output.read_text(), left=remains(run.pid))
    return results


def test_every_run_succeeds_also_two_at_once(runs: list[dict[str, Any]]) -> None:
    assert [run["status"] for run in runs] == [0, 0], "\n".join(run["output"] for run in runs)


@pytest.mark.parametrize("number", range(len(NAMES)), ids=[name.replace(" ", "-") for name in NAMES])
def test_each_step_was_observed(runs: list[dict[str, Any]], number: int) -> None:
    for run in runs:
        step = run["steps"][number]
        assert set(step) == {"name", "expected", "observed", "milliseconds", "ok"}
        assert step["name"] == NAMES[number]
        assert step["ok"] is True, step
        assert step["milliseconds"] >= 0  # packets are 8 ms apart: a cut may come before the next one
        assert step["observed"] in run["output"]


def test_the_established_flow_ends_within_two_seconds_of_the_changed_fact(runs: list[dict[str, Any]]) -> None:
    for run in runs:
        assert 0 < run["time_to_contain_ms"] <= CUT_WITHIN == 2000
        assert run["time_to_contain_ms"] == run["steps"][2]["milliseconds"]


def test_the_agent_showed_why_and_the_fix_that_was_then_typed(runs: list[dict[str, Any]]) -> None:
    for run in runs:
        shown = run["output"].split("agent: quarantine: the firewall is off")[1].splitlines()[0].split("; fix: ")[1]
        assert f"typed: {shown}" in run["output"]


def test_a_run_leaves_nothing_behind(runs: list[dict[str, Any]]) -> None:
    assert [run["left"] for run in runs] == [{}, {}]


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("office open", signal.SIGINT),
        ("sallyport up", signal.SIGTERM),
        ("2. wiki and payroll", signal.SIGINT),
        ("the agent is frozen", signal.SIGTERM),
    ],
    ids=["early", "while-enrolling", "while-packets-flow", "while-the-agent-is-frozen"],
)
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    output = tmp_path / "log"
    run = start(output=output)
    said(output, moment)
    below = descendants(run.pid)
    assert below
    assert remains(run.pid).keys() >= {"namespaces", "folders"}
    run.send_signal(number)
    assert run.wait(60) == 130
    assert "interrupted" in output.read_text()
    assert "Traceback" not in output.read_text()
    assert gone(below)
    assert remains(run.pid) == {}


def test_what_a_killed_run_could_not_remove_the_next_one_does(tmp_path: Path) -> None:
    output = tmp_path / "log"
    run = start(output=output)
    said(output, "1. enrol")
    below = descendants(run.pid)
    run.kill()
    run.wait()
    assert gone(below), "programs end with their parent, even when that is killed"
    assert remains(run.pid) != {}
    assert len(sweep()) >= 3
    assert remains(run.pid) == {}


def test_only_a_log_that_tells_everything_in_order_is_complete() -> None:
    assert missing_events([]) != []
    assert missing_events(["session.killed", "device.enrolled"])[0] == "device.logged-in"


# what is missing is said in one clear line


def complaint(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd="/", env={**os.environ, **environment}
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_without_root_the_demo_says_so() -> None:
    assert "run this as root" in complaint("unshare", "--user", *DEMO)


def test_without_root_the_tests_that_need_it_say_so_in_one_line() -> None:
    command = ["unshare", "--user", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/interop"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    said = [line for line in (done.stdout + done.stderr).splitlines() if "error: " in line]
    assert len(said) == 1
    assert "run this as root" in said[0]


def test_an_interrupted_test_run_takes_down_what_it_built(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", "tests/interop/test_control_socket.py"]
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    mark = f"{namespaces.PREFIX}-{run.pid}-"
    deadline = time.monotonic() + 60
    while not any(name.startswith(mark) for name in namespace_names()):
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 2, "interrupted, as pytest calls it"
    assert not [name for name in namespace_names() if name.startswith(mark)]


def test_without_a_tun_device_the_demo_says_so() -> None:
    hidden = "mount -t tmpfs none /dev/net && exec " + " ".join(DEMO)
    assert "/dev/net/tun is missing" in complaint("unshare", "--mount", "sh", "-c", hidden)


def test_a_result_that_cannot_be_written_is_refused_before_anything_is_built() -> None:
    assert "--json /nowhere/x.json" in complaint(*DEMO, "--json", "/nowhere/x.json")
