"""One session with the gateway: which report comes next, and with which nonce."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping

from agent.answers import Verdict, text
from agent.client import Gateway
from agent.errors import Nonsense, Problem
from agent.wire import Fact, PostureReport, TunnelConfig


class Conversation:
    """A session from its opening on. `verdict` is the latest word of the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        """Open a session. Raises Problem, Unreachable or Nonsense."""
        self._gateway = gateway
        self.verdict, self._nonce = gateway.begin_session()

    @property
    def session(self) -> str:
        return self.verdict.session

    def report(self, facts: Mapping[str, Fact]) -> Verdict:
        """Report the facts. An answer that was lost on the way is made up for once: the refusal says where we stand."""
        try:
            return self._report(facts, self.verdict.sequence)
        except Problem as problem:
            sequence = problem.members.get("sequence")
            if problem.code != "report-out-of-order" or type(sequence) is not int:
                raise
            self._nonce = text(problem.members, "nonce")
            return self._report(facts, sequence)

    def _report(self, facts: Mapping[str, Fact], sequence: int) -> Verdict:
        report = PostureReport(self.session, sequence + 1, self._nonce, time.time(), facts)
        verdict, nonce = self._gateway.report(report)
        if verdict.session != self.session:
            raise Nonsense("the gateway answered for another session")
        self.verdict, self._nonce = verdict, nonce
        return verdict

    def credential(self, public_key: bytes) -> TunnelConfig:
        """Get the tunnel for a fresh WireGuard key of 32 bytes."""
        return self._gateway.credential(self.session, base64.b64encode(public_key).decode())

    def told(self, verdict: Verdict) -> bool:
        """Take a verdict from the event stream. Says whether it is news: one of an older report is not."""
        if verdict.session != self.session or verdict.sequence < self.verdict.sequence:
            return False
        news = (verdict.tier, verdict.findings, verdict.resources) != (
            self.verdict.tier,
            self.verdict.findings,
            self.verdict.resources,
        )
        self.verdict = verdict
        return news
