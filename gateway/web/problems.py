"""Errors become problem documents (RFC 9457) here and nowhere else. This is the only table from errors to statuses."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import (
    Conflict,
    Forbidden,
    Malformed,
    NotFound,
    ProviderError,
    Refused,
    TunnelError,
    Unauthenticated,
    Unavailable,
)

RETRY_SECONDS = 5

log = structlog.get_logger()

STATUSES: Mapping[type[BaseException], tuple[int, str]] = {
    Malformed: (400, ""),
    Unauthenticated: (401, ""),
    Forbidden: (403, ""),
    NotFound: (404, ""),
    Conflict: (409, ""),
    Unavailable: (503, ""),
    ProviderError: (502, "provider-unavailable"),
    TunnelError: (503, "tunnel-unavailable"),
    IntegrityError: (409, "changed-meanwhile"),
    SQLAlchemyError: (503, "store-unavailable"),
    Exception: (500, "internal"),
}
"""Error class to status and, where the error has no code of its own, the code."""

CODES = {
    404: "not-found",
    405: "method-not-allowed",
    408: "body-too-slow",
    413: "body-too-large",
    415: "media-type",
}
"""Codes of what the routing refuses."""

HIDDEN: Mapping[type[BaseException], str] = {
    IntegrityError: "somebody else changed the same thing at the same moment; ask again",
    SQLAlchemyError: "the database cannot be used at the moment; nothing was changed",
    Exception: "the gateway made a mistake; nothing is known to be changed",
}
"""What strangers read in place of an error text that could tell them about the inside."""


def answer(_request: Request, error: Exception) -> Response:
    """Answer an error of any class."""
    if isinstance(error, HTTPException):
        return problem(error.status_code, CODES[error.status_code], error.detail, headers=error.headers)
    kind = next(kind for kind in type(error).__mro__ if kind in STATUSES)
    status, code = STATUSES[kind]
    if status >= 500:
        log.error("request failed", status=status, error=f"{type(error).__name__}: {error}")
    if isinstance(error, Refused):
        return problem(status, error.code, str(error), error.extra, error.headers)
    return problem(status, code, HIDDEN.get(kind, str(error)))


def problem(
    status: int,
    code: str,
    detail: str,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make a problem document. `code` is for machines and stays the same, `detail` is for people."""
    title = http.HTTPStatus(status).phrase
    members = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail, **(extra or {})}
    more = dict(headers or {})
    if status == 401:
        more.setdefault("WWW-Authenticate", "Sallyport")
    if status == 503:
        more["Retry-After"] = str(RETRY_SECONDS)
    return JSONResponse(members, status, more, media_type="application/problem+json")
