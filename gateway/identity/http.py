"""The one way out to the OpenID provider: what it may reach, how long it may take, how much it may say.

URLs come from the provider's own metadata, so they are hostile until shown otherwise (SSRF). A name is resolved once,
every address is checked, and the connection goes to the checked address: a second answer of the DNS changes nothing.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx2

from gateway.errors import ProviderError
from gateway.identity import strict_json
from gateway.identity.patience import Patience
from gateway.settings import LOOPBACK

LARGEST_ANSWER = 1024 * 1024
"""Bytes. The largest metadata in the field has 10 KiB, the largest key set 30 KiB."""

LONGEST_ANSWER = 10.0
"""Seconds from the request to the last byte: a drip of single bytes resets every smaller timeout."""

TIMEOUT = httpx2.Timeout(5.0)
Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], list[Address]]

SHARED = IPv4Network("100.64.0.0/10")
"""RFC 6598. Neither global nor private to Python; overlay networks and carriers number their hosts from it, and an operator
who names such a provider means it."""

NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: a translator on the way sends what goes here to the IPv4 address in the last 32 bits."""


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object from the provider; `max_age` is what Cache-Control allows in seconds, None when it says nothing."""

    members: Mapping[str, Any]
    max_age: int | None


def resolve(host: str, port: int) -> list[Address]:
    """Ask the system's resolver for every address of a name. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(sockaddr[0]) for *_, sockaddr in found if isinstance(sockaddr[0], str)]


