"""Networks and ports as policies write them."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Strict, WithJsonSchema

CIDR = r"^[0-9A-Fa-f.:]+(?:/(?:0|[1-9][0-9]{0,2}))?$"
"""No netmasks, of which 0.0.0.0 would mean everything, and no zones."""
PORTS = r"^(?:tcp|udp)(?:/[0-9]{1,5}(?:-[0-9]{1,5})?)?$|^icmp$|^icmpv6$"
HOST = r"^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])$"


def _network(text: str) -> str:
    try:
        if not re.fullmatch(CIDR, text):
            raise ValueError
        return str(ip_network(text))
    except ValueError:
        raise ValueError(
            "is not a network; allowed is CIDR without host bits, for example 10.20.0.0/24, 10.20.0.10/32 or 2001:db8::/64"
        ) from None


def _ports(text: str) -> str:
    numbers = [int(number) for number in re.findall(r"(?<=[/-])[0-9]+", text)]
    if not re.fullmatch(PORTS, text) or numbers != sorted(numbers) or not all(0 < n < 65536 for n in numbers):
        raise ValueError("are not ports; allowed is for example tcp/443, udp/5000-5010, tcp, udp, icmp or icmpv6")
    protocol = text.partition("/")[0]
    return "/".join([protocol, *(["-".join(map(str, dict.fromkeys(numbers)))] if numbers else [])])


def _host(text: str) -> str:
    if not re.fullmatch(HOST, text):
        raise ValueError(
            "is not a DNS name; allowed is a whole name in small letters without a dot at its end, for example git.example.com"
        )
    return text


Network = Annotated[
    str,
    Strict(),
    AfterValidator(_network),
    WithJsonSchema({"type": "string", "pattern": CIDR, "examples": ["10.20.0.10/32"]}),
]
Ports = Annotated[
    str,
    Strict(),
    AfterValidator(_ports),
    WithJsonSchema({"type": "string", "pattern": PORTS, "examples": ["tcp/443", "udp/5000-5010", "icmp"]}),
]
Host = Annotated[
    str,
    Strict(),
    AfterValidator(_host),
    WithJsonSchema({"type": "string", "pattern": HOST, "examples": ["git.example.com"]}),
]
