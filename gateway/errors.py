"""The errors that the gateway raises on purpose.

    GatewayError                 something a person can act on; the text says what to do next
    ├── SettingsError            a SALLYPORT_* setting is missing or wrong
    ├── PolicyError              a policy file does not hold; carries file, line and what is allowed
    ├── PolicyRefused            a policy holds, and is not applied: signature, order, lock-out, limits
    ├── HostError                the machine lacks something: TUN, privilege, a free port
    ├── TunnelError              the tunnel process refused a change or cannot be reached
    ├── StoreError               the database cannot be used as it is
    ├── ProviderError            the OpenID provider cannot be reached or answered nonsense
    └── Refused                  a request is understood and answered with a 4xx problem
        ├── Malformed            400: the request itself is wrong
        ├── Unauthenticated      401: nobody, or a proof that does not hold
        ├── Forbidden            403: known, and not allowed
        ├── NotFound             404
        ├── Conflict             409: true at another time or for another owner
        └── Unavailable          503: would be granted if the gateway were whole

Hostile datagrams are not errors: they are counted as a `gateway.packet.drop.Drop`.
`gateway/web/app.py` holds the only table from these classes to HTTP statuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class GatewayError(Exception):
    """Base of everything that is raised on purpose. `str(error)` is shown to a person."""


class SettingsError(GatewayError):
    """A setting is missing or has a value that is not allowed."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A place in a file, counted from 1, and what is wrong there. `source` is the line as it stands in the file."""

    file: str
    line: int
    column: int
    text: str
    source: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


class PolicyError(GatewayError):
    """A policy cannot be loaded. `problems` are all that were found; the text shows each on its line."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class PolicyRefused(GatewayError):
    """A sound policy is not applied; the one before it stays."""


class HostError(GatewayError):
    """The machine lacks something that the command needs."""


class TunnelError(GatewayError):
    """The tunnel process refused a change or cannot be reached."""


class StoreError(GatewayError):
    """The database cannot be used as it is."""


class ProviderError(GatewayError):
    """The OpenID provider cannot be reached, or its answer breaks the standard."""


class Refused(GatewayError):
    """A request that is answered with a problem document (RFC 9457).

    `code` is a constant, machine-readable name of the reason, for example `report-replayed`; `extra` are
    further members of the problem document, `headers` those of the answer, which say how to ask instead.
    """

    def __init__(self, code: str, text: str, **extra: object) -> None:
        super().__init__(text)
        self.code = code
        self.extra = extra
        self.headers: dict[str, str] = {}


class Malformed(Refused):
    """The request itself is wrong."""


class Unauthenticated(Refused):
    """Nobody, or a proof that does not hold."""


class Forbidden(Refused):
    """Known, and not allowed."""


class NotFound(Refused):
    """There is no such thing, or it is not the caller's."""


class Conflict(Refused):
    """The state of the thing does not allow this now."""


class Unavailable(Refused):
    """The gateway cannot do this safely at the moment; trying again later may help."""