class Egress:
    """Requests to the provider: https, no redirects, no proxies, no private addresses, 1 MiB, 10 s.

    `allow_loopback` is for a provider on this machine and also allows plain http to it. `private_host` is the one name
    that may resolve to private addresses: the issuer's own, which the operator has chosen.
    """

    def __init__(
        self,
        allow_loopback: bool,
        *,
        private_host: str | None = None,
        resolve: Resolve = resolve,
        wire: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # No connection is kept: one to a shared address would be used again for another name, unchecked by TLS.
        wire = wire or httpx2.HTTPTransport(trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0))
        self.transport = _Guarded(wire, allow_loopback, private_host, resolve, clock)
        self._client = httpx2.Client(transport=self.transport, trust_env=False, timeout=TIMEOUT)

    @classmethod
    def for_issuer(cls, issuer: str) -> Egress:
        """Make the way out that an issuer needs: loopback for one on this machine, its own private name otherwise."""
        host = urlsplit(issuer).hostname
        return cls(host in LOOPBACK, private_host=host)

    def get_json(self, url: str) -> Document:
        """Fetch a JSON object, strictly read. Raises ProviderError."""
        answer = self.get(url)
        return Document(json_object(answer), _max_age(answer.headers.get("cache-control", "")))

    def get(self, url: str, *, auth: httpx2.Auth | None = None) -> httpx2.Response:
        """Fetch a document with the status 200. Raises ProviderError, whose text never has the token."""
        answer = self._ask("GET", url, auth=auth)
        if answer.status_code != 200:
            raise ProviderError(f"{url}: answered {answer.status_code}; redirects are not followed")
        return answer

    def post(self, url: str, form: Mapping[str, str], *, auth: httpx2.Auth | None = None) -> httpx2.Response:
        """Send a form. Gives the answer whatever its status. Raises ProviderError when none comes."""
        return self._ask("POST", url, data=form, auth=auth)

    def send(
        self, method: str, url: str, members: Mapping[str, Any] | None, *, auth: httpx2.Auth | None
    ) -> httpx2.Response:
        """Send a JSON object, or nothing. Gives the answer whatever its status. Raises ProviderError when none comes."""
        return self._ask(method, url, json=members, auth=auth)

    def _ask(
        self,
        method: str,
        url: str,
        *,
        auth: httpx2.Auth | None,
        data: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> httpx2.Response:
        headers = {"Accept": "application/json"}
        try:
            return self._client.request(method, url, headers=headers, data=data, json=json, auth=auth)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ProviderError(f"{url}: {reason(error)}") from None


def json_object(answer: httpx2.Response) -> Mapping[str, Any]:
    """Read an answer as a JSON object. Raises ProviderError."""
    try:
        return strict_json.loads_object(answer.content)
    except ValueError as error:
        raise ProviderError(f"{answer.request.url}: the answer {error}") from None


class Bearer(httpx2.Auth):
    """Shows an access token as RFC 6750 says, in the header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """See httpx2.Auth."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class _Guarded(httpx2.BaseTransport):
    """Checks each request before it leaves and bounds what comes back."""

    def __init__(
        self,
        wire: httpx2.BaseTransport,
        allow_loopback: bool,
        private_host: str | None,
        resolve: Resolve,
        clock: Callable[[], float],
    ) -> None:
        self._wire = wire
        self._allow_loopback = allow_loopback
        self._private_host = private_host
        self._resolve = resolve
        self._clock = clock

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        address = self._checked_address(request.url)
        headers = request.headers.copy()
        headers["Accept-Encoding"] = "identity"  # a compressed answer could unpack beyond the cap
        pinned = httpx2.Request(
            request.method,
            request.url.copy_with(host=str(address)),
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        deadline = self._clock() + LONGEST_ANSWER
        answer = self._headers_of(pinned)
        if answer.headers.get("content-encoding", "identity") != "identity":
            answer.close()
            raise httpx2.RemoteProtocolError("the answer is compressed, which was not asked for")
        assert isinstance(answer.stream, httpx2.SyncByteStream)
        return httpx2.Response(
            answer.status_code, headers=answer.headers, stream=_Bounded(answer.stream, deadline, self._clock)
        )

    def _headers_of(self, request: httpx2.Request) -> httpx2.Response:
        with Patience(LONGEST_ANSWER) as patience:
            request.extensions["trace"] = patience.trace
            try:
                return self._wire.handle_request(request)
            except httpx2.HTTPError:
                if patience.over:
                    raise httpx2.ReadTimeout(f"the answer took longer than {LONGEST_ANSWER:.0f} s") from None
                raise

    def _checked_address(self, url: httpx2.URL) -> Address:
        if url.scheme not in ("https", "http") or not url.host or url.userinfo:
            raise httpx2.UnsupportedProtocol("must be an https URL with a host and without a password")
        port = url.port if url.port is not None else 443 if url.scheme == "https" else 80
        if not 0 < port < 65536:
            raise httpx2.UnsupportedProtocol("must have a port from 1 to 65535")
        try:
            addresses = self._resolve(url.host, port)
        except (OSError, ValueError) as error:
            raise httpx2.ConnectError(f"{url.host} cannot be resolved: {error}") from None
        for address in addresses:
            self._check(address, url)
        if not addresses:
            raise httpx2.ConnectError(f"{url.host} has no address")
        return addresses[0]

    def _check(self, address: Address, url: httpx2.URL) -> None:
        destination = _destination(address)
        if _is_here(address) and self._allow_loopback:
            return
        if url.scheme != "https":
            raise httpx2.UnsupportedProtocol("must be https, except for a provider on a loopback address")
        if destination.is_global and not _never_a_provider(destination):
            return
        private = destination.is_private or destination in SHARED
        if url.host == self._private_host and private and not _never_a_provider(destination):
            return
        raise httpx2.ConnectError(f"{url.host} is at {address}, an address that no provider may have")


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, deadline: float, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._deadline = deadline
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        for chunk in self._stream:
            received += len(chunk)
            if received > LARGEST_ANSWER:
                raise httpx2.RemoteProtocolError(f"the answer has more than {LARGEST_ANSWER} bytes")
            if self._clock() > self._deadline:
                raise httpx2.ReadTimeout(f"the answer took longer than {LONGEST_ANSWER:.0f} s")
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _is_here(address: Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _destination(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64): it is where the packets end up."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _never_a_provider(address: Address) -> bool:
    """Loopback, link-local (with the clouds' metadata service), group and reserved addresses: no choice of a name allows them."""
    old = isinstance(address, IPv6Address) and address.is_site_local
    none = address.is_unspecified or address.is_reserved or address.is_multicast
    return address.is_loopback or address.is_link_local or none or old


def _max_age(cache_control: str) -> int | None:
    """RFC 9111 section 5.2.2; `no-store` and `no-cache` count as zero."""
    if re.search(r"\bno-(store|cache)\b", cache_control, re.IGNORECASE):
        return 0
    found = re.search(r"\bmax-age=\"?(\d{1,9})\b", cache_control, re.IGNORECASE)
    return int(found[1]) if found else None


def reason(error: Exception) -> str:
    """Say what went wrong, also for the errors that have no text."""
    return str(error) or type(error).__name__
