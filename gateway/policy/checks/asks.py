"""The questions that are asked of facts: flags, counts, versions, ages, texts, lists of texts, hashes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from agent.wire import Fact
from gateway.policy import durations
from gateway.policy.checks.ask import ALWAYS, Ask, AskOfValue, Screen, Test, unsure
from gateway.policy.checks.examination import CLOCK_SKEW, Examination
from gateway.policy.checks.values import is_certificates, is_map, is_seconds, is_text, is_texts, is_time
from gateway.policy.model import Posture
from gateway.policy.patterns import Pattern
from gateway.policy.versions import Requirement, scheme_of_kernel

MOST_KNOWN = 256
"""Versions that are remembered of one requirement."""
MOST_SHOWN = 5
"""Of a device's own list: enough to know what is meant."""


@dataclass(frozen=True, slots=True)
class Flag(AskOfValue):
    """The fact is `good`. `wrong` says what it means when it is not."""

    wrong: str
    good: bool = True

    def look(self, look: Examination, _key: str, _wanted: Any) -> None:
        if look.flag(self.fact) is (not self.good):
            look.fail(self.wrong)

    def test(self, _wanted: Any) -> Test:
        return _is_true if self.good else _is_false


@dataclass(frozen=True, slots=True)
class AtMost(AskOfValue):
    """A count. `wrong` tells `{found}` and `{limit}`; the fix may use the count under the name of the key."""

    wrong: str

    def look(self, look: Examination, key: str, wanted: int) -> None:
        found = look.count(self.fact)
        if found is None:
            return
        look.values[key] = str(found)
        if found > wanted:
            look.fail(self.wrong.format(found=found, limit=wanted))

    def test(self, wanted: int) -> Test:
        return lambda value: type(value) is int and 0 <= value <= wanted


@dataclass(frozen=True, slots=True)
class Within(AskOfValue):
    """A span of seconds that is no longer than wanted, in either direction."""

    wrong: str

    def look(self, look: Examination, _key: str, wanted: timedelta) -> None:
        found = look.seconds(self.fact)
        if found is not None and abs(found) > wanted.total_seconds():
            look.fail(f"{self.wrong.format(found=round(abs(found)))}, and {durations.show(wanted)} is the most allowed")

    def test(self, wanted: timedelta) -> Test:
        most = wanted.total_seconds()
        return lambda value: is_seconds(value) and abs(value) <= most


@dataclass(frozen=True, slots=True)
class Younger(Ask):
    """An instant that lies less than wanted in the past. `what` begins the reason: "the signatures were made"."""

    what: str

    def look(self, look: Examination, _key: str, wanted: timedelta) -> None:
        look.younger(self.what, look.moment(self.fact), wanted)

    def screen(self, wanted: timedelta) -> Screen:
        name, at_second = self.fact, datetime.fromtimestamp

        def screen(facts: Mapping[str, Fact], now: datetime, _posture: Posture) -> datetime | None:
            fact = facts.get(name)
            if fact is None or fact.absent is not None or not is_time(fact.value):
                return None
            at = at_second(fact.value, UTC)
            end = at + wanted
            return end if now < end and at <= now + CLOCK_SKEW else None

        return screen


@dataclass(frozen=True, slots=True)
class Ahead(Ask):
    """An instant that lies more than wanted in the future."""

    what: str

    def look(self, look: Examination, _key: str, wanted: timedelta) -> None:
        look.ahead(self.what, look.moment(self.fact), wanted)

    def screen(self, wanted: timedelta) -> Screen:
        name, at_second = self.fact, datetime.fromtimestamp

        def screen(facts: Mapping[str, Fact], now: datetime, _posture: Posture) -> datetime | None:
            fact = facts.get(name)
            if fact is None or fact.absent is not None or not is_time(fact.value):
                return None
            end = at_second(fact.value, UTC) - wanted
            return end if now < end else None

        return screen


