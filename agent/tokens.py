"""The agent's tokens: an access token that is shown with a proof by the device key (RFC 9449), renewed by a refresh token.

They live in memory only. A refresh token is used once: whatever comes of it, the next one is asked for by the device key.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from http.client import HTTPMessage
from typing import Any, Final

from agent import answers, wire
from agent.device_key import DeviceKey
from agent.errors import Nonsense

PATH: Final = "/v1/token"
EARLY: Final = 30.0
"""Seconds before its end that an access token is not used any more."""


class Tokens:
    """What the agent holds. `nonce` is the gateway's latest, for the next proof."""

    def __init__(self, origin: str, key: DeviceKey) -> None:
        self._origin = origin
        self._key = key
        self._access = ""
        self._refresh = ""
        self._until = 0.0
        self.nonce = ""

    @property
    def fresh(self) -> bool:
        """Whether there is an access token that can be shown."""
        return bool(self._access) and time.monotonic() < self._until

    def grant(self) -> dict[str, str]:
        """The form that asks for tokens: by the refresh token, which this uses up, else by the device key."""
        refresh, self._refresh, self._access = self._refresh, "", ""
        if refresh:
            return {"grant_type": "refresh_token", "refresh_token": refresh}
        assertion = self._key.sign(wire.TYP_ASSERTION, {}, now=time.time())
        return {"grant_type": wire.GRANT_ASSERTION, "assertion": assertion}

    def take(self, answer: Mapping[str, Any]) -> None:
        """Keep what the gateway gave. Raises Nonsense."""
        access, refresh, seconds = (answer.get(name) for name in ("access_token", "refresh_token", "expires_in"))
        sound = all(isinstance(token, str) and token and token.isascii() for token in (access, refresh))
        if not sound or type(seconds) is not int or not 0 < seconds <= 86400:
            raise Nonsense("the gateway sent no proper token")
        self._access, self._refresh = str(access), str(refresh)
        self._until = time.monotonic() + max(seconds - EARLY, seconds / 2)

    def forget(self) -> None:
        """The access token was refused."""
        self._access = ""

    def proof(self, method: str, path: str) -> dict[str, str]:
        """The header of a request that shows no access token."""
        return {"dpop": self._proof(method, path, {})}

    def headers(self, method: str, path: str) -> dict[str, str]:
        """The headers of a request that shows the access token."""
        ath = base64.urlsafe_b64encode(hashlib.sha256(self._access.encode()).digest()).rstrip(b"=").decode()
        return {"authorization": f"DPoP {self._access}", "dpop": self._proof(method, path, {"ath": ath})}

    def remember(self, headers: Mapping[str, str] | HTTPMessage) -> None:
        """Take the nonce from an answer that has one."""
        self.nonce = answers.printable(headers.get("dpop-nonce", self.nonce)[:128])

    def _proof(self, method: str, path: str, more: Mapping[str, str]) -> str:
        claims = {"htm": method, "htu": f"{self._origin}{path}", "nonce": self.nonce, **more}
        return self._key.sign(wire.TYP_DPOP, claims, now=time.time())
