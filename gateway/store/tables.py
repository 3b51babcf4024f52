"""What is kept, one class per table. Safety rests on the keys and UNIQUE constraints here, never on isolation levels.

    devices ─┬─ logins ── sessions ─┬─ peers      a tunnel public key belongs to one session, for ever
             ├─ postures            ├─ addresses  one live session per address, reused only after `free_at`
             ├─ token_families      └─ kills      grows only
             └─ seen_proofs
    sessions ─── history     what was decided, whenever facts or verdict changed; deleted with age
    policies ─── applications    the texts of policies, and which of them was in force since when
    holds, cuts   what the mass-cut breaker counts and holds
    enrolments    devices that are not yet, or are logging in again
    enrolment_keys, administrators, api_tokens, logouts, spent_logins, audit
    signals, seen_events, streams    what the provider's security events say, which were seen, where they come from

Nothing here is deleted except what has expired by itself, was logged out or taken back (enrolments, seen proofs, token
families, administrators, logouts, spent logins, signals, seen events, streams, history, cuts). Times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, false
from sqlmodel import Field, SQLModel

from gateway.store.utc import Utc

Members = dict[str, Any]


class Device(SQLModel, table=True):
    """An enrolled machine. `id` is the RFC 7638 thumbprint of `jwk`; (issuer, subject) is its only user.

    `revoked_at` is for good: the row stays, so its key never comes back. `nonce` to `said_at` are its `Ratchet`;
    `attestation` is what its TPM has proved.
    """

    __tablename__ = "devices"

    id: str = Field(primary_key=True)
    jwk: Members = Field(sa_type=JSON)
    name: str
    platform: str
    agent_version: str
    issuer: str
    subject: str = Field(index=True)
    enrolled_at: datetime = Field(sa_type=Utc)
    approved_at: datetime | None = Field(default=None, sa_type=Utc)
    approved_by: str | None = None
    revoked_at: datetime | None = Field(default=None, sa_type=Utc)
    quarantined_at: datetime | None = Field(default=None, sa_type=Utc)
    nonce: str | None = None
    previous_nonce: str | None = None
    said_at: datetime | None = Field(default=None, sa_type=Utc)
    attestation: Members | None = Field(default=None, sa_type=JSON)


class EnrolmentKey(SQLModel, table=True):
    """A secret that enrols one unattended machine, once, under `name` and into `groups`. Only its SHA-256 is kept."""

    __tablename__ = "enrolment_keys"

    id: str = Field(primary_key=True)
    secret_digest: str = Field(unique=True)
    name: str
    groups: list[str] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=Utc)
    created_by: str
    expires_at: datetime = Field(sa_type=Utc)
    login_days: int
    used_at: datetime | None = Field(default=None, sa_type=Utc)
    used_by: str | None = None


class TokenFamily(SQLModel, table=True):
    """The refresh tokens that follow from one grant; only the one of this `generation` is good."""

    __tablename__ = "token_families"

    id: str = Field(primary_key=True)
    device: str = Field(foreign_key="devices.id", index=True)
    generation: int
    expires_at: datetime = Field(sa_type=Utc, index=True)
    ended_at: datetime | None = Field(default=None, sa_type=Utc)


class Enrolment(SQLModel, table=True):
    """A device on its way in. `code_digest` is set by the browser's login, `confirmed_at` by the agent that began.

    `demand` is what the login must be. With a `user_code` the login happens on another machine (RFC 8628): `origin` is
    where the device asked from, `approved_at` when the person who had logged in agreed, `interval` the seconds between
    two questions.
    """

    __tablename__ = "enrolments"

    id: str = Field(primary_key=True)
    device: str
    jwk: Members = Field(sa_type=JSON)
    name: str
    platform: str
    agent_version: str
    redirect_uri: str
    expires_at: datetime = Field(sa_type=Utc, index=True)
    code_digest: str | None = None
    login: Members | None = Field(default=None, sa_type=JSON)
    confirmed_at: datetime | None = Field(default=None, sa_type=Utc)
    demand: Members | None = Field(default=None, sa_type=JSON)
    user_code: str | None = Field(default=None, unique=True)
    origin: str | None = None
    approved_at: datetime | None = Field(default=None, sa_type=Utc)
    polled_at: datetime | None = Field(default=None, sa_type=Utc)
    interval: int = 0


class Login(SQLModel, table=True):
    """An OIDC authentication that a device may open sessions by, until `expires_at` or `voided_at`.

    `sid` is the session at the provider, `issued_at` when the provider said so: a logout there names one of them. The
    provider's tokens are sealed (`identity.sealing`); at `check_at` it is asked whether the login still holds.
    """

    __tablename__ = "logins"

    id: str = Field(primary_key=True)
    device: str = Field(foreign_key="devices.id", index=True)
    issuer: str
    subject: str = Field(index=True)
    user: str
    groups: list[str] = Field(sa_type=JSON)
    authenticated_at: datetime = Field(sa_type=Utc)
    sid: str | None = Field(default=None, index=True)
    issued_at: datetime | None = Field(default=None, sa_type=Utc)
    expires_at: datetime = Field(sa_type=Utc)
    voided_at: datetime | None = Field(default=None, sa_type=Utc)
    provider: str = ""
    acr: str | None = None
    amr: list[str] = Field(default_factory=list, sa_type=JSON)
    email: str | None = Field(default=None, index=True)
    id_token: str | None = None
    refresh_token: str | None = None
    check_at: datetime | None = Field(default=None, sa_type=Utc, index=True)


class Session(SQLModel, table=True):
    """One access grant. Live while `ended_at` is None; then `live_device` is the device, so one device has one at most.

    `tier` to `rate` are the latest decision, and `trace` is its name in `history`; with `held_by` the breaker has kept an
    earlier one. `due_at` is the next instant at which time alone changes something:
    the lease's end, the session's end, or the decision's `valid_until`. `authenticated_at` and `acr` are of its login,
    `signals` are what the provider holds against its user or device, `step_up` is what another login would open. `address` and
    `country` are where its last request came from; `by_name` sessions depend on what DNS names stand for.
    """

    __tablename__ = "sessions"

    id: str = Field(primary_key=True)
    device: str = Field(foreign_key="devices.id", index=True)
    live_device: str | None = Field(default=None, unique=True)
    login: str = Field(foreign_key="logins.id")
    user: str
    groups: list[str] = Field(sa_type=JSON)
    started_at: datetime = Field(sa_type=Utc)
    expires_at: datetime = Field(sa_type=Utc)
    active_at: datetime = Field(sa_type=Utc)
    lease_until: datetime = Field(sa_type=Utc)
    due_at: datetime | None = Field(default=None, sa_type=Utc, index=True)
    sequence: int = 0
    reported_at: datetime | None = Field(default=None, sa_type=Utc)
    tier: str
    findings: list[Members] = Field(sa_type=JSON)
    resources: list[Members] = Field(sa_type=JSON)
    permits: list[str] = Field(sa_type=JSON)
    routes: list[str] = Field(sa_type=JSON)
    rate: int | None = Field(default=None, sa_type=BigInteger)
    policy_version: str
    trace: str = ""
    held_by: int | None = Field(default=None, index=True)
    valid_until: datetime | None = Field(default=None, sa_type=Utc)
    ended_at: datetime | None = Field(default=None, sa_type=Utc)
    end_reason: str | None = None
    authenticated_at: datetime | None = Field(default=None, sa_type=Utc)
    acr: str | None = None
    signals: list[str] = Field(default_factory=list, sa_type=JSON)
    step_up: list[Members] = Field(default_factory=list, sa_type=JSON)
    address: str | None = None
    country: str | None = None
    by_name: bool = Field(default=False, sa_column_kwargs={"server_default": false()})


class Posture(SQLModel, table=True):
    """The latest accepted report of a device, and since when its checks fail: grace outlives a session."""

    __tablename__ = "postures"

    device: str = Field(primary_key=True, foreign_key="devices.id")
    session: str = Field(foreign_key="sessions.id")
    facts: Members = Field(sa_type=JSON)
    observed_at: datetime = Field(sa_type=Utc)
    received_at: datetime = Field(sa_type=Utc)
    failing_since: dict[str, float] = Field(default_factory=dict, sa_type=JSON)


class Testimony(SQLModel, table=True):
    """What a witness, an MDM say, last told about a device. Worth nothing from `fresh_until` on."""

    __tablename__ = "testimonies"

    device: str = Field(primary_key=True, foreign_key="devices.id")
    witness: str = Field(primary_key=True)
    facts: Members = Field(sa_type=JSON)
    at: datetime = Field(sa_type=Utc)
    fresh_until: datetime = Field(sa_type=Utc)


class Peer(SQLModel, table=True):
    """A tunnel public key (hex) and the session that it was given to. The row stays, so a key never returns."""

    __tablename__ = "peers"

    public_key: str = Field(primary_key=True)
    session: str = Field(foreign_key="sessions.id", index=True)
    live_session: str | None = Field(default=None, unique=True)
    addresses: list[str] = Field(sa_type=JSON)
    issued_at: datetime = Field(sa_type=Utc)


class Address(SQLModel, table=True):
    """A place in the address pools, counted from their first address. Free when `session` is None and `free_at` passed."""

    __tablename__ = "addresses"

    place: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    session: str | None = Field(default=None, foreign_key="sessions.id", unique=True)
    free_at: datetime | None = Field(default=None, sa_type=Utc, index=True)


class Kill(SQLModel, table=True):
    """An administrator ended this session for good. Grows only."""

    __tablename__ = "kills"

    session: str = Field(primary_key=True, foreign_key="sessions.id")
    killed_at: datetime = Field(sa_type=Utc)
    killed_by: str
    reason: str


class Audit(SQLModel, table=True):
    """What happened, in the order of `sequence`. Rows are never changed; the database refuses it."""

    __tablename__ = "audit"

    sequence: int | None = Field(
        default=None,
        primary_key=True,
        sa_type=BigInteger().with_variant(Integer, "sqlite"),
    )
    at: datetime = Field(sa_type=Utc)
    event: str
    actor: str
    device: str | None = Field(default=None, index=True)
    session: str | None = Field(default=None, index=True)
    details: Members = Field(sa_type=JSON)


class SeenProof(SQLModel, table=True):
    """A `jti` that a device has used. Kept until the proof would be too old anyway."""

    __tablename__ = "seen_proofs"

    device: str = Field(primary_key=True)
    jti: str = Field(primary_key=True)
    expires_at: datetime = Field(sa_type=Utc, index=True)


class Logout(SQLModel, table=True):
    """A logout at the provider that was accepted. Kept until its token, or an ID token from before it, is too old anyway."""

    __tablename__ = "logouts"

    issuer: str = Field(primary_key=True)
    jti: str = Field(primary_key=True)
    subject: str | None = None
    sid: str | None = None
    issued_at: datetime = Field(sa_type=Utc)
    expires_at: datetime = Field(sa_type=Utc, index=True)


class SpentLogin(SQLModel, table=True):
    """A login attempt that has led somewhere, by the digest of its state. Kept for as long as its cookie could come again."""

    __tablename__ = "spent_logins"

    state_digest: str = Field(primary_key=True)
    expires_at: datetime = Field(sa_type=Utc, index=True)


class Signal(SQLModel, table=True):
    """What the provider holds against a user, or one device of theirs (`device` in the provider's words, or empty)."""

    __tablename__ = "signals"

    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    device: str = Field(primary_key=True)
    signal: str = Field(primary_key=True)
    at: datetime = Field(sa_type=Utc)


class SeenEvent(SQLModel, table=True):
    """A security event that was accepted. Kept until its token is too old anyway."""

    __tablename__ = "seen_events"

    issuer: str = Field(primary_key=True)
    jti: str = Field(primary_key=True)
    expires_at: datetime = Field(sa_type=Utc, index=True)


class Stream(SQLModel, table=True):
    """The stream that a transmitter of security events keeps for us. `verifying` is what it was asked to say back."""

    __tablename__ = "streams"

    issuer: str = Field(primary_key=True)
    stream: str
    audience: str
    delivery: str
    endpoint: str
    created_at: datetime = Field(sa_type=Utc)
    status: str = "enabled"
    verifying: str | None = None
    asked_at: datetime | None = Field(default=None, sa_type=Utc)
    verified_at: datetime | None = Field(default=None, sa_type=Utc)


class Administrator(SQLModel, table=True):
    """A browser session of who manages. The cookie itself is not kept, only its SHA-256; the ID token is sealed."""

    __tablename__ = "administrators"

    cookie_digest: str = Field(primary_key=True)
    issuer: str
    subject: str
    user: str
    sid: str | None = None
    issued_at: datetime | None = Field(default=None, sa_type=Utc)
    provider: str = ""
    id_token: str | None = None
    started_at: datetime = Field(sa_type=Utc)
    expires_at: datetime = Field(sa_type=Utc, index=True)
    role: str = Field(default="admin", sa_column_kwargs={"server_default": "admin"})


class ApiToken(SQLModel, table=True):
    """A secret for automation, with scopes and an end. Only its SHA-256 is kept; `name` is its actor in the audit log."""

    __tablename__ = "api_tokens"

    id: str = Field(primary_key=True)
    secret_digest: str = Field(unique=True)
    name: str
    scopes: list[str] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=Utc)
    created_by: str
    expires_at: datetime = Field(sa_type=Utc)
    revoked_at: datetime | None = Field(default=None, sa_type=Utc)