@dataclass(frozen=True, slots=True)
class OneOf(AskOfValue):
    """A text that is one of those wanted."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Collection[str]) -> None:
        found = look.text(self.fact)
        if found is not None and found not in wanted:
            look.fail(f"{self.what} is {found}, and only {', '.join(sorted(wanted))} are accepted")

    def test(self, wanted: Collection[str]) -> Test:
        return frozenset(wanted).__contains__  # they are sound texts, and nothing else is equal to one


@dataclass(frozen=True, slots=True)
class Matches(AskOfValue):
    """A text that a regular expression describes as a whole."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Pattern) -> None:
        found = look.text(self.fact)
        if found is not None and not wanted.matches(found):
            look.fail(f"{self.what} is {found}, which does not match {wanted.text}")

    def test(self, wanted: Pattern) -> Test:
        return lambda value: is_text(value) and wanted.matches(value)


@dataclass(frozen=True, slots=True)
class Version(Ask):
    """A version, ordered as versions in general are."""

    what: str

    def look(self, look: Examination, key: str, wanted: Requirement) -> None:
        look.values[key] = wanted.text
        look.version(self.fact, wanted, self.what)

    def screen(self, wanted: Requirement) -> Screen:
        name, meets = self.fact, met(wanted)

        def screen(facts: Mapping[str, Fact], _now: datetime, _posture: Posture) -> datetime | None:
            fact = facts.get(name)
            return ALWAYS if fact is not None and fact.absent is None and meets(fact.value) else None

        return screen


@dataclass(frozen=True, slots=True)
class KernelVersion(Ask):
    """A kernel's version, ordered by the rules of its distribution."""

    what: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.fact, "os.distribution")

    def look(self, look: Examination, key: str, wanted: Requirement) -> None:
        look.values[key] = wanted.text
        distribution = look.text("os.distribution")
        if distribution is not None:
            look.version(self.fact, wanted, self.what, scheme_of_kernel(distribution))

    def screen(self, wanted: Requirement) -> Screen:
        name = self.fact

        def screen(facts: Mapping[str, Fact], _now: datetime, _posture: Posture) -> datetime | None:
            fact, distribution = facts.get(name), facts.get("os.distribution")
            if fact is None or fact.absent is not None or not is_text(fact.value):
                return None
            if distribution is None or distribution.absent is not None or not is_text(distribution.value):
                return None
            return ALWAYS if wanted.surely_met_by(fact.value, scheme_of_kernel(distribution.value)) else None

        return screen


@dataclass(frozen=True, slots=True)
class Only(AskOfValue):
    """A list without anything that is not wanted."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Collection[str]) -> None:
        found = look.texts(self.fact)
        if found is not None and (extra := set(found) - set(wanted)):
            accepted = ", ".join(sorted(wanted)) or "none"
            look.fail(f"{self.what} are {listed(extra)}, and only {accepted} are accepted")

    def test(self, wanted: Collection[str]) -> Test:
        accepted = frozenset(wanted)
        return lambda value: is_texts(value) and accepted.issuperset(value)


@dataclass(frozen=True, slots=True)
class Includes(AskOfValue):
    """A list with everything that is wanted."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Collection[str]) -> None:
        found = look.texts(self.fact)
        if found is not None and (lacking := set(wanted) - set(found)):
            look.fail(f"{self.what}: {listed(lacking)}")

    def test(self, wanted: Collection[str]) -> Test:
        return lambda value: is_texts(value) and set(wanted).issubset(value)


@dataclass(frozen=True, slots=True)
class Excludes(AskOfValue):
    """A list without anything of what is named."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Collection[str]) -> None:
        found = look.texts(self.fact)
        if found is not None and (present := set(wanted) & set(found)):
            look.fail(f"{self.what}: {listed(present)}")

    def test(self, wanted: Collection[str]) -> Test:
        return lambda value: is_texts(value) and set(wanted).isdisjoint(value)


@dataclass(frozen=True, slots=True)
class Empty(AskOfValue):
    """A list of what is wrong."""

    what: str

    def look(self, look: Examination, _key: str, _wanted: Any) -> None:
        found = look.texts(self.fact)
        if found:
            look.fail(f"{self.what}: {listed(found)}")

    def test(self, _wanted: Any) -> Test:
        return lambda value: type(value) is list and not value


@dataclass(frozen=True, slots=True)
class NoneMatches(AskOfValue):
    """A list of which no member is described by the regular expression."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Pattern) -> None:
        found = look.texts(self.fact)
        if found is not None and (matching := [text for text in found if wanted.matches(text)]):
            look.fail(f"{self.what}: {listed(matching)}")

    def test(self, wanted: Pattern) -> Test:
        return lambda value: is_texts(value) and not wanted.matches_any(value)


