"""A second interpreter of the policy language, from its description alone: slow, obvious, and of no use but to disagree.

It reads the document as it is written, knows every kind of check by heart, and shares no code with `gateway.policy`.
Answers are three: HOLDS, FAILS and UNKNOWN, the last for whatever cannot be told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

HOLDS, FAILS, UNKNOWN = "holds", "fails", "unknown"

NO_REPORT_AFTER = timedelta(minutes=15)
FUTURE_ALLOWED = timedelta(minutes=10)


@dataclass
class Device:
    """What is known of a device: the facts by name with their value, or with why there is none."""

    groups: set[str]
    device: str
    facts: dict[str, Any] | None
    unreadable: set[str]
    received_at: datetime
    failing_since: dict[str, datetime]


@dataclass
class Answer:
    """Everything that two interpreters must agree on."""

    tier: str
    findings: dict[str, tuple[str, bool, datetime, datetime | None]]
    permits: set[str]
    routes: set[str]
    rate: int | None
    failing_since: dict[str, datetime]


def interpret(document: dict[str, Any], device: Device, now: datetime) -> Answer:
    tiers = document["tiers"]
    findings: dict[str, tuple[str, bool, datetime, datetime | None]] = {}
    failing: dict[str, datetime] = {}
    if device.facts is None:
        began = min(device.failing_since.get("report", now), now)
        findings["report"] = (tiers[-2], True, began, None)
        failing["report"] = began
        for name in document["checks"]:
            if name in device.failing_since:
                failing[name] = min(device.failing_since[name], now)
    else:
        if now - device.received_at >= NO_REPORT_AFTER or device.received_at > now + FUTURE_ALLOWED:
            to = document.get("session", {}).get("without_report", tiers[-2])
            findings["report"] = (to, True, device.received_at + NO_REPORT_AFTER, None)
        for name, check in document["checks"].items():
            one_check(name, check, tiers, device, now, findings, failing)

    tier = tiers[0]
    for to, effective, _, _ in findings.values():
        if effective and tiers.index(to) > tiers.index(tier):
            tier = to

    permits: set[str] = set()
    if tier != tiers[-1]:
        for grant in document.get("access", []):
            if is_member(device, grant["groups"]) and tiers.index(grant["tier"]) >= tiers.index(tier):
                for name in grant["resources"]:
                    permits |= permits_of(document["resources"][name])

    routes: set[str] = set()
    for grant in document.get("access", []):
        if is_member(device, grant["groups"]):
            for name in grant["resources"]:
                routes |= set(document["resources"][name]["destinations"])

    rates = [rate(limit["rate"]) for limit in document.get("limits", []) if is_member(device, limit["groups"])]
    return Answer(tier, findings, permits, routes, min(rates) if rates else None, failing)


def one_check(
    name: str,
    check: dict[str, Any],
    tiers: list[str],
    device: Device,
    now: datetime,
    findings: dict[str, tuple[str, bool, datetime, datetime | None]],
    failing: dict[str, datetime],
) -> None:
    fails = concerns(check, device) and judge(check, device, now) != HOLDS
    before = device.failing_since.get(name)
    if before is not None and before > now:
        before = now
    grace = duration(check["grace"]) if "grace" in check else None
    if fails:
        since = before if before is not None else now
        until = since + grace if grace is not None else None
        effective = not check.get("warn", False) and (until is None or now >= until)
        findings[name] = (check.get("otherwise", tiers[0]), effective, since, until)
        failing[name] = since
    elif before is not None and grace is not None and now < before + grace:
        failing[name] = before


def concerns(check: dict[str, Any], device: Device) -> bool:
    if "devices" in check and device.device not in check["devices"]:
        return False
    if "groups" in check and not is_member(device, check["groups"]):
        return False
    if "platforms" in check:
        family = read(device, "os.family")
        if isinstance(family, str) and family in ("linux", "darwin", "windows"):
            return family in check["platforms"]
    return True


def is_member(device: Device, groups: list[str]) -> bool:
    return any(group == "everyone" or group in device.groups for group in groups)


# --- one kind after the other ---


def judge(check: dict[str, Any], device: Device, now: datetime) -> str:
    kind = check["check"]
    if kind == "any-of":
        answers = [judge(part, device, now) for part in check["of"]]
        if HOLDS in answers:
            return HOLDS
        return UNKNOWN if UNKNOWN in answers else FAILS
    if kind == "all-of":
        return all_of([judge(part, device, now) for part in check["of"]])
    if kind == "not":
        return {HOLDS: FAILS, FAILS: HOLDS, UNKNOWN: UNKNOWN}[judge(check["of"], device, now)]
    if kind == "report-age":
        return young(device.received_at, check["max_age"], now)
    if kind == "agent-version":
        return version_is(text(device, "agent.version"), check["minimum"])
    if kind == "os-version":
        return judge_system(check, device)
    asked: list[str] = []
    if kind == "firewall":
        if "enabled" in check:
            asked.append(is_true(device, "firewall.enabled"))
        if "products" in check:
            asked.append(is_one_of(text(device, "firewall.product"), check["products"]))
    if kind == "antivirus":
        if "running" in check:
            asked.append(is_true(device, "antivirus.running"))
        if "signatures_max_age" in check:
            asked.append(age(device, "antivirus.signatures_at", check["signatures_max_age"], now))
        if "products" in check:
            asked.append(is_one_of(text(device, "antivirus.product"), check["products"]))
    if kind == "disk-encryption":
        for volume in ("root", "home", "swap"):
            if volume in check:
                asked.append(is_true(device, f"disk.{volume}_encrypted"))
    if kind == "patches":
        for what in ("security_pending", "pending"):
            if what in check:
                asked.append(at_most(device, f"patches.{what}", check[what]))
        if "lists_max_age" in check:
            asked.append(age(device, "patches.lists_updated_at", check["lists_max_age"], now))
    assert asked, kind
    return all_of(asked)


def all_of(answers: list[str]) -> str:
    if FAILS in answers:
        return FAILS
    return UNKNOWN if UNKNOWN in answers else HOLDS


def judge_system(check: dict[str, Any], device: Device) -> str:
    system = text(device, "os.family")
    if system == "linux":
        system = text(device, "os.distribution")
    if system is None:
        return UNKNOWN
    if system not in check["minimum"]:
        return FAILS
    return version_is(text(device, "os.version"), check["minimum"][system])


# --- facts ---


def read(device: Device, name: str) -> Any:
    assert device.facts is not None
    return None if name in device.unreadable else device.facts.get(name)


def text(device: Device, name: str) -> str | None:
    value = read(device, name)
    return value if isinstance(value, str) and 1 <= len(value) <= 200 and value.isprintable() else None


def is_true(device: Device, name: str) -> str:
    value = read(device, name)
    if value is True:
        return HOLDS
    return FAILS if value is False else UNKNOWN


def at_most(device: Device, name: str, limit: int) -> str:
    value = read(device, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or value > 10**9:
        return UNKNOWN
    return HOLDS if value <= limit else FAILS


def is_one_of(value: str | None, allowed: list[str]) -> str:
    if value is None:
        return UNKNOWN
    return HOLDS if value in allowed else FAILS


def age(device: Device, name: str, limit: str, now: datetime) -> str:
    value = read(device, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 4 * 10**9:
        return UNKNOWN
    return young(datetime.fromtimestamp(value, UTC), limit, now)


def young(at: datetime, limit: str, now: datetime) -> str:
    if at > now + FUTURE_ALLOWED:
        return UNKNOWN
    return HOLDS if now < at + duration(limit) else FAILS


# --- words ---


def duration(written: str) -> timedelta:
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[written[-1]]
    return timedelta(**{unit: int(written[:-1])})


def rate(written: str) -> int:
    return int(written[:-4]) * {"k": 1000, "M": 1000**2, "G": 1000**3}[written[-4]]


def permits_of(resource: dict[str, Any]) -> set[str]:
    if "ports" not in resource:
        return set(resource["destinations"])
    return {f"{network} {ports}" for network in resource["destinations"] for ports in resource["ports"]}


# --- versions, as Debian Policy 5.6.12 tells it; none here has an epoch or a revision ---


def version_is(found: str | None, required: str) -> str:
    if found is None or not re.fullmatch(r"[0-9][A-Za-z0-9.+~]{0,63}", found):
        return UNKNOWN
    for part in required.split(","):
        match = re.fullmatch(r"\s*(>=|<=|==|!=|<|>|)\s*(\S+)\s*", part)
        assert match is not None
        order = compare(plain(found), plain(match[2]))
        wanted = {
            "": order >= 0, ">=": order >= 0, "<=": order <= 0, "==": order == 0, "!=": order != 0, "<": order < 0, ">": order > 0,
        }  # fmt: skip
        if not wanted[match[1]]:
            return FAILS
    return HOLDS


def plain(version: str) -> str:
    """A trailing .0 means nothing: 12.0 is 12."""
    number, tilde, rest = version.partition("~")
    while number.endswith(".0"):
        number = number[:-2]
    return number + tilde + rest


def compare(one: str, other: str) -> int:
    while one or other:
        word_one, one = re.fullmatch(r"([^0-9]*)(.*)", one).groups()  # type: ignore[union-attr]
        word_other, other = re.fullmatch(r"([^0-9]*)(.*)", other).groups()  # type: ignore[union-attr]
        for index in range(max(len(word_one), len(word_other))):
            a, b = weight(word_one, index), weight(word_other, index)
            if a != b:
                return -1 if a < b else 1
        number_one, one = re.fullmatch(r"([0-9]*)(.*)", one).groups()  # type: ignore[union-attr]
        number_other, other = re.fullmatch(r"([0-9]*)(.*)", other).groups()  # type: ignore[union-attr]
        if int(number_one or 0) != int(number_other or 0):
            return -1 if int(number_one or 0) < int(number_other or 0) else 1
    return 0


def weight(word: str, index: int) -> int:
    """Tilde before the end, the end before letters, letters before the rest."""
    if index >= len(word):
        return 0
    letter = word[index]
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 256