class History(SQLModel, table=True):
    """A decision, written when facts or verdict changed and never for a heartbeat that says the same.

    `question` is what was decided: subject, grades, since when checks had been failing, and the facts that are not as in the
    row before it of the same session. `digest` is of the whole answer, so that who decides again can tell whether it is the same.
    """

    __tablename__ = "history"
    __table_args__ = (Index("ix_history_device_sequence", "device", "sequence"),)

    sequence: int | None = Field(
        default=None,
        primary_key=True,
        sa_type=BigInteger().with_variant(Integer, "sqlite"),
    )
    trace: str = Field(index=True)
    session: str = Field(foreign_key="sessions.id", index=True)
    device: str
    at: datetime = Field(sa_type=Utc)
    observed_at: datetime | None = Field(default=None, sa_type=Utc)
    received_at: datetime | None = Field(default=None, sa_type=Utc)
    question: Members = Field(sa_type=JSON)
    tier: str
    policy_version: str
    digest: str


class PolicyText(SQLModel, table=True):
    """A policy that was in force, by the hash of its meaning. `files` are its texts by name."""

    __tablename__ = "policies"

    version: str = Field(primary_key=True)
    name: str
    files: dict[str, str] = Field(sa_type=JSON)
    first_seen_at: datetime = Field(sa_type=Utc)


