"""The running agent: opens a session, reports when something changes and inside every lease, keeps the tunnel up.

It decides nothing about access. What it cannot do now it tries again later; the gateway's lease decides what that means.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

from agent import answers, memory, notify
from agent.client import Gateway
from agent.collect import Collection
from agent.conversation import Conversation, Nonce
from agent.errors import AgentError, Nonsense, Problem
from agent.inbox import Inbox, follow_events
from agent.posture import LIVELY, Posture
from agent.schedule import Schedule, SleepDetector, back_off
from agent.status import StatusBoard, changes
from agent.tpm import Tpm
from agent.tunnel import Tunnel
from agent.watch import Watches

LOGIN_POLL: Final = 30.0
"""Seconds between two tries while only a person can help; what they do on this machine is noticed at once."""
DISTURBING: Final = frozenset({"firewall", "names"})
"""Changes with which another program may have taken the protection away."""
DECIDED: Final = {"denied": "denied", "device-pending": "pending", "device-revoked": "revoked"}
"""Refusals that only the policy or an administrator takes back, and the state that each is."""
FIRST_FACTS_WITHIN: Final = 30.0
"""Seconds that the first report waits for slow collectors; later ones carry what they found."""


class Agent:
    """One agent process. `run` returns after `stop`."""

    def __init__(
        self,
        gateway: Gateway,
        collection: Collection,
        watches: Watches,
        tunnel: Tunnel,
        board: StatusBoard,
        *,
        nonce: Nonce,
        tpm: Tpm | None = None,
        say: Callable[[str], None],
    ) -> None:
        self._gateway = gateway
        self._watches = watches
        self._tunnel = tunnel
        self._board = board
        self._nonce = nonce
        self._tpm = tpm
        self._say = say
        self._stopped = False
        self._disturbed = False
        self._moved = False
        self._failures = 0
        self._end = ""
        self._events: list[tuple[str, str, dict[str, Any]]] = []
        self._asleep = SleepDetector(boottime=boottime(), monotonic=time.monotonic())
        self.inbox = Inbox()
        self._posture = Posture(collection, lambda name, facts: self.inbox.put("facts", (name, facts)))
        watches.add(self.inbox.fileno(), self.inbox.drain)

    def stop(self) -> None:
        """End `run` soon. May be called by a signal handler."""
        self._stopped = True
        self.inbox.put("stop", None)

    def run(self) -> None:
        """Keep a session until `stop`; then leave the gateway and take the tunnel down."""
        self._board.publish("starting")
        memory.share_one_heap()
        try:
            self._tunnel.recover()
            self._posture.everything()
            self._await_first_facts()
            while not self._stopped:
                self._attempt()
        finally:
            self._tunnel.end()

    def _await_first_facts(self) -> None:
        until = boottime() + FIRST_FACTS_WITHIN
        while not self._stopped and not self._posture.complete and boottime() < until:
            self._wait(until - boottime())
        memory.give_back()

    def _attempt(self) -> None:
        """Live one session, or wait until another try makes sense."""
        try:
            conversation = Conversation(self._gateway, self._nonce, self._tpm)
            self._live(conversation)
            if not self._stopped:
                self._pause("ended", self._end, back_off(self._failures))
        except Problem as problem:
            self._refused(problem)
        except AgentError as error:
            self._pause("unreachable", str(error), back_off(self._failures))

    def _refused(self, problem: Problem) -> None:
        if problem.code in ("login-required", "device-unknown"):
            self._tunnel.down(for_a_person=True)
            self._pause("login-required", "run sallyport-agent login", LOGIN_POLL)
        elif problem.code in DECIDED:
            self._tunnel.down(for_a_person=True)
            self._pause(DECIDED[problem.code], str(problem), LOGIN_POLL)
        else:
            state = "ended" if problem.code == "session-ended" else "refused"
            self._pause(state, str(problem), back_off(self._failures))

    def _pause(self, state: str, reason: str, seconds: float) -> None:
        """Wait, but not longer than until something changes that could help."""
        self._failures += 1
        if self._board.publish(state, problem=reason):
            self._say(f"{state}: {reason}")
        until = boottime() + seconds
        while not self._stopped and (left := until - boottime()) > 0:
            changed, news = self._wait(left)
            if news or "login" in changed:
                return

    def _wait(self, seconds: float) -> tuple[frozenset[str], bool]:
        """Wait for a change, and take everything that came. Gives what changed, and whether facts are other ones now."""
        self._mend()
        changed = self._watches.wait(seconds)
        self._disturbed |= bool(changed & DISTURBING)
        news = sum(self._ask(name) for name in changed) > 0  # each of them is asked
        if "antivirus" in changed:
            self._watches.follow_antivirus()
        if "network" in changed:
            self._roam()
        for kind, value in self.inbox.take():
            if kind == "facts":
                news |= self._posture.finished(*value)
            elif kind == "event":
                self._events.append(value)
        return changed, news

    def _roam(self) -> None:
        """This machine may be elsewhere now."""
        if self._tunnel.roam():
            self._say("the gateway is reached at another address now")
        if self._gateway.strayed():
            self._say("this machine is on another network now")
            self._moved = True

    def _ask(self, name: str) -> bool:
        start = time.monotonic()
        news = self._posture.refresh([name])
        self._watches.asked(name, took=time.monotonic() - start)
        return news

    def _mend(self) -> None:
        """Put back what was taken from the protection; the report of the change is out by now and did not wait for it."""
        if self._disturbed:
            self._disturbed = False
            for line in self._tunnel.footprint.mend():
                self._say(line)

    def _live(self, conversation: Conversation) -> None:
        """One session, from the first report to its end."""
        self._report(conversation)
        self._bring_up(conversation)
        follow_events(self._gateway, conversation.session, self.inbox)
        schedule = Schedule(now=boottime(), heartbeat=_heartbeat(conversation), jitter=random.random())  # noqa: S311
        while not self._stopped:
            _, news = self._wait(schedule.next() - boottime())
            if self._moved:
                self._moved = False
                schedule.hurry(now=boottime())
            if self._ended(conversation, schedule):
                return
            self._keep(conversation, schedule, news=news)
        self._leave(conversation)

    def _bring_up(self, conversation: Conversation) -> None:
        self._tunnel.up(conversation.credential(self._tunnel.new_key()))
        self._board.publish("connected", verdict=conversation.verdict)

    def _keep(self, conversation: Conversation, schedule: Schedule, *, news: bool) -> None:
        """Collect and report what is due."""
        now = boottime()
        whole = schedule.full_due(now=now)
        if whole or self._asleep.slept(boottime=now, monotonic=time.monotonic()):
            self._posture.everything()
            self._watches.follow_antivirus()
            schedule.collected(now=now)
            memory.give_back()
            news = True
        due = schedule.report_due(now=now)
        if due and not news:
            self._posture.refresh({*LIVELY, *self._watches.polled})
            self._watches.follow_antivirus()
        if due or (news and not schedule.failing):
            self._try_report(conversation, schedule, whole=whole)
        if self._tunnel.lost() and not schedule.failing:
            self._say("the tunnel is gone: making a new one")
            self._tunnel.down()
            self._bring_up(conversation)

    def _try_report(self, conversation: Conversation, schedule: Schedule, *, whole: bool) -> None:
        try:
            self._report(conversation, whole=whole)
        except AgentError as error:
            if isinstance(error, Problem) and error.status < 500:
                raise
            schedule.failed(now=boottime())
            if self._board.publish("unreachable", verdict=conversation.verdict, problem=str(error)):
                self._say(f"unreachable: {error}")
        else:
            self._failures = 0
            schedule.reported(now=boottime(), heartbeat=_heartbeat(conversation))
            if self._board.publish("connected", verdict=conversation.verdict):
                self._say("connected again")

    def _report(self, conversation: Conversation, *, whole: bool = True) -> None:
        before = conversation.verdict
        self._announce(before, conversation.report(self._posture.facts, whole=whole))

    def _announce(self, before: answers.Verdict, verdict: answers.Verdict) -> None:
        for line in changes(before, verdict):
            self._say(line)
        if (shown := notify.text(before, verdict)) is not None:
            notify.tell(*shown)

    def _ended(self, conversation: Conversation, schedule: Schedule) -> bool:
        """Look at the events that came. Says whether the session is over; its tunnel is down then."""
        events, self._events = self._events, []
        for session, name, data in events:
            if session == conversation.session and name == "verdict":
                self._take_verdict(conversation, data)
            elif session == conversation.session and name == "lost":
                schedule.hurry(now=boottime())
            elif session == conversation.session and name == "ended":
                reason = answers.printable(str(data.get("reason"))[:100])
                self._tunnel.down()
                self._end = f"the session has ended: {reason}"
                self._board.publish("ended", problem=self._end)
                self._say(f"ended: {reason}")
                return True
        return False

    def _take_verdict(self, conversation: Conversation, data: dict[str, Any]) -> None:
        before = conversation.verdict
        try:
            news = conversation.told(answers.verdict(data))
        except Nonsense as error:
            self._say(f"ignored: {error}")
            return
        if news:
            self._announce(before, conversation.verdict)
            self._board.publish("connected", verdict=conversation.verdict)

    def _leave(self, conversation: Conversation) -> None:
        try:
            self._gateway.leave(conversation.session)
        except AgentError as error:
            self._say(f"left without a word: {error}")


def _heartbeat(conversation: Conversation) -> float:
    return conversation.verdict.heartbeat_ms / 1000


def boottime() -> float:
    """Seconds since the machine started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
