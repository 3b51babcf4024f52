"""The six steps: what each does, what it expects, and what was observed in packets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from gateway.demo import measurements
from gateway.demo.administrator import Administrator
from gateway.demo.measurements import Count, milliseconds
from gateway.demo.network import PAYROLL, SERVERS, WIKI
from gateway.demo.old_key import OldKey
from gateway.demo.records import RATE
from gateway.demo.stage import URL, Stage, wait_for
from gateway.demo.timeline import Step
from gateway.demo.traffic import Flow, Probes, read_page

CUT_WITHIN: Final = 2000.0
"""Milliseconds from a changed fact to the last packet of an established flow."""
STEADY: Final = 0.4
"""Seconds over which a flow must have run before it is cut."""
QUIET: Final = 0.6
"""Seconds without a packet after which a flow of 125 packets a second counts as cut; `reach` then watches on."""
USER, ADMINISTRATOR = "alice", "carol"
NEEDED_EVENTS: Final = (
    "device.enrolled",
    "device.logged-in",
    "session.began",
    "credential.issued",
    "session.downgraded",
    "session.restored",
    "session.downgraded",
    "administrator.logged-in",
    "session.killed",
)
"""What the audit log must tell, in this order, whatever else it tells."""
NAMES: Final = (
    "enrol, log in, report, first packet",
    "wiki and payroll through the tunnel",
    "firewall flushed: quarantine",
    "fix applied: full access again",
    "antivirus killed: limited",
    "administrator kills the session",
)


class Play:
    """The steps share the probes, the long flow and the session that they are about."""

    def __init__(self, stage: Stage, note: Callable[[str], None]) -> None:
        self._stage = stage
        self._note = note
        self._probes: Probes | None = None
        self._flow: Flow | None = None
        self._session: str | None = None
        self.time_to_contain_ms: float | None = None

    @property
    def steps(self) -> tuple[Callable[[], Step], ...]:
        """In order, one for each of NAMES."""
        return self.arrive, self.work, self.lose_firewall, self.repair, self.lose_antivirus, self.be_killed

    def close(self) -> None:
        """End what the laptop sends."""
        if self._flow is not None:
            self._flow.close()
        if self._probes is not None:
            self._probes.close()

    def arrive(self) -> Step:
        """Step 1: from nothing to the first packet in the office."""
        stage = self._stage
        start = time.time()
        self._probes = Probes(stage.network.laptop, SERVERS)
        visited = stage.employee.enrol(URL, stage.authority, USER)
        self._note(f"{USER} logged in over {len(visited)} addresses: {_path(visited)}")
        agent = stage.employee.start_agent()
        first = stage.first_probe(WIKI, after=start, within=60.0)
        agent.wait_for(r"^tier full", timeout=10.0)
        self._session = stage.employee.status().session
        through_provider = any(":9400/" in address for address in visited) and any("/callback" in a for a in visited)
        return Step(
            NAMES[0],
            "a login through the provider's redirects, then the first probe arrives at the wiki",
            f"first packet {milliseconds(start, first) / 1000:.2f} s after `sallyport-agent enrol`, tier full",
            milliseconds(start, first),
            ok=through_provider and self._session is not None,
        )

    def work(self) -> Step:
        """Step 2: both servers answer, and a long flow begins."""
        laptop = self._stage.network.laptop
        start = time.time()
        pages = {name: read_page(laptop, SERVERS[name]) for name in ("wiki", "payroll")}
        read = time.time()
        self._flow = Flow(laptop, PAYROLL)
        reach = self._stage.reach()
        both_ways = {packet.destination == PAYROLL for packet in self._stage.flow(self._flow.port, start)}
        sound = all(name in page.lower() for name, page in pages.items()) and both_ways == {True, False}
        return Step(
            NAMES[1],
            "both pages, a TCP flow to payroll both ways, probes reach all three servers",
            f"both pages read; flow on port {self._flow.port} both ways; {_shown(reach)}",
            milliseconds(start, read),
            ok=sound and all(count.passes for count in reach.values()),
        )

    def lose_firewall(self) -> Step:
        """Step 3: a real fact changes, and the established flow is cut."""
        at = self._mark()
        self._stage.firewall.flush()
        last = self._silence(at)
        self.time_to_contain_ms = milliseconds(at, last)
        reach = self._stage.reach()
        status = self._stage.employee.status()
        self._note(f"agent: {status.tier}: {status.reasons.get('firewall-on')}; fix: {status.fixes.get('firewall-on')}")
        shown = status.tier == "quarantine" and "firewall-on" in status.fixes
        return Step(
            NAMES[2],
            f"last packet of the payroll flow at most {CUT_WITHIN:.0f} ms after the flush; only remediation is reachable",
            f"last packet after {self.time_to_contain_ms:.0f} ms; {_shown(reach)}; the agent shows the fix",
            self.time_to_contain_ms,
            ok=shown and self.time_to_contain_ms <= CUT_WITHIN and _only(reach, "remediation"),
        )

    def repair(self) -> Step:
        """Step 4: the fix that the agent shows is typed, and everything is as before, in the same session."""
        fix = self._stage.employee.status().fixes.get("firewall-on") or ""
        at = time.time()
        self._stage.employee.apply(fix)
        first = self._stage.first_probe(PAYROLL, after=at, within=10.0)
        self._note(f"typed: {fix}")
        reach = self._stage.reach()
        status = self._stage.employee.status()
        return Step(
            NAMES[3],
            "probes reach payroll again, in the same session and without a new login",
            f"first packet at payroll after {milliseconds(at, first):.0f} ms; {_shown(reach)}; same session",
            milliseconds(at, first),
            ok=status.tier == "full" and status.session == self._session and all(c.passes for c in reach.values()),
        )

    def lose_antivirus(self) -> Step:
        """Step 5: the antivirus dies, and payroll is out of reach while the wiki is not."""
        self._renew_flow()
        at = self._mark()
        self._stage.antivirus.kill()
        last = self._silence(at)
        reach = self._stage.reach()
        status = self._stage.employee.status()
        self._note(f"agent: {status.tier}: {status.reasons.get('antivirus-running')}")
        return Step(
            NAMES[4],
            f"last packet of the payroll flow at most {CUT_WITHIN:.0f} ms after the kill; wiki yes, payroll no",
            f"last packet after {milliseconds(at, last):.0f} ms; {_shown(reach)}; tier {status.tier}",
            milliseconds(at, last),
            ok=status.tier == "limited"
            and milliseconds(at, last) <= CUT_WITHIN
            and _only(reach, "wiki", "remediation"),
        )

    def be_killed(self) -> Step:
        """Step 6: the session is killed while the agent is frozen, so that only the gateway can be what cuts it."""
        stage = self._stage
        administrator = Administrator(stage.network.gateway, URL, stage.authority, ADMINISTRATOR)
        try:
            stage.employee.freeze_agent()
            self._note("the agent is frozen: its tunnel runs on, and what ends now is ended by the gateway")
            at = time.time()
            administrator.kill(str(self._session), "demo")
            last = self._silence_of(WIKI, at)
            reach = stage.reach()
            old_key = OldKey(stage.employee.interface)
            tried = old_key.try_handshakes(stage)
            self._note(f"handshakes with the old key: {tried.initiations} sent, {tried.answers} answered")
            events = [row["event"] for row in administrator.audit()]
            stage.employee.thaw_agent()
        finally:
            administrator.close()
        missing = missing_events(events)
        self._note(f"audit log: {', '.join(events)}" if not missing else f"audit log lacks {missing}")
        cut = milliseconds(at, last)
        return Step(
            NAMES[5],
            "nothing passes, handshakes with the old key stay unanswered, the audit log tells every step",
            f"last packet after {cut:.0f} ms; {_shown(reach)}; {tried.initiations} handshakes, {tried.answers} answers; "
            f"{len(events)} audit rows",
            cut,
            ok=_only(reach) and cut <= CUT_WITHIN and tried.ignored and not missing,
        )

    def _renew_flow(self) -> None:
        """The flow of step 2 may have been given up by TCP; a cut can only be seen on one that runs."""
        if self._flow is None or not self._running(self._flow):
            if self._flow is not None:
                self._flow.close()
            self._flow = Flow(self._stage.network.laptop, PAYROLL)

    def _running(self, flow: Flow) -> bool:
        """Whether the flow carries at least half of its packets, both ways: TCP that still recovers is no witness."""
        packets = self._stage.flow(flow.port, time.time() - STEADY)
        there = sum(packet.destination == PAYROLL for packet in packets)
        return min(there, len(packets) - there) >= RATE * STEADY / 2

    def _mark(self) -> float:
        """Now, after making sure that the flow is running: what does not run cannot be cut."""
        assert self._flow is not None
        flow = self._flow
        wait_for(lambda: 1.0 if self._running(flow) else None, within=10.0, what="packets of the payroll flow")
        return time.time()

    def _silence(self, since: float) -> float:
        """Wait until the flow has been silent for a while. Gives the time of its last packet, `since` at the earliest."""
        assert self._flow is not None
        port = self._flow.port
        return self._quiet(lambda: measurements.last(self._stage.flow(port, since)), since)

    def _silence_of(self, server: str, since: float) -> float:
        def last() -> float | None:
            arrivals = measurements.probes_to(self._stage.arrived(since), server)
            return max((at for at, _ in arrivals), default=None)

        return self._quiet(last, since)

    def _quiet(self, last: Callable[[], float | None], since: float) -> float:
        def found() -> float | None:
            latest = max(last() or since, since)
            return latest if time.time() - latest > QUIET else None

        return wait_for(found, within=10.0, what="the end of a flow")


def missing_events(events: list[str]) -> list[str]:
    """What of NEEDED_EVENTS the log does not tell in their order."""
    left = iter(events)
    return [needed for needed in NEEDED_EVENTS if needed not in left]


def _only(reach: Mapping[str, Count], *names: str) -> bool:
    return all(count.passes if name in names else count.blocked for name, count in reach.items())


def _shown(reach: Mapping[str, Count]) -> str:
    return "probes arrived: " + ", ".join(f"{name} {count}" for name, count in reach.items())


def _path(visited: list[str]) -> str:
    return " → ".join(urlsplit(address).netloc + urlsplit(address).path[:12] for address in visited)