class Application(SQLModel, table=True):
    """Somebody applied a policy; the latest row is what holds. `before` is for whom the stage does not reach yet."""

    __tablename__ = "applications"

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    version: str = Field(foreign_key="policies.version")
    before: str | None = Field(default=None, foreign_key="policies.version")
    share: int = 100
    groups: list[str] = Field(default_factory=list, sa_type=JSON)
    applied_at: datetime = Field(sa_type=Utc)
    applied_by: str
    key: str
    note: str = ""
    signature: str


class Hold(SQLModel, table=True):
    """The breaker holds verdicts that one cause leads to, until an administrator answers or nothing is left to hold."""

    __tablename__ = "holds"

    number: int | None = Field(default=None, primary_key=True)
    cause: str = Field(index=True)
    opened_at: datetime = Field(sa_type=Utc)
    affected: int
    live: int
    closed_at: datetime | None = Field(default=None, sa_type=Utc)
    closed_by: str | None = None
    outcome: str | None = None


class Cut(SQLModel, table=True):
    """A verdict that took something away from a live session, and what led to it: what the breaker counts."""

    __tablename__ = "cuts"
    __table_args__ = (Index("ix_cuts_cause_at", "cause", "at"),)

    sequence: int | None = Field(
        default=None,
        primary_key=True,
        sa_type=BigInteger().with_variant(Integer, "sqlite"),
    )
    at: datetime = Field(sa_type=Utc, index=True)
    session: str
    cause: str


class Name(SQLModel, table=True):
    """A DNS name of the policy and its addresses. They hold until `good_until`, and are asked for again at `refresh_at`."""

    __tablename__ = "names"

    name: str = Field(primary_key=True)
    addresses: list[str] = Field(sa_type=JSON)
    refresh_at: datetime = Field(sa_type=Utc)
    good_until: datetime = Field(sa_type=Utc)