@dataclass(frozen=True, slots=True)
class SomeMatches(AskOfValue):
    """A list of which one member at least is described by the regular expression."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Pattern) -> None:
        found = look.texts(self.fact)
        if found is not None and not wanted.matches_any(found):
            look.fail(f"{self.what} {wanted.text}")

    def test(self, wanted: Pattern) -> Test:
        return lambda value: is_texts(value) and wanted.matches_any(value)


@dataclass(frozen=True, slots=True)
class Hashes(AskOfValue):
    """A mapping whose members are among those that are wanted of each. What is not there was not reported."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Mapping[str, Collection[str]]) -> None:
        found = look.map(self.fact)
        for name in sorted(wanted) if found is not None else ():
            assert found is not None
            if name not in found:
                look.doubt(f"{self.what} {name} was not reported")
            elif found[name] not in wanted[name]:
                look.fail(f"{self.what} {name} is {found[name]}, which is not accepted")

    def test(self, wanted: Mapping[str, Collection[str]]) -> Test:
        return lambda value: is_map(value) and all(value.get(name) in accepted for name, accepted in wanted.items())


@dataclass(frozen=True, slots=True)
class Certified(Ask):
    """A certificate of one of the issuers that are wanted, which is valid now."""

    def look(self, look: Examination, _key: str, wanted: Collection[str]) -> None:
        found = look.certificates(self.fact)
        if found is not None:
            issued = [one for one in found if one["issuer"] in wanted]
            spans = [(instant(one["not_before"]), instant(one["not_after"])) for one in issued]
            look.valid(f"no certificate from {' or '.join(sorted(wanted))} is valid", spans)

    def screen(self, _wanted: Collection[str]) -> Screen:
        return unsure


@dataclass(frozen=True, slots=True)
class Fingerprints(AskOfValue):
    """A list of certificates without any whose SHA-256 is not wanted."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Collection[str]) -> None:
        found = look.certificates(self.fact)
        if found is not None and (extra := [one["subject"] for one in found if one["sha256"] not in wanted]):
            look.fail(f"{self.what}: {listed(extra)}")

    def test(self, wanted: Collection[str]) -> Test:
        return lambda value: is_certificates(value) and all(one["sha256"] in wanted for one in value)


@dataclass(frozen=True, slots=True)
class InNetworks(AskOfValue):
    """An address within one of the networks."""

    what: str

    def look(self, look: Examination, _key: str, wanted: Collection[str]) -> None:
        found = look.text(self.fact)
        if found is None:
            return
        inside = _inside(found, wanted)
        if inside is None:
            look.doubt(f"{self.what} is {found}, which is not an address")
        elif not inside:
            look.fail(f"{self.what} is {found}, and only {', '.join(sorted(wanted))} are accepted")

    def test(self, wanted: Collection[str]) -> Test:
        return lambda value: is_text(value) and _inside(value, wanted) is True


def listed(texts: Iterable[str]) -> str:
    """Show what a device listed, sorted and in part."""
    names = sorted(set(texts))
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"{', '.join(names[:MOST_SHOWN])}{more}"


def met(wanted: Requirement) -> Test:
    """Make what says whether a version meets the requirement. A fleet has few versions: those that do are remembered."""
    known: set[Any] = set()

    def meets(value: Any) -> bool:
        if value in known:
            return True
        if not is_text(value) or not wanted.surely_met_by(value):
            return False
        if len(known) < MOST_KNOWN:
            known.add(value)
        return True

    return meets


def instant(value: float) -> datetime:
    return datetime.fromtimestamp(value, UTC)


def _inside(text: str, networks: Collection[str]) -> bool | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return any(address in network for network in map(ip_network, networks) if network.version == address.version)


def _is_true(value: Any) -> bool:
    return value is True


def _is_false(value: Any) -> bool:
    return value is False
