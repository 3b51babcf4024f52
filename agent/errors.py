"""The errors that the agent raises on purpose. `str(error)` is shown to a person and says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AgentError(Exception):
    """Base: something that a person can act on."""


class Unreachable(AgentError):
    """The gateway cannot be reached, or what answers is not a gateway that we trust."""


class Nonsense(AgentError):
    """The gateway's answer is not what the contract allows; nothing of it is used."""


class Problem(AgentError):
    """The gateway refused (RFC 9457). `code` is for programs, `members` carry what helps to go on."""

    def __init__(self, status: int, code: str, detail: str, members: Mapping[str, Any]) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.members = members
