"""The modules of the OpenID Foundation's conformance suite for relying parties and receivers, by plan.

Each is a test here under its own name (`oidcc-client-test-invalid-iss` is `test_oidcc_client_test_invalid_iss`), against a
provider that is hostile where the module's is, or it is listed below with the reason. `test_census.py` counts them.
"""

from __future__ import annotations

from collections.abc import Mapping


def _named(prefix: str, endings: str) -> tuple[str, ...]:
    """Spell the names out; `.` stands for the prefix alone."""
    return tuple(prefix if ending == "." else f"{prefix}-{ending}" for ending in endings.split())


OIDC = "oidcc-client-test"
FAPI2 = "fapi2-security-profile-final-client-test"
SSF = "openid-ssf-receiver"

PLANS: Mapping[str, tuple[str, ...]] = {
    "basic": _named(
        OIDC,
        ". invalid-iss missing-sub invalid-aud missing-iat kid-absent-single-jwks kid-absent-multiple-jwks "
        "idtoken-sig-rs256 idtoken-sig-none invalid-sig-rs256 userinfo-bearer-header userinfo-bearer-body "
        "userinfo-invalid-sub nonce-invalid scope-userinfo-claims client-secret-basic",
    ),
    "config": _named(
        OIDC,
        "discovery-openid-config discovery-jwks-uri-keys discovery-issuer-mismatch idtoken-sig-none "
        "signing-key-rotation-just-before-signing signing-key-rotation",
    ),
    "refresh": _named(OIDC, "refresh-token refresh-token-invalid-issuer refresh-token-invalid-sub"),
    "third-party-initiated login": _named(OIDC, "3rd-party-init-login"),
    "back-channel logout": _named(
        f"{OIDC}-rp-backchannel-rpinitlogout",
        ". alg-none no-event with-nonce wrong-alg wrong-aud wrong-event wrong-iss",
    ),
    "RP-initiated logout": _named(f"{OIDC}-rp-init-logout", ". other-state no-state"),
    "FAPI 2 security profile": _named(
        FAPI2,
        "happy-path discovery-issuer-mismatch invalid-iss invalid-aud invalid-secondary-aud invalid-null-alg "
        "invalid-alternate-alg invalid-expired-exp invalid-missing-exp invalid-missing-aud invalid-missing-iss "
        "valid-aud-as-array invalid-nonce invalid-missing-nonce invalid-authorization-response-iss "
        "remove-authorization-response-iss ensure-authorization-response-with-invalid-state-fails "
        "ensure-authorization-response-with-invalid-missing-state-fails token-endpoint-response-without-expires_in "
        "token-type-case-insensitivity rs-dpop-auth-scheme-case-insensitivity happy-path-no-dpop-nonce "
        "refresh-token-test",
    ),
    "SSF receiver": _named(
        SSF,
        "happypath stream-create-delete stream-status-update stream-verification unsolicited-stream-verification "
        "stream-supported-events stream-caep-interop",
    ),
}

SIZES = {
    "basic": 16,
    "config": 6,
    "refresh": 3,
    "third-party-initiated login": 1,
    "back-channel logout": 8,
    "RP-initiated logout": 3,
    "FAPI 2 security profile": 23,
    "SSF receiver": 7,
}
"""How many modules each plan has in the suite (August 2026)."""

NOT_APPLICABLE: Mapping[str, str] = {
    "oidcc-client-test-userinfo-bearer-body": (
        "for clients that send the access token in a form; the gateway sends it in the header alone (RFC 6750 2.2: "
        "the form SHOULD NOT be used), which userinfo-bearer-header holds"
    ),
}
"""Modules about something that the gateway does not do, and why."""
