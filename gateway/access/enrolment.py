"""Enrolment binds a device key to the user who logs in, and a login to a device that is enrolled already.

The agent begins, a browser logs in, the agent confirms with the code that only its own loopback port was given: whoever
is tricked into logging in on a foreign link enrols nobody (RFC 8252).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from gateway.access import audit, devices, logout
from gateway.access.audit import GATEWAY, Event
from gateway.access.devices import Admission
from gateway.access.identifiers import Entropy, digest, is_identifier, new_identifier, new_secret
from gateway.errors import Conflict, Forbidden, Malformed, NotFound, Unauthenticated, Unavailable
from gateway.identity.device import VerifiedDeviceClaims
from gateway.identity.oidc import VerifiedLogin
from gateway.policy.policy import Policy
from gateway.store import tables

LIFETIME = timedelta(minutes=10)
"""As long as a login state lives: time for a person to find their second factor."""

MOST_PENDING = 10_000
"""Strangers can begin an enrolment; beyond this many at once they wait."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a device is enrolled for: (issuer, subject) is who it is, `user` what people call them."""

    issuer: str
    subject: str
    user: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What a device says about itself: shown to people, believed by nobody."""

    name: str
    platform: str
    agent_version: str

    @classmethod
    def read(cls, claims: Mapping[str, Any]) -> Description:
        """Raise Malformed that names the claim."""
        return cls(_text(claims, "name", 200), _text(claims, "platform", 64), _text(claims, "agent_version", 64))


def begin(db: Session, verified: VerifiedDeviceClaims, *, now: datetime, entropy: Entropy) -> tables.Enrolment:
    """Let the holder of a device key begin. An enrolment of the same key that is still pending is replaced."""
    rows = tables.Enrolment
    db.exec(delete(rows).where((col(rows.expires_at) <= now) | (col(rows.device) == verified.device)))
    if db.exec(select(func.count()).select_from(rows)).one() >= MOST_PENDING:
        raise Unavailable("busy", "too many enrolments are pending; try again in some minutes")
    known = db.get(tables.Device, verified.device)
    if known is not None:
        devices.refuse_revoked(known)
    claims = verified.claims
    enrolment = tables.Enrolment(
        id=new_identifier(entropy),
        device=verified.device,
        jwk=dict(verified.key.jwk),
        **asdict(Description.read(claims)),
        redirect_uri="" if claims.get("device_code") is True else _loopback(claims.get("redirect_uri")),
        expires_at=now + LIFETIME,
    )
    db.add(enrolment)
    return enrolment


def pending(db: Session, enrolment: str, *, now: datetime) -> tables.Enrolment:
    """Give an enrolment that is not over. Raises NotFound."""
    found = db.get(tables.Enrolment, enrolment) if is_identifier(enrolment) else None
    if found is None or found.expires_at <= now or found.confirmed_at is not None:
        raise NotFound("enrolment-unknown", "there is no such enrolment, or it is over; begin again on the device")
    return found


def bind(db: Session, enrolment: str, login: VerifiedLogin, *, now: datetime, entropy: Entropy) -> str:
    """Bind the login to the enrolment, once. Gives the URL on the device's loopback that receives the code.

    Raises Conflict when the device is another user's, or somebody has logged in for this enrolment before, and
    Unauthenticated when the provider has ended the login since.
    """
    found = pending(db, enrolment, now=now)
    if found.code_digest is not None:
        raise Conflict(
            "enrolment-bound", "somebody has logged in for this enrolment already; begin again on the device"
        )
    device = db.get(tables.Device, found.device)
    if device is not None and (device.issuer, device.subject) != (login.issuer, login.subject):
        raise Conflict("device-of-another-user", "this device is enrolled for another user")
    logout.refuse_ended(db, login, now=now)
    code = new_secret(entropy)
    found.code_digest = digest(code)
    found.login = {
        "issuer": login.issuer,
        "subject": login.subject,
        "user": login.user,
        "groups": list(login.groups),
        "authenticated_at": login.authenticated_at.timestamp(),
        "issued_at": login.issued_at.timestamp(),
        "sid": login.sid,
        "provider": login.provider,
        "acr": login.acr,
        "amr": list(login.amr),
        "email": login.email,
        "id_token": login.id_token,
        "refresh_token": login.refresh_token,
    }
    return f"{found.redirect_uri}?{urlencode({'enrolment': found.id, 'code': code})}"


def confirm(
    db: Session,
    enrolment: str,
    device: str,
    code: object,
    policy: Policy,
    *,
    admission: Admission,
    now: datetime,
    entropy: Entropy,
) -> tables.Login:
    """Finish: the device exists from now on and has a login. Raises Unauthenticated when the code is not the one."""
    found = pending(db, enrolment, now=now)
    if found.device != device or found.login is None or found.code_digest is None or found.user_code is not None:
        raise Unauthenticated("login-pending", "nobody has logged in for this enrolment yet")
    if not isinstance(code, str) or not hmac.compare_digest(digest(code), found.code_digest):
        raise Unauthenticated("code-wrong", "the code is not the one that the login gave to this device")
    return finish(db, found, policy, admission=admission, now=now, entropy=entropy)


def finish(
    db: Session,
    found: tables.Enrolment,
    policy: Policy,
    *,
    admission: Admission,
    now: datetime,
    entropy: Entropy,
) -> tables.Login:
    """Let the device in by the login that is bound to its enrolment. The caller has seen that it may."""
    assert found.login is not None
    found.confirmed_at = now
    login = found.login
    owner = Owner(login["issuer"], login["subject"], login["user"], tuple(login["groups"]))
    described = Description(found.name, found.platform, found.agent_version)
    automatic = GATEWAY if admission.automatic(login["groups"]) else None
    refuse_too_many(db, found.device, owner, admission)
    enrolled = admit(db, found.device, found.jwk, described, owner, approved_by=automatic, now=now)
    return _login(db, enrolled, login, policy, now=now, entropy=entropy)


def refuse_too_many(db: Session, device: str, owner: Owner, admission: Admission) -> None:
    """Raise Forbidden when the user has as many other devices as they may have."""
    if (
        db.get(tables.Device, device) is None
        and devices.count(db, owner.issuer, owner.subject) >= admission.most_devices
    ):
        raise Forbidden(
            "too-many-devices",
            f"{owner.user} has {admission.most_devices} devices already, which is the limit; "
            "let an administrator revoke one",
        )


def admit(
    db: Session,
    device: str,
    jwk: dict[str, Any],
    described: Description,
    owner: Owner,
    *,
    approved_by: str | None,
    now: datetime,
) -> tables.Device:
    """Give the row of the device, new or known. A new one waits for approval unless somebody is named who gave it.

    Raises Conflict for another user's device, Unauthenticated for a revoked one.
    """
    found = db.get(tables.Device, device)
    if found is None:
        found = tables.Device(
            id=device,
            jwk=jwk,
            **asdict(described),
            issuer=owner.issuer,
            subject=owner.subject,
            enrolled_at=now,
            approved_at=now if approved_by else None,
            approved_by=approved_by,
        )
        audit.record(
            db,
            Event.DEVICE_ENROLLED,
            now=now,
            actor=owner.user,
            device=device,
            name=described.name,
            platform=described.platform,
            approved=approved_by is not None,
        )
    devices.refuse_revoked(found)
    if (found.issuer, found.subject) != (owner.issuer, owner.subject):
        raise Conflict("device-of-another-user", "this device is enrolled for another user")
    found.name, found.platform, found.agent_version = described.name, described.platform, described.agent_version
    db.add(found)
    db.flush()
    return found


def _login(
    db: Session, device: tables.Device, login: Mapping[str, Any], policy: Policy, *, now: datetime, entropy: Entropy
) -> tables.Login:
    authenticated_at = datetime.fromtimestamp(login["authenticated_at"], now.tzinfo)
    if now - authenticated_at >= policy.session.reauthenticate:
        raise Forbidden(
            "login-too-old", "the provider's login is older than the policy allows; log out there and in again"
        )
    check = policy.session.check_login
    if check is not None and login.get("refresh_token") is None:
        raise Forbidden(
            "login-uncheckable",
            "the policy has logins checked at the provider, which gave no refresh token; let it allow this client "
            "offline_access, or remove session.check_login from the policy",
        )
    row = tables.Login(
        id=new_identifier(entropy),
        device=device.id,
        issuer=login["issuer"],
        subject=login["subject"],
        user=login["user"],
        groups=list(login["groups"]),
        authenticated_at=authenticated_at,
        sid=login.get("sid"),
        issued_at=datetime.fromtimestamp(login["issued_at"], now.tzinfo) if "issued_at" in login else None,
        expires_at=authenticated_at + policy.session.reauthenticate,
        provider=login.get("provider", ""),
        acr=login.get("acr"),
        amr=login.get("amr", []),
        email=login.get("email"),
        id_token=login.get("id_token"),
        refresh_token=login.get("refresh_token"),
        check_at=now + check if check is not None else None,
    )
    db.add(row)
    audit.record(
        db, Event.DEVICE_LOGGED_IN, now=now, actor=row.user, device=device.id, issuer=row.issuer, groups=row.groups
    )
    return row


def _text(claims: Mapping[str, Any], name: str, longest: int) -> str:
    text = claims.get(name)
    if not isinstance(text, str) or not 0 < len(text) <= longest or not text.isprintable():
        raise Malformed("claim-malformed", f"{name} must be 1 to {longest} printable characters")
    return text


def _loopback(uri: object) -> str:
    """RFC 8252 section 7.3: a loopback address, never the name localhost, which a resolver may send elsewhere."""
    allowed = Malformed("claim-malformed", "redirect_uri must be http://127.0.0.1:<port>/ or http://[::1]:<port>/")
    if not isinstance(uri, str) or len(uri) > 64:
        raise allowed
    try:
        port = urlsplit(uri).port
    except ValueError:
        raise allowed from None
    if not port or uri not in (f"http://127.0.0.1:{port}/", f"http://[::1]:{port}/"):
        raise allowed
    return uri
