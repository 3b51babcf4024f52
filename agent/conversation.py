"""One session with the gateway: which report comes next, and with which nonce."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from agent import wire
from agent.answers import Verdict, text
from agent.client import Gateway
from agent.errors import Nonsense, Problem
from agent.tpm import Tpm
from agent.wire import Fact, PostureReport, TunnelConfig


class Nonce(Protocol):
    """Where the nonce of the gateway's last answer is kept. It outlives the process: a session begins where the last ended."""

    def nonce(self) -> str:
        """The nonce; empty before the first answer."""

    def keep_nonce(self, nonce: str) -> None:
        """Keep it, before anything is signed with it."""


class Conversation:
    """A session from its opening on. `verdict` is the latest word of the gateway."""

    def __init__(self, gateway: Gateway, kept: Nonce, tpm: Tpm | None = None) -> None:
        """Open a session, and prove the TPM where the gateway asks for it. Raises Problem, Unreachable or Nonsense."""
        self._gateway = gateway
        self._held: Mapping[str, Fact] | None = None
        """The facts that the gateway holds of this session."""
        self._kept = kept
        self.verdict, nonce = gateway.begin_session(kept.nonce())
        self._sequence = self.verdict.sequence
        kept.keep_nonce(nonce)
        self._tpm = tpm if gateway.wanted is not None else None
        if self._tpm is not None and gateway.wanted is not None and not gateway.wanted.proved:
            gateway.prove(self._tpm)

    @property
    def session(self) -> str:
        return self.verdict.session

    def report(self, facts: Mapping[str, Fact], *, whole: bool = True) -> Verdict:
        """Report the facts; unless `whole`, by their digest when none has another value than in the report before.

        When the last answer was lost, the same is said again with the nonce that was known before it.
        """
        unchanged = self._held if not whole and self._held is not None and _same(self._held, facts) else None
        try:
            return self._report(facts, unchanged)
        except Problem as problem:
            if problem.code not in ("report-replayed", "facts-unknown"):
                raise
            # an earlier try came after all: a new one is newer; or facts are asked for
            return self._report(facts, None)

    def _report(self, facts: Mapping[str, Fact], unchanged: Mapping[str, Fact] | None) -> Verdict:
        digest = None if unchanged is None else wire.digest(wire.told(unchanged))
        report = PostureReport(self.session, self._sequence + 1, self._kept.nonce(), time.time(), facts, digest)
        if self._tpm is not None and self._gateway.wanted is not None:
            asked = hashlib.sha256(report.question).digest()
            report = replace(report, quote=self._tpm.quote(self._gateway.wanted.pcrs, asked))
        self._held = None
        try:
            verdict, nonce = self._gateway.report(report)
        except Problem as problem:
            if problem.code == "denied" and "nonce" in problem.members:
                self._kept.keep_nonce(text(problem.members, "nonce"))
            raise
        if verdict.session != self.session:
            raise Nonsense("the gateway answered for another session")
        self._kept.keep_nonce(nonce)
        self.verdict, self._sequence, self._held = verdict, verdict.sequence, facts if unchanged is None else unchanged
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


def _same(one: Mapping[str, Fact], other: Mapping[str, Fact]) -> bool:
    """Whether both state the same, whenever it was observed."""
    return _stated(one) == _stated(other)


def _stated(facts: Mapping[str, Fact]) -> dict[str, object]:
    return {name: {**fact.to_json(), "observed_at": 0} for name, fact in facts.items()}
