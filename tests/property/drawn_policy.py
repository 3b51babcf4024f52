"""Policies and devices drawn by a generator of random numbers: quicker than Hypothesis, and close to every boundary."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.property.naive_policy import GRADES, Device, Probe

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIERS = ["full", "limited", "quarantine", "denied"]
GROUPS = ["everyone", "staff", "finance", "legal"]
DEVICES = ["a" * 43, "b" * 43, "c" * 43]
CHECKS = ["one", "two", "three", "four", "five", "six"]
DURATIONS = ["60s", "10m", "2h", "1d", "3d"]
SECONDS = [60, 600, 7200, 86400, 259200]
VERSIONS = ["11", "12", "12.0", "12.5", "12.5~rc1", "13", "0.1", "0.1.0", "0.0.9", "2.10", "2.9", "12.5a", "12.5+b1"]
REQUIREMENTS = [*VERSIONS, ">= 12", "< 13", ">= 11, < 12.5", "!= 12", "> 2.9", "<= 12.5~rc1", "== 12"]
PRODUCTS = ["clamav", "ufw", "snake-oil"]
RESOURCES: dict[str, dict[str, Any]] = {
    "wiki": {"destinations": ["10.20.0.10/32"], "ports": ["tcp/443"]},
    "payroll": {"destinations": ["10.20.5.0/24", "2001:db8::/64"], "ports": ["tcp/443", "udp/5000-5010"]},
    "lan": {"destinations": ["10.20.0.0/16"]},
    "remediation": {"destinations": ["10.20.9.0/28"], "ports": ["tcp/80", "icmp"]},
    "git": {"names": ["git.example.com", "www.example.com"], "ports": ["tcp/443"]},
    "vault": {"destinations": ["10.40.0.0/24"], "names": ["vault.example.com"], "within": ["10.40.0.0/16"]},
}
DENIABLE = ["wiki", "payroll", "lan", "remediation"]
HOSTS = ["git.example.com", "www.example.com", "vault.example.com"]
ADDRESSES = ["10.20.0.10", "10.20.7.7", "10.40.1.1", "10.50.0.1", "127.0.0.1", "2001:db8:1::1"]
PROBES: list[Probe] = [
    (address, protocol, port)
    for address in [
        *ADDRESSES,
        "10.20.5.0",
        "10.20.5.255",
        "10.20.4.255",
        "10.20.9.15",
        "10.40.0.9",
        "2001:db8::9",
        "10.21.0.0",
    ]
    for protocol, port in [("tcp", 443), ("tcp", 442), ("tcp", 80), ("udp", 5000), ("udp", 5011), ("icmp", 0)]
    if ":" not in address or protocol != "icmp"
]
NETWORKS = {"office": ["198.51.100.0/24", "2001:db8:ff::/48"], "home": ["203.0.113.7/32"]}
WINDOWS: dict[str, dict[str, Any]] = {
    "office-hours": {
        "zone": "Europe/Vienna",
        "opens": "08:00",
        "closes": "18:00",
        "days": ["mon", "tue", "wed", "thu", "fri"],
    },
    "sundays": {"zone": "Europe/Vienna", "opens": "13:00", "closes": "13:30", "days": ["sun"], "never": ["2026-03-08"]},
    "nights": {
        "zone": "America/New_York",
        "opens": "22:00",
        "closes": "07:00",
        "since": "2026-02-28",
        "until": "2026-03-20",
    },
    "always": {"zone": "UTC"},
}
TAGS = ["kiosk", "byod", "lab"]
TAGGED = {"kiosk": [DEVICES[0]], "byod": [], "lab": [DEVICES[0], DEVICES[1]]}
FLAGS = ["firewall.enabled", "antivirus.running", "disk.root_encrypted", "screen.lock_enabled"]
PATHS = ["/usr/bin/ssh", "/opt/nmap", "/bin/nc"]

Chance = random.Random
SOME: dict[str, dict[str, Callable[[Chance], Any]]] = {
    "firewall": {"enabled": lambda _: True, "products": lambda c: some(c, PRODUCTS)},
    "antivirus": {
        "running": lambda _: True,
        "signatures_max_age": lambda c: c.choice(DURATIONS),
        "products": lambda c: some(c, PRODUCTS),
    },
    "disk-encryption": {"root": lambda _: True, "home": lambda _: True, "swap": lambda _: True},
    "patches": {
        "security_pending": lambda c: c.randint(0, 2),
        "pending": lambda c: c.randint(0, 2),
        "lists_max_age": lambda c: c.choice(DURATIONS),
    },
    "screen-lock": {"enabled": lambda _: True, "max_delay": lambda c: c.choice(DURATIONS)},
    "administrators": {"only": lambda c: some(c, ["root", "alice", "bob"]), "with_password": lambda _: True},
    "processes": {
        "running": lambda c: some(c, PATHS),
        "none_of": lambda c: some(c, PATHS),
        "none_like": lambda c: c.choice([".*/nmap", "/bin/.*", "nc"]),
    },
}


def some(chance: Chance, of: list[str]) -> list[str]:
    return chance.sample(of, chance.randint(1, min(3, len(of))))


def document(chance: Chance) -> dict[str, Any]:
    made: dict[str, Any] = {
        "policy": "drawn",
        "tiers": TIERS[-chance.randint(2, 4) :],
        "resources": RESOURCES,
        "windows": WINDOWS,
        "networks": NETWORKS,
        "tags": TAGGED,
        "checks": {},
        "access": [],
    }
    tiers = made["tiers"]
    for name in chance.sample(CHECKS, chance.randint(1, len(CHECKS))):
        made["checks"][name] = {**asked(chance, 3), **lead(chance, tiers), **concern(chance)}
    for _ in range(chance.randint(0, 4)):
        opens = {"tier": chance.choice(tiers[:-1]), "resources": some(chance, [*RESOURCES])}
        made["access"].append({**whom(chance), **opens})
    if chance.random() < 0.5:
        made["deny"] = [
            {**whom(chance), **({"resources": some(chance, DENIABLE)} if chance.random() < 0.9 else {})}
            for _ in range(chance.randint(1, 2))
        ]
    if chance.random() < 0.3:
        made["session"] = {"without_report": chance.choice(tiers[1:])}
    if chance.random() < 0.3:
        rates = ["512kbit", "20Mbit", "1Gbit"]
        made["limits"] = [{"groups": some(chance, GROUPS), "rate": chance.choice(rates)} for _ in range(2)]
        made["limits"].append({"groups": some(chance, GROUPS), "sessions": 3, "idle": "10m"})
    return made


def whom(chance: Chance) -> dict[str, Any]:
    """Whom an access rule is about, and when and where it holds."""
    keys: dict[str, list[str]] = {
        "tags": TAGS, "devices": DEVICES, "networks": [*NETWORKS], "countries": ["AT", "DE", "private"], "when": [*WINDOWS],
    }  # fmt: skip
    rare = {key: some(chance, of) for key, of in keys.items() if chance.random() < 0.15}
    return {"groups": some(chance, GROUPS), **rare}


def asked(chance: Chance, levels: int) -> dict[str, Any]:
    made = _asked(chance, levels)
    drawn = chance.random()
    if drawn < 0.1:
        made["evidence"] = chance.choice(GRADES)
    elif drawn < 0.15 and made["check"] == "antivirus" and "running" in made:
        made["evidence"] = {"antivirus.running": chance.choice(GRADES)}
    return made


def expression(chance: Chance) -> str:
    atoms = [chance.choice(FLAGS), "!" + chance.choice(FLAGS), "patches.pending <= 1", "patches.security_pending <= 0"]
    return chance.choice([" && ", " || "]).join(chance.sample(atoms, chance.randint(1, 3)))


def _asked(chance: Chance, levels: int) -> dict[str, Any]:
    composed = ["any-of", "all-of", "not"] * (levels > 0)
    kind = chance.choice([*SOME, "os-version", "agent-version", "report-age", "expr", "os-support", *composed])
    if kind == "expr":
        return {"check": kind, "expr": expression(chance)}
    if kind == "os-support":
        return {"check": kind, "margin": chance.choice(DURATIONS)}
    if kind == "not":
        return {"check": kind, "of": asked(chance, levels - 1)}
    if kind in ("any-of", "all-of"):
        return {"check": kind, "of": [asked(chance, levels - 1) for _ in range(chance.randint(1, 3))]}
    if kind == "report-age":
        return {"check": kind, "max_age": chance.choice(DURATIONS)}
    if kind == "agent-version":
        return {"check": kind, "minimum": chance.choice(REQUIREMENTS)}
    if kind == "os-version":
        systems = chance.sample(["debian", "ubuntu", "darwin", "windows"], chance.randint(1, 3))
        return {"check": kind, "minimum": {system: chance.choice(REQUIREMENTS) for system in systems}}
    keys = SOME[kind]
    return {"check": kind, **{key: keys[key](chance) for key in some(chance, [*keys])}}


def lead(chance: Chance, tiers: list[str]) -> dict[str, Any]:
    drawn = chance.random()
    if drawn < 0.15:
        return {"warn": True}
    keys: dict[str, Any] = {"otherwise": chance.choice(tiers[1:])}
    if drawn < 0.55:
        keys["grace"] = chance.choice(DURATIONS)
    elif drawn < 0.7:
        keys["severity"] = "explicit"
    return keys


def concern(chance: Chance) -> dict[str, Any]:
    keys: dict[str, list[str]] = {
        "platforms": ["linux", "darwin", "windows"],
        "groups": GROUPS,
        "devices": DEVICES,
        "tags": TAGS,
    }
    return {key: some(chance, of) for key, of in keys.items() if chance.random() < 0.15}


def moment(chance: Chance) -> float:
    """A time whose age is at, or a second from, one of the durations, or the most that a clock may be wrong."""
    if chance.random() < 0.1:
        return NOW.timestamp() + 600 + chance.randint(-1, 1)
    return NOW.timestamp() - chance.choice(SECONDS) + chance.randint(-1, 1)


HONEST: dict[str, Callable[[Chance], Any]] = {
    "agent.version": lambda c: c.choice(VERSIONS),
    "antivirus.product": lambda c: c.choice(PRODUCTS),
    "antivirus.running": lambda c: c.random() < 0.7,
    "antivirus.signatures_at": moment,
    "disk.home_encrypted": lambda c: c.random() < 0.7,
    "disk.root_encrypted": lambda c: c.random() < 0.7,
    "disk.swap_encrypted": lambda c: c.random() < 0.7,
    "firewall.enabled": lambda c: c.random() < 0.7,
    "firewall.product": lambda c: c.choice(PRODUCTS),
    "os.distribution": lambda c: c.choice(["debian", "ubuntu", "arch"]),
    "os.family": lambda c: c.choice(["linux", "linux", "darwin", "windows", "plan9"]),
    "os.version": lambda c: c.choice(VERSIONS),
    "os.support_ends_at": lambda c: NOW.timestamp() + c.choice(SECONDS) + c.randint(-1, 1),
    "processes.executables": lambda c: c.sample(PATHS, c.randint(0, 3)),
    "screen.lock_delay": lambda c: c.choice(SECONDS) + c.randint(-1, 1),
    "screen.lock_enabled": lambda c: c.random() < 0.7,
    "users.administrators": lambda c: c.sample(["root", "alice", "bob", "eve"], c.randint(0, 3)),
    "users.without_password": lambda c: c.sample(["alice"], c.randint(0, 1)),
    "patches.lists_updated_at": moment,
    "patches.pending": lambda c: c.randint(0, 3),
    "patches.security_pending": lambda c: c.randint(0, 3),
}
JUNK: list[Any] = [
    None, "", "rolling", "x" * 201, "a\nb", [], {}, True, 0, 1, -1, 2.5, 10**9 + 1, 4 * 10**9, float("nan"), float("inf"), "12",
]  # fmt: skip


def device(chance: Chance) -> Device:
    facts: dict[str, Any] | None = None
    unreadable: set[str] = set()
    if chance.random() > 0.03:
        facts = {}
        for name, honest in HONEST.items():
            drawn = chance.random()
            if drawn > 0.06:
                facts[name] = chance.choice(JUNK) if drawn < 0.12 else honest(chance)
            if 0.12 < drawn < 0.15:
                unreadable.add(name)
    age = chance.choice([0, 1, 59, 60, 61, 599, 600, 899, 900, 901, -600, -601])
    since = {
        name: NOW - timedelta(seconds=chance.choice([-5, 0, *SECONDS]) + chance.randint(-1, 1))
        for name in ["report", *CHECKS]
        if chance.random() < 0.3
    }
    groups = {group for group in GROUPS[1:] if chance.random() < 0.4}
    return Device(
        groups,
        chance.choice(DEVICES),
        facts,
        unreadable,
        NOW - timedelta(seconds=age),
        since,
        tags={tag for tag in TAGS if chance.random() < 0.3},
        address=chance.choice([None, "198.51.100.9", "203.0.113.7", "203.0.113.8", "2001:db8:ff::1"]),
        country=chance.choice([None, "AT", "DE", "RU", "private"]),
        grades={name: chance.choice(GRADES) for name in HONEST if chance.random() < 0.2},
        names={name: some(chance, ADDRESSES) for name in HOSTS if chance.random() < 0.7},
    )
