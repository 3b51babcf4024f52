"""The agent, measured: from a change to its report, at rest, and at the start. `python -m tests.bench.agent --help`.

One namespace holds the real agent with its real tunnel and a gateway that accepts everything and notes when the last
byte of each report came: that is later than when it left. What the agent watches is the machine's own, behind a mount
namespace: a copy of the package state, a folder of signatures, a stand-in for clamd that answers from that folder.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent import wire
from agent.collect import Collection
from agent.device_key import DeviceKey
from agent.state import State
from agent.wire import Enrolment
from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from tests.unit.agent.conftest import Request, Server
from tests.unit.agent.test_answers import TUNNEL
from tests.unit.agent.test_client import VERDICT, authority, says, says_json

WITHIN = 60.0
CLAMD = """
import os, socket, sys
path, signature = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as server:
    server.bind(path + ".new"); server.listen(); os.rename(path + ".new", path)
    while True:
        client = server.accept()[0]
        with client:
            asked = client.recv(64)
            version = "ClamAV 1.4.1" + ("/27500/Mon Nov 23 09:00:00 2026" if os.path.exists(signature) else "")
            if asked:
                client.sendall((b"PONG" if b"PING" in asked else version.encode()) + b"\\0")
"""
RULES = """add table inet filter
add chain inet filter input { type filter hook input priority 0; policy drop; }
add rule inet filter input iif lo accept
"""


class Gateway:
    """Accepts everything. `reports` are (arrival, facts); a heartbeat has none."""

    def __init__(self, folder: Path) -> None:
        self.authority, tls = authority(folder / "ca")
        self.reports: list[tuple[float, dict[str, Any] | None, int]] = []
        self.news = threading.Condition()
        self._server = Server(tls)
        self._server.answer = self._answer
        self.url = self._server.url
        self._sequence = 0

    def _answer(self, request: Request) -> None:
        path = request.path
        if path == "/v1/sessions":
            self._sequence = 0
            says_json(request, VERDICT, status=201)
        elif path == "/v1/token":
            says_json(request, {"access_token": "a", "refresh_token": "r", "expires_in": 3600})
        elif path.endswith("/reports"):
            self._take(self._server.asked[-1][3])
            says_json(request, {**VERDICT, "sequence": self._sequence})
        elif path.endswith("/credential"):
            says_json(request, {"tunnel": {**TUNNEL, "endpoint": "127.0.0.1:9"}})
        elif path.endswith("/events"):
            self._stream(request)
        else:
            says(request, b"", status=204)

    def _take(self, body: bytes) -> None:
        now = time.monotonic()
        claims = json.loads(base64.urlsafe_b64decode(body.split(b".")[1] + b"=="))
        self._sequence = claims["seq"]
        with self.news:
            self.reports.append((now, claims.get("facts"), len(body)))
            self.news.notify_all()
        self._server.asked.clear()

    def _stream(self, request: Request) -> None:
        request.send_response(200)
        request.send_header("content-type", "text/event-stream")
        request.end_headers()
        with contextlib.suppress(OSError):
            while not self._server.released.wait(30):
                request.wfile.write(b": still here\n\n")
                request.wfile.flush()

    def wait(self, fact: str, value: Callable[[Any], bool], *, after: int) -> float:
        """When the first report behind `after` came that states this."""
        deadline = time.monotonic() + WITHIN
        with self.news:
            while True:
                for at, facts, _ in self.reports[after:]:
                    if facts is not None and fact in facts and value(facts[fact].get("value")):
                        return at
                left = deadline - time.monotonic()
                assert left > 0, f"no report with {fact}, the last says {self._last(fact)}"
                self.news.wait(left)

    def _last(self, fact: str) -> Any:
        return next((facts.get(fact) for _, facts, _ in reversed(self.reports) if facts), None)

    def close(self) -> None:
        self._server.close()


class Machine:
    """The agent with what it watches."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.host, self.folder = host, folder
        with host.entered():
            self.gateway = Gateway(folder)
        self.packages, self.signatures = folder / "dpkg", folder / "clamav"
        shutil.copytree("/var/lib/dpkg", self.packages, symlinks=True, ignore=shutil.ignore_patterns("info", "lock*"))
        (self.packages / "info").mkdir()
        (self.packages / "info" / "sallyport-bench.list").touch()
        self.signatures.mkdir()
        self.signature = self.signatures / "daily.cvd"
        self.signature.touch()
        self.clamd_socket = folder / "run" / "clamd.ctl"
        self.clamd_socket.parent.mkdir()
        program = folder / "clamd"
        shutil.copy(os.path.realpath("/usr/bin/python3"), program)
        self._clamd_command = [str(program), "-I", "-S", "-c", CLAMD, str(self.clamd_socket), str(self.signature)]
        self.start_clamd()
        self.rules(RULES)
        self.state = State(folder / "state")
        self.state.prepare()
        key: DeviceKey = self.state.key_or_new()
        self.state.keep_enrolment(Enrolment(self.gateway.url, key.id, "alice"), self.gateway.authority)
        self.interface = f"sp{os.getpid()}a"
        mounts = (
            f"mount --bind {self.packages} /var/lib/dpkg; mkdir -p /var/lib/clamav; "
            f"mount --bind {self.signatures} /var/lib/clamav; "
            f'exec "{sys.executable}" -m agent run --interface {self.interface}'
        )
        environment = {
            **os.environ,
            "SALLYPORT_AGENT_STATE_DIR": str(self.state.folder),
            "SALLYPORT_AGENT_CLAMD_SOCKET": str(self.clamd_socket),
        }
        self.started = time.monotonic()
        self.agent = subprocess.Popen(
            host.command("unshare", "--mount", "--propagation", "private", "sh", "-ec", mounts),
            env=environment,
            stdout=(folder / "agent.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        try:
            self.gateway.wait("agent.version", bool, after=0)
        except AssertionError:
            print((folder / "agent.log").read_text(), [a[:2] for a in self.gateway._server.asked], file=sys.stderr)
            raise

    def start_clamd(self) -> None:
        self.clamd_socket.unlink(missing_ok=True)
        self.clamd = subprocess.Popen(self._clamd_command)

    def rules(self, text: str) -> None:
        self.host.run("nft", "-f", "-", text=text)

    def settle(self) -> None:
        """Wait until the slow collectors have handed in."""
        self.gateway.wait("patches.installed_at", bool, after=0)
        before = -1
        while before != len(self.gateway.reports):
            before = len(self.gateway.reports)
            time.sleep(3)

    def close(self) -> None:
        self.agent.send_signal(signal.SIGTERM)
        self.agent.wait(20)
        self.clamd.kill()
        self.clamd.wait()
        self.gateway.close()


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    host = Host.create("laptop", mark=f"{namespaces.owner_mark()}-bench")
    with tempfile.TemporaryDirectory(prefix=f"{namespaces.owner_mark()}-bench-") as name:
        made = Machine(Path(name), host)
        try:
            yield made
        finally:
            made.close()
            host.remove()


# from a change to its report


def process_death(here: Machine) -> tuple[float, float]:
    after, start = len(here.gateway.reports), time.monotonic()
    here.clamd.kill()
    at = here.gateway.wait("antivirus.running", lambda value: value is False, after=after)
    here.clamd.wait()
    after = len(here.gateway.reports)
    here.start_clamd()
    here.gateway.wait("antivirus.running", bool, after=after)
    return start, at


def firewall_flush(here: Machine) -> tuple[float, float]:
    after, start = len(here.gateway.reports), time.monotonic()
    here.host.run("nft", "flush", "ruleset")
    at = here.gateway.wait("firewall.enabled", lambda value: value is False, after=after)
    after = len(here.gateway.reports)
    here.rules(RULES)
    here.gateway.wait("firewall.enabled", bool, after=after)
    return start, at


def signature_removal(here: Machine) -> tuple[float, float]:
    after, start = len(here.gateway.reports), time.monotonic()
    here.signature.unlink()
    at = here.gateway.wait("antivirus.signatures_at", lambda value: value is None, after=after)
    after = len(here.gateway.reports)
    here.signature.touch()
    here.gateway.wait("antivirus.signatures_at", bool, after=after)
    return start, at


def package_state(here: Machine) -> tuple[float, float]:
    listed = here.packages / "info" / "sallyport-bench.list"
    fresh = listed.with_suffix(".list-new")
    fresh.write_text("/usr/bin/true\n")  # what dpkg does for every package that it unpacks
    moment = time.time()
    os.utime(fresh, (moment, moment))
    after, start = len(here.gateway.reports), time.monotonic()
    fresh.replace(listed)
    at = here.gateway.wait(
        "patches.installed_at", lambda value: value is not None and value >= moment - 0.01, after=after
    )
    return start, at


CHANGES = {each.__name__: each for each in (process_death, firewall_flush, signature_removal, package_state)}


def changes(name: str, times: int, pause: float) -> dict[str, Any]:
    """Make the same change again and again."""
    with machine() as here:
        here.settle()
        took = []
        for _ in range(times):
            start, at = CHANGES[name](here)
            took.append((at - start) * 1000)
            time.sleep(pause)
    took.sort()
    print(histogram(took), file=sys.stderr)
    return {
        "change": name,
        "times": times,
        "p50_ms": round(statistics.median(took), 1),
        "p90_ms": round(took[int(times * 0.9)], 1),
        "p99_ms": round(took[int(times * 0.99)], 1),
        "max_ms": round(took[-1], 1),
    }


def histogram(values: list[float]) -> str:
    """How many in each class, the classes doubling."""
    lines, low, high = [], 0.0, 5.0
    while low <= values[-1]:
        count = sum(low <= value < high for value in values)
        lines.append(f"{low:7.0f} to {high:6.0f} ms {count:6d} {'#' * -(-60 * count // len(values))}")
        low, high = high, high * 2
    return "\n".join(lines)


# at rest, and at the start


def spent(pid: int) -> tuple[float, int]:
    """Seconds of CPU and voluntary switches of a process, its threads included and its children not."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            text = (task / "status").read_text()
            switches += int(text.split("voluntary_ctxt_switches:")[1].split()[0])
    return seconds, switches


def memory(pid: int) -> dict[str, float]:
    """MiB: resident, and what is shared fairly divided."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in text.splitlines()[1:]}
    return {"resident_mib": round(found["Rss"], 1), "proportional_mib": round(found["Pss"], 1)}


def idle(seconds: float) -> dict[str, Any]:
    """Leave it alone."""
    with machine() as here:
        pid = here.agent.pid
        first_report = here.gateway.reports[0][0] - here.started
        cpu_at_first, _ = spent(pid)
        here.settle()
        cpu, switches = spent(pid)
        reports, start, moments = len(here.gateway.reports), time.monotonic(), 0
        seen = switches
        while time.monotonic() < start + seconds:
            time.sleep(0.25)
            now = spent(pid)[1]
            moments += now != seen
            seen = now
        took = time.monotonic() - start
        used = spent(pid)[0] - cpu
        sizes = [size for _, facts, size in here.gateway.reports[reports:] if facts is None]
        return {
            "first_report_s": round(first_report, 2),
            "own_cpu_until_first_report_s": round(cpu_at_first, 2),
            "idle_s": round(took),
            "cpu_percent_of_a_core": round(100 * used / took, 3),
            "seconds_between_wake_ups": round(took / max(moments, 1), 1),
            "heartbeat_bytes": statistics.median(sizes) if sizes else None,
            "whole_report_bytes": max((size for _, facts, size in here.gateway.reports if facts), default=None),
            **memory(pid),
        }


def collection() -> dict[str, Any]:
    """CPU of full collections in one process, its children included: the first, and one that follows."""
    made = Collection()
    found = []
    for _ in range(3):
        before = _used()
        made.everything(now=time.time())
        found.append(round(_used() - before, 2))
    return {"first_collection_cpu_s": found[0], "later_collection_cpu_s": found[-1], "facts": len(made.facts)}


def _used() -> float:
    each = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    for name in CHANGES:
        kind = kinds.add_parser(name.replace("_", "-"), help="from this change to its report")
        kind.add_argument("--times", type=int, default=1000)
        kind.add_argument("--pause", type=float, default=0.05, help="seconds between two changes")
        kind.set_defaults(run=lambda parsed, name=name: changes(name, parsed.times, parsed.pause))
    at_rest = kinds.add_parser("idle", help="CPU, memory, wake-ups")
    at_rest.add_argument("--seconds", type=float, default=3600)
    at_rest.set_defaults(run=lambda parsed: idle(parsed.seconds))
    kinds.add_parser("collection", help="CPU of a full collection").set_defaults(run=lambda _: collection())
    parsed = parser.parse_args()
    print(json.dumps({"agent": wire.AGENT_VERSION, **parsed.run(parsed)}, indent=2))


if __name__ == "__main__":
    main()
