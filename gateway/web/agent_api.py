"""What an agent may ask for. It signs what must not come from a copy of it, and shows a token for the rest."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import Response

from agent import wire
from gateway.access import (
    attestation,
    audit,
    credentials,
    custody,
    device_grant,
    devices,
    enrolment,
    enrolment_keys,
    sessions,
    step_up,
)
from gateway.access.audit import Event
from gateway.access.device_grant import Polled
from gateway.access.sessions import EndReason
from gateway.access.verdicts import remaining_ms, verdict
from gateway.errors import Forbidden, Malformed, Refused, Unavailable
from gateway.identity import device
from gateway.identity.device import VerifiedDeviceClaims
from gateway.identity.device_key import DeviceKey
from gateway.store import tables
from gateway.store.engine import reading, writing
from gateway.web import bearer
from gateway.web.deployment import Deployment
from gateway.web.operations import JSON, Operation, Proof, answer_json, members


def begin_enrolment(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Begin to enrol a device, or to log in again on one that is."""
    now = gateway.clock.now()
    gateway.clock.check()
    verified = device.verify_enrolment(body, now=now)
    with writing(gateway.engine) as db:
        devices.spend(db, verified.device, verified.claims.get("jti"), now=now)
        begun = enrolment.begin(db, verified, now=now, entropy=gateway.entropy)
        begun.demand = step_up.demanded(db, gateway.in_force.policy, verified)
        elsewhere = _elsewhere(gateway, request, begun) if verified.claims.get("device_code") is True else {}
    return answer_json(
        {
            **elsewhere,
            "enrolment": begun.id,
            "device": begun.device,
            "login_url": f"{gateway.public_url}/login/{begun.id}",
            "expires_in": int(enrolment.LIFETIME.total_seconds()),
        },
        201,
    )


def _elsewhere(gateway: Deployment, request: Request, begun: tables.Enrolment) -> dict[str, Any]:
    """Have the login happen on another machine (RFC 8628 section 3.2). There is no address with the code in it: whoever is
    to be deceived has to type it."""
    if not gateway.in_force.policy.session.device_code:
        raise Forbidden("device-code-off", "the policy lets nobody log in by a code (session.device_code)")
    origin = request.client.host if request.client else "unknown"
    code = device_grant.open_(begun, origin=origin, entropy=gateway.entropy)
    return {
        "user_code": code,
        "verification_uri": f"{gateway.public_url}/device",
        "interval": begun.interval,
    }


