"""A device proves its TPM: certificate and key in, a challenge out that only this TPM can answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access import attestation
from gateway.errors import Malformed
from gateway.store.engine import writing
from gateway.web import bearer
from gateway.web.deployment import Deployment
from gateway.web.operations import JSON, Operation, Proof, answer_json, members

LARGEST = 8192


def challenge(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Challenge a device that says which TPM it has."""
    now, proof = gateway.clock.now(), bearer.shown(gateway, request, now=gateway.clock.now())
    given = members(body, {"certificate", "key"})
    with writing(gateway.engine) as db:
        bearer.spend(db, proof, now=now)
        made = attestation.begin(
            db,
            proof.device,
            _bytes(given, "certificate"),
            _bytes(given, "key"),
            gateway.tpm_roots,
            now=now,
            entropy=gateway.entropy,
        )
    shown = {"credential": made.credential, "encrypted_seed": made.encrypted_seed}
    return answer_json({name: base64.b64encode(value).decode() for name, value in shown.items()})


def activate(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Take the answer: from now on the device's quotes count."""
    now, proof = gateway.clock.now(), bearer.shown(gateway, request, now=gateway.clock.now())
    secret = _bytes(members(body, {"secret"}), "secret")
    with writing(gateway.engine) as db:
        bearer.spend(db, proof, now=now)
        attestation.finish(db, proof.device, secret, now=now)
    return Response(status_code=204)


def _bytes(given: Mapping[str, Any], name: str) -> bytes:
    text = given.get(name)
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) and len(text) <= 2 * LARGEST else b""
    except (binascii.Error, ValueError):
        data = b""
    if not 0 < len(data) <= LARGEST:
        raise Malformed("body", f"{name} must be base64 of 1 to {LARGEST} bytes")
    return data


OPERATIONS = (
    Operation("POST", "/v1/attestation", "Begin to prove a TPM", Proof.HOLDER, 200, challenge, body=JSON),
    Operation("POST", "/v1/attestation/activation", "Prove a TPM", Proof.HOLDER, 204, activate, body=JSON),
)
