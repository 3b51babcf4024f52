"""A request exactly as written, handed to the application as the server hands it over: no client tidies the address up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back. Of a stream only the beginning: the client leaves at the first piece."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The code of a problem document, or the `err` that RFC 8935 wants in its place."""
        if not self.body or "json" not in self.headers.get("content-type", ""):
            return None
        members = json.loads(self.body)
        code = members.get("code", members.get("err")) if isinstance(members, dict) else None
        return None if code is None else str(code)


def ask(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Answered:
    """Send one request. `target` is the request target as it stands in the request line."""
    raw_path, _, query = target.partition("?")
    given = headers.items() if isinstance(headers, Mapping) else headers
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "server": ("gateway.example", 443),
        "client": ("192.0.2.7", 50000),
        "root_path": "",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"gateway.example"), *((n.lower().encode(), v.encode("latin-1")) for n, v in given)],
    }
    return asyncio.run(_run(app, scope, body))


async def _run(app: ASGIApp, scope: dict[str, Any], body: bytes) -> Answered:
    sent: list[Message] = []
    began = asyncio.Event()
    requests: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await began.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            began.set()

    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answered(start["status"], headers, b"".join(message.get("body", b"") for message in sent))
