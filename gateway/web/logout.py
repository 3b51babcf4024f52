"""OpenID Connect Back-Channel Logout 1.0: the provider says that a login is over, and it is over before we answer."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from gateway.access import logout
from gateway.errors import Malformed
from gateway.store.engine import writing
from gateway.web.deployment import Deployment
from gateway.web.operations import Operation, Proof

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 16


def backchannel_logout(gateway: Deployment, request: Request, body: bytes) -> Response:
    """End what lives by a login. A token that does not hold changes nothing and leaves no row."""
    now = gateway.clock.now()
    provider = gateway.providers.named(request.path_params.get("provider", ""))
    verified = provider.party.logout(_token(body), now=now)
    with writing(gateway.engine) as db:
        ended = logout.accept(db, verified, now=now)
    if ended:
        gateway.follow(ended, now=now)
    return Response(status_code=200)


def _token(body: bytes) -> str:
    """Section 2.5: other fields have no meaning; `logout_token` is there once."""
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Malformed("form", f"the body must be a form of at most {MOST_FIELDS} fields") from None
    tokens = [value for name, value in fields if name == "logout_token"]
    if len(tokens) != 1:
        raise Malformed("form", "the form must have the field logout_token, once")
    return tokens[0]


OPERATIONS = tuple(
    Operation("POST", path, "Log out at the provider", Proof.PROVIDER, 200, backchannel_logout, body=FORM)
    for path in ("/backchannel-logout", "/backchannel-logout/{provider}")
)
