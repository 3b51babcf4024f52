"""A second interpreter of the policy language, from its description alone: slow, obvious, and of no use but to disagree.

It reads the document as it is written, knows every kind of check by heart, and shares no code with `gateway.policy`.
Answers are three: HOLDS, FAILS and UNKNOWN, the last for whatever cannot be told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any
from zoneinfo import ZoneInfo

HOLDS, FAILS, UNKNOWN = "holds", "fails", "unknown"

NO_REPORT_AFTER = timedelta(minutes=15)
FUTURE_ALLOWED = timedelta(minutes=10)
GRADES = ["claimed", "device-signed", "vendor-confirmed", "hardware-attested"]

Probe = tuple[str, str, int]
"""A packet that is tried: address, protocol, port."""


@dataclass
class Device:
    """What is known of a device: the facts by name with their value, or with why there is none."""

    groups: set[str]
    device: str
    facts: dict[str, Any] | None
    unreadable: set[str]
    received_at: datetime
    failing_since: dict[str, datetime]
    tags: set[str] = field(default_factory=set)
    address: str | None = None
    country: str | None = None
    grades: dict[str, str] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Answer:
    """Everything that two interpreters must agree on."""

    tier: str
    findings: dict[str, tuple[str, bool, datetime, datetime | None]]
    reached: set[Probe]
    routes: set[str]
    rate: int | None
    failing_since: dict[str, datetime]


def interpret(document: dict[str, Any], device: Device, now: datetime, probes: Iterable[Probe] = ()) -> Answer:
    tiers = document["tiers"]
    named = {tag for tag, devices in document.get("tags", {}).items() if device.device in devices}
    device = replace(device, tags=device.tags | named)
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

    granted: set[str] = set()
    if tier != tiers[-1]:
        for grant in document.get("access", []):
            if tiers.index(grant["tier"]) >= tiers.index(tier) and applies(document, grant, device, now, unknown=False):
                granted |= set(grant["resources"])
    denied: set[str] = set()
    for deny in document.get("deny", []):
        if applies(document, deny, device, now, unknown=True):
            denied |= set(deny.get("resources", document["resources"]))
    reached = {
        probe
        for probe in probes
        if any(contains(document["resources"][name], probe, device) for name in granted - denied)
        and not any(contains(document["resources"][name], probe, device) for name in denied)
    }

    routes: set[str] = set()
    for grant in document.get("access", []):
        if is_member(device, grant["groups"]):
            for name in grant["resources"]:
                routes |= set(networks_of(document["resources"][name], device))

    limits = [limit for limit in document.get("limits", []) if is_member(device, limit["groups"])]
    rates = [rate(limit["rate"]) for limit in limits if "rate" in limit]
    return Answer(tier, findings, reached, routes, min(rates) if rates else None, failing)


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
    if "tags" in check and not device.tags & set(check["tags"]):
        return False
    if "platforms" in check:
        family = read(device, "os.family")
        if isinstance(family, str) and family in ("linux", "darwin", "windows"):
            return family in check["platforms"]
    return True


# --- access ---


def applies(document: dict[str, Any], rule: dict[str, Any], device: Device, now: datetime, *, unknown: bool) -> bool:
    """What is not known of a device makes every deny apply, and no grant."""
    if not is_member(device, rule["groups"]):
        return False
    if "tags" in rule and not device.tags & set(rule["tags"]):
        return False
    if "devices" in rule and device.device not in rule["devices"]:
        return False
    if "networks" in rule:
        known = unknown
        if device.address is not None:
            known = any(lies_in(device.address, one) for name in rule["networks"] for one in document["networks"][name])
        if not known:
            return False
    if "countries" in rule:
        there = unknown if device.country is None else device.country in rule["countries"]
        if not there:
            return False
    return "when" not in rule or any(is_open(document["windows"][name], now) for name in rule["when"])


def is_open(window: dict[str, Any], now: datetime) -> bool:
    wall = now.astimezone(ZoneInfo(window["zone"]))
    clock = f"{wall:%H:%M}"
    opens, closes = window.get("opens", "00:00"), window.get("closes", "00:00")
    if opens < closes:
        return opens <= clock < closes and opens_on(window, wall.date())
    late = clock >= opens and opens_on(window, wall.date())
    return late or (clock < closes and opens_on(window, wall.date() - timedelta(days=1)))


def opens_on(window: dict[str, Any], day: date) -> bool:
    said = day.isoformat()
    if said < window.get("since", said) or said > window.get("until", said) or said in window.get("never", []):
        return False
    return f"{day:%a}".lower() in window.get("days", [f"{day:%a}".lower()])


def networks_of(resource: dict[str, Any], device: Device) -> list[str]:
    found = [address for name in resource.get("names", []) for address in device.names.get(name, [])]
    within = resource.get("within")
    kept = [
        one for one in found if not one.startswith("127.") and (within is None or any(lies_in(one, n) for n in within))
    ]
    return [*resource.get("destinations", []), *(f"{one}/{128 if ':' in one else 32}" for one in kept)]


def contains(resource: dict[str, Any], probe: Probe, device: Device) -> bool:
    address, protocol, port = probe
    if not any(lies_in(address, network) for network in networks_of(resource, device)):
        return False
    if "ports" not in resource:
        return True
    for said in resource["ports"]:
        named, _, range_ = said.partition("/")
        low, _, high = range_.partition("-")
        if named == protocol and (not range_ or int(low) <= port <= int(high or low)):
            return True
    return False


@cache
def lies_in(address: str, network: str) -> bool:
    one, other = ip_address(address), ip_network(network)
    return one.version == other.version and one in other


def is_member(device: Device, groups: list[str]) -> bool:
    return any(group == "everyone" or group in device.groups for group in groups)


# --- one kind after the other ---


def judge(check: dict[str, Any], device: Device, now: datetime, least: Any = None) -> str:
    kind, least = check["check"], check.get("evidence", least)
    if kind not in ("any-of", "all-of", "not"):
        device = trusted(device, least)
    if kind == "any-of":
        answers = [judge(part, device, now, least) for part in check["of"]]
        if HOLDS in answers:
            return HOLDS
        return UNKNOWN if UNKNOWN in answers else FAILS
    if kind == "all-of":
        return all_of([judge(part, device, now, least) for part in check["of"]])
    if kind == "not":
        return {HOLDS: FAILS, FAILS: HOLDS, UNKNOWN: UNKNOWN}[judge(check["of"], device, now, least)]
    if kind == "report-age":
        return young(device.received_at, check["max_age"], now)
    if kind == "agent-version":
        return version_is(text(device, "agent.version"), check["minimum"])
    if kind == "os-version":
        return judge_system(check, device)
    if kind == "expr":
        return expression(check["expr"], device)
    asked: list[str] = []
    if kind == "screen-lock":
        if "enabled" in check:
            asked.append(is_true(device, "screen.lock_enabled"))
        if "max_delay" in check:
            asked.append(seconds_within(device, "screen.lock_delay", check["max_delay"]))
    if kind == "administrators":
        if "only" in check:
            asked.append(list_is(device, "users.administrators", lambda found: found <= set(check["only"])))
        if "with_password" in check:
            asked.append(list_is(device, "users.without_password", lambda found: not found))
    if kind == "processes":
        running = "processes.executables"
        if "running" in check:
            asked.append(list_is(device, running, lambda found: found >= set(check["running"])))
        if "none_of" in check:
            asked.append(list_is(device, running, lambda found: not found & set(check["none_of"])))
        if "none_like" in check:
            asked.append(
                list_is(device, running, lambda found: not any(re.fullmatch(check["none_like"], f) for f in found))
            )
    if kind == "os-support":
        asked.append(ahead(device, "os.support_ends_at", check["margin"], now))
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


def trusted(device: Device, least: Any) -> Device:
    """A fact with less evidence than counts was not reported."""
    if least is None or device.facts is None:
        return device
    kept = {}
    for name, value in device.facts.items():
        wanted = least.get(name, "claimed") if isinstance(least, dict) else least
        if GRADES.index(device.grades.get(name, "device-signed")) >= GRADES.index(wanted):
            kept[name] = value
    return replace(device, facts=kept)


def expression(text: str, device: Device) -> str:
    """The expressions that are drawn: flags and comparisons with `&&` between them, or `||`."""
    for sign, one, other in ((" || ", HOLDS, FAILS), (" && ", FAILS, HOLDS)):
        if sign in text:
            answers = [expression(part, device) for part in text.split(sign)]
            return one if one in answers else UNKNOWN if UNKNOWN in answers else other
    if text.startswith("!"):
        return {HOLDS: FAILS, FAILS: HOLDS, UNKNOWN: UNKNOWN}[expression(text[1:], device)]
    name, _, bound = text.partition(" <= ")
    return at_most(device, name, int(bound)) if bound else is_true(device, name)


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


def seconds_within(device: Device, name: str, limit: str) -> str:
    value = read(device, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -(10**9) <= value <= 10**9:
        return UNKNOWN
    return HOLDS if abs(value) <= duration(limit).total_seconds() else FAILS


def list_is(device: Device, name: str, good: Callable[[set[str]], bool]) -> str:
    value = read(device, name)
    if not isinstance(value, list) or not all(isinstance(one, str) and 1 <= len(one) <= 200 for one in value):
        return UNKNOWN
    return HOLDS if good(set(value)) else FAILS


def ahead(device: Device, name: str, margin: str, now: datetime) -> str:
    value = read(device, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 4 * 10**9:
        return UNKNOWN
    return HOLDS if now < datetime.fromtimestamp(value, UTC) - duration(margin) else FAILS


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
