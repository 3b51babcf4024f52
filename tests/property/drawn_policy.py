"""Policies and devices drawn by a generator of random numbers: quicker than Hypothesis, and close to every boundary."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.property.naive_policy import Device

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
}

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
}


def some(chance: Chance, of: list[str]) -> list[str]:
    return chance.sample(of, chance.randint(1, min(3, len(of))))


def document(chance: Chance) -> dict[str, Any]:
    made: dict[str, Any] = {
        "policy": "drawn",
        "tiers": TIERS[-chance.randint(2, 4) :],
        "resources": RESOURCES,
        "checks": {},
        "access": [],
    }
    tiers = made["tiers"]
    for name in chance.sample(CHECKS, chance.randint(1, len(CHECKS))):
        made["checks"][name] = {**asked(chance, 3), **lead(chance, tiers), **concern(chance)}
    for _ in range(chance.randint(0, 4)):
        made["access"].append(
            {"groups": some(chance, GROUPS), "tier": chance.choice(tiers[:-1]), "resources": some(chance, [*RESOURCES])}
        )
    if chance.random() < 0.3:
        made["session"] = {"without_report": chance.choice(tiers[1:])}
    if chance.random() < 0.3:
        rates = ["512kbit", "20Mbit", "1Gbit"]
        made["limits"] = [{"groups": some(chance, GROUPS), "rate": chance.choice(rates)} for _ in range(2)]
    return made


def asked(chance: Chance, levels: int) -> dict[str, Any]:
    kind = chance.choice(
        [*SOME, "os-version", "agent-version", "report-age", *["any-of", "all-of", "not"] * (levels > 0)]
    )
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
    keys: dict[str, list[str]] = {"platforms": ["linux", "darwin", "windows"], "groups": GROUPS, "devices": DEVICES}
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
    return Device(groups, chance.choice(DEVICES), facts, unreadable, NOW - timedelta(seconds=age), since)
