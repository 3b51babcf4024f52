"""The OpenAPI document, made from the same table as the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agent.wire import AGENT_VERSION, JOSE
from gateway.web.deployment import Deployment
from gateway.web.operations import Operation, Plain, Proof, answer_json

MANAGER: list[dict[str, list[str]]] = [{"administrator": [], "csrf": []}, {"api": []}]
SECURITY: dict[Proof, list[dict[str, list[str]]]] = {
    Proof.NOTHING: [],
    Proof.ANY_KEY: [{"device": []}],
    Proof.DEVICE: [{"device": []}],
    Proof.OWNER: [{"device": []}],
    Proof.ENROLMENT_KEY: [{"device": []}],
    Proof.DEVICE_TOKEN: [{"dpop": []}],
    Proof.OWNER_TOKEN: [{"token": [], "dpop": []}],
    Proof.HOLDER: [{"token": [], "dpop": []}],
    Proof.PROVIDER: [],  # OpenAPI has no scheme for a token in a form; the body is described instead
    Proof.TRANSMITTER: [{"transmitter": []}],
    Proof.CONSENT: [],  # it stands in the form
    Proof.BROWSER: [{"browser": []}],
    **dict.fromkeys((Proof.AUDITOR, Proof.OPERATOR, Proof.ADMINISTRATOR), MANAGER),
}
SCHEMES: dict[str, dict[str, str]] = {
    "device": {
        "type": "http",
        "scheme": "JWS",
        "description": "the body itself: a compact JWS by the device key",
    },
    "token": {"type": "http", "scheme": "DPoP", "description": "an access token of POST /v1/token (RFC 9449)"},
    "dpop": {"type": "apiKey", "in": "header", "name": "DPoP"},
    "api": {"type": "http", "scheme": "bearer", "description": "an API token of POST /v1/admin/api-tokens"},
    "transmitter": {"type": "http", "scheme": "bearer", "description": "what the stream was made with (RFC 8935)"},
    "browser": {"type": "apiKey", "in": "cookie", "name": "__Host-sallyport-login"},
    "administrator": {"type": "apiKey", "in": "cookie", "name": "__Host-sallyport-admin"},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-Sallyport-CSRF", "description": "for changes"},
}
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "constant, for machines"},
        "detail": {"type": "string", "description": "for people"},
    },
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Describe these operations in OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sallyport", "version": AGENT_VERSION},
        "paths": paths,
        "components": {"securitySchemes": SCHEMES, "schemas": {"Problem": PROBLEM}},
    }


def endpoint(operations: Iterable[Operation]) -> Plain:
    """Make the endpoint that answers with the document."""
    made = document(operations)

    def openapi(_gateway: Deployment, _request: Request, _body: bytes) -> Response:
        return answer_json(made)

    return openapi


def _operation(operation: Operation) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    members: dict[str, Any] = {
        "summary": operation.summary,
        "security": SECURITY[operation.proof],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", operation.path)
        ],
        "responses": {
            str(operation.success): {"description": operation.summary},
            "default": {"description": "a problem", "content": problem},
        },
    }
    if operation.body is not None:
        schema = {"type": "string" if operation.body == JOSE else "object"}
        members["requestBody"] = {"required": True, "content": {operation.body: {"schema": schema}}}
    return members