def confirm_enrolment(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Finish an enrolment with the code that the login sent to the device's loopback port."""
    now = gateway.clock.now()
    gateway.clock.check()
    name = request.path_params["enrolment"]
    with reading(gateway.engine) as db:
        key = DeviceKey.from_jwk(enrolment.pending(db, name, now=now).jwk)
    verified = device.verify_device(body, key, typ=wire.TYP_CONFIRM, now=now)
    if verified.claims.get("device_code") is True:
        return _poll(gateway, name, verified, now=now)
    with writing(gateway.engine) as db:
        devices.spend(db, verified.device, verified.claims.get("jti"), now=now)
        code = verified.claims.get("code")
        login = enrolment.confirm(
            db,
            name,
            verified.device,
            code,
            gateway.in_force.policy,
            admission=gateway.admission,
            now=now,
            entropy=gateway.entropy,
        )
        renewed = sessions.renew(db, gateway.in_force, login, now=now)
        answer = _enrolled(db, login)
    if renewed is not None:
        gateway.follow([renewed.id], now=now)
    return answer


def _poll(gateway: Deployment, name: str, verified: VerifiedDeviceClaims, *, now: datetime) -> Response:
    """Answer a device that waits for a login elsewhere (RFC 8628 section 3.5)."""
    with writing(gateway.engine) as db:
        devices.spend(db, verified.device, verified.claims.get("jti"), now=now)
        polled = device_grant.poll(db, name, verified.device, now=now)
    if polled is not Polled.APPROVED:
        raise Malformed(polled.value, "nobody has let this device in yet")
    with writing(gateway.engine) as db:
        found = enrolment.pending(db, name, now=now)
        login = enrolment.finish(
            db, found, gateway.in_force.policy, admission=gateway.admission, now=now, entropy=gateway.entropy
        )
        renewed = sessions.renew(db, gateway.in_force, login, now=now)
        answer = _enrolled(db, login)
    if renewed is not None:
        gateway.follow([renewed.id], now=now)
    return answer


def redeem(gateway: Deployment, _request: Request, body: bytes) -> Response:
    """Enrol an unattended machine with an enrolment key, which only the first of any number of machines can use."""
    now = gateway.clock.now()
    gateway.clock.check()
    verified = device.verify_redemption(body, now=now)
    with writing(gateway.engine) as db:
        devices.spend(db, verified.device, verified.claims["jti"], now=now)
        return _enrolled(db, enrolment_keys.redeem(db, verified, now=now, entropy=gateway.entropy))


def _enrolled(db: Session, login: tables.Login) -> Response:
    return answer_json(
        {
            "device": login.device,
            "user": login.user,
            "groups": login.groups,
            "approved": devices.enrolled(db, login.device).approved_at is not None,
            "login_expires_at": login.expires_at.timestamp(),
        }
    )


def begin_session(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Open a session; the one that the device had ends."""
    now = gateway.clock.now()
    gateway.clock.check()
    with reading(gateway.engine) as db:
        key = DeviceKey.from_jwk(devices.jwk_of(db, device.device_id_of(body)))
    verified = device.verify_device(body, key, typ=wire.TYP_SESSION, now=now)
    try:
        with writing(gateway.engine) as db:
            devices.spend(db, verified.device, verified.claims["jti"], now=now)
            before = sessions.live_session(db, verified.device)
            place = gateway.place_of(request)
            session, nonce = sessions.begin(
                db, gateway.in_force, verified, now=now, entropy=gateway.entropy, place=place
            )
            proved = attestation.proved(devices.enrolled(db, verified.device))
    except devices.Forked as forked:
        _quarantine(gateway, verified.device, forked, now=now)
        raise
    except Refused as refused:
        _record_refusal(gateway, Event.SESSION_REFUSED, verified.device, None, refused, now=now)
        raise
    if before is not None:
        gateway.follow([before.id], now=now)
    told = verdict(session, now=now, lease=gateway.lease_of(session))
    wanted = {"attest": {"pcrs": list(gateway.tpm_pcrs), "proved": proved}} if gateway.tpm_roots else {}
    return answer_json({**told, "nonce": nonce, **wanted}, 201)


def report(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Judge a posture report. Access that is lost has ended in the tunnel before the answer goes out."""
    now = gateway.clock.now()
    with reading(gateway.engine) as db:
        key = DeviceKey.from_jwk(devices.jwk_of(db, device.device_id_of(body)))
    verified = device.verify_report(body, key, now=now)
    if verified.report.session != request.path_params["session"]:
        raise Malformed("report-of-another-session", "the report names another session than the address")
    place = gateway.place_of(request)
    try:
        with writing(gateway.engine) as db:
            rules, owner = gateway.in_force, key.thumbprint
            peer = sessions.live_peer(db, verified.report.session)
            accepted = sessions.report(
                db,
                rules,
                owner,
                verified,
                now=now,
                entropy=gateway.entropy,
                place=place,
                seen=gateway.sightings.facts(peer.public_key if peer else None, now=now),
            )
    except devices.Forked as forked:
        _quarantine(gateway, key.thumbprint, forked, now=now)
        raise
    session = accepted.session
    if accepted.changed:
        gateway.follow([session.id], now=now)
    else:
        gateway.enforcement.renew(session.id)
    if session.end_reason == EndReason.DENIED:
        raise Forbidden(
            "denied",
            "the policy denies this device",
            findings=session.findings,
            tier=session.tier,
            nonce=accepted.nonce,
        )
    told = verdict(session, now=now, lease=gateway.lease_of(session))
    return answer_json({**told, "nonce": accepted.nonce})


def _quarantine(gateway: Deployment, name: str, forked: devices.Forked, *, now: datetime) -> None:
    """Both copies of the device are confined before either hears of it."""
    with writing(gateway.engine) as db:
        changed = custody.quarantine(db, gateway.in_force, name, code=forked.code, now=now)
    gateway.follow(changed, now=now)


def credential(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Give the session its tunnel. The gateway's end is ready before the answer goes out."""
    now = gateway.clock.now()
    gateway.clock.check()
    proof, name = bearer.shown(gateway, request, now=now), request.path_params["session"]
    public_key = members(body, {"public_key"}).get("public_key")
    try:
        with writing(gateway.engine) as db:
            bearer.spend(db, proof, now=now)
            session = sessions.own(db, name, proof.device, now=now)
            tunnel = credentials.issue(db, gateway.tunnel_end, session, public_key, now=now)
    except Refused as refused:
        _record_refusal(gateway, Event.CREDENTIAL_REFUSED, proof.device, name, refused, now=now)
        raise
    if not gateway.follow([session.id], now=now):
        raise Unavailable(
            "tunnel-unavailable", "the tunnel cannot be reached at the moment; ask again with the same key"
        )
    lease_ms = remaining_ms(session.lease_until, now=now)
    return answer_json({"tunnel": tunnel.to_json(), "lease_ms": lease_ms})


def leave(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """End the session because the device says so."""
    now = gateway.clock.now()
    session = authorised_session(gateway, request, now=now)
    with writing(gateway.engine) as db:
        sessions.end(
            db, sessions.own(db, session.id, session.device, now=now), EndReason.LEFT, now=now, actor=session.user
        )
    gateway.follow([session.id], now=now)
    return Response(status_code=204)


def authorised_session(gateway: Deployment, request: Request, *, now: datetime) -> tables.Session:
    """Give the live session that the address is about, to the device whose it is. The proof is used up."""
    proof = bearer.shown(gateway, request, now=now)
    with writing(gateway.engine) as db:
        bearer.spend(db, proof, now=now)
        return sessions.own(db, request.path_params["session"], proof.device, now=now)


def _record_refusal(
    gateway: Deployment, event: Event, by: str, session: str | None, refused: Refused, *, now: datetime
) -> None:
    with writing(gateway.engine) as db:
        audit.record(db, event, now=now, actor=by, device=by, session=session, code=refused.code)


def current(db: Session, session: str) -> tables.Session:
    """Read a session again that is known to exist."""
    found = db.get(tables.Session, session)
    assert found is not None
    return found


OPERATIONS = (
    Operation("POST", "/v1/enrolments", "Begin to enrol a device", Proof.ANY_KEY, 201, begin_enrolment, body=wire.JOSE),
    Operation(
        "POST",
        "/v1/enrolments/{enrolment}/confirm",
        "Finish an enrolment with the login's code",
        Proof.OWNER,
        200,
        confirm_enrolment,
        body=wire.JOSE,
    ),
    Operation(
        "POST",
        "/v1/enrolments/redeem",
        "Enrol a machine with an enrolment key",
        Proof.ENROLMENT_KEY,
        200,
        redeem,
        body=wire.JOSE,
    ),
    Operation("POST", "/v1/sessions", "Open a session", Proof.DEVICE, 201, begin_session, body=wire.JOSE),
    Operation("POST", "/v1/sessions/{session}/reports", "Report the posture", Proof.OWNER, 200, report, body=wire.JOSE),
    Operation(
        "POST", "/v1/sessions/{session}/credential", "Get the tunnel", Proof.OWNER_TOKEN, 200, credential, body=JSON
    ),
    Operation("DELETE", "/v1/sessions/{session}", "End the session", Proof.OWNER_TOKEN, 204, leave),
)
