"""For all policies and postures: nothing but PolicyError comes out of bytes, and less health, fewer grants or more checks never give more."""

from __future__ import annotations

import copy
import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from agent.wire import Fact
from gateway.errors import PolicyError, Problem
from gateway.packet.permits import Permit
from gateway.policy.checks.examination import CLOCK_SKEW
from gateway.policy.engine import decide
from gateway.policy.load import load_policy, loads
from gateway.policy.model import Decision, Posture, Subject
from gateway.policy.policy import Policy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIERS = ["full", "limited", "quarantine", "denied"]
RESOURCES = ["wiki", "payroll", "remediation"]
GROUPS = ["everyone", "staff", "finance"]
DURATIONS = ["1m", "10m", "1h", "1d", "3d"]

# --- policies ---

KINDS: Mapping[str, Mapping[str, st.SearchStrategy[Any]]] = {
    "firewall": {"enabled": st.just(True), "products": st.just(["ufw"])},
    "antivirus": {"running": st.just(True), "signatures_max_age": st.sampled_from(DURATIONS)},
    "disk-encryption": {"root": st.just(True), "home": st.just(True)},
    "patches": {"security_pending": st.integers(0, 3), "lists_max_age": st.sampled_from(DURATIONS)},
}
NEEDED: Mapping[str, Mapping[str, st.SearchStrategy[Any]]] = {
    "os-version": {"minimum": st.sampled_from([{"debian": "12"}, {"debian": ">= 11, < 13", "darwin": "14"}])},
    "report-age": {"max_age": st.sampled_from(DURATIONS)},
    "agent-version": {"minimum": st.sampled_from(["0.1", "1"])},
}


def kept(asked: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict(asked)).filter(bool)


LEAF = st.one_of(
    *(kept(asked).map(lambda keys, kind=kind: {"check": kind, **keys}) for kind, asked in KINDS.items()),
    *(st.fixed_dictionaries({"check": st.just(kind), **asked}) for kind, asked in NEEDED.items()),
)


def several(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    of = st.lists(inner, min_size=1, max_size=3)
    return st.builds(lambda kind, parts: {"check": kind, "of": parts}, st.sampled_from(["any-of", "all-of"]), of)


def contrary(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return inner.map(lambda part: {"check": "not", "of": part})


ASKED = st.one_of(LEAF, several(st.one_of(LEAF, several(LEAF))))
CONTRARY = st.one_of(ASKED, contrary(ASKED), several(st.one_of(LEAF, contrary(LEAF))))
"""With `not`, for which a worse posture may be the better one; only less knowledge never is."""
OWNED = {"owner": st.just("it"), "link": st.just("https://wiki.example.com/why")}
LEADS = st.one_of(
    st.just({"warn": True}),
    st.fixed_dictionaries({"otherwise": st.sampled_from(TIERS[1:])}, optional={"grace": st.sampled_from(DURATIONS)}),
    st.fixed_dictionaries({"otherwise": st.sampled_from(TIERS[1:]), "severity": st.just("explicit")}, optional=OWNED),
)
CONCERN = st.fixed_dictionaries(
    {},
    optional={
        "platforms": st.lists(st.sampled_from(["linux", "darwin", "windows"]), min_size=1, max_size=2),
        "groups": st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2),
        "devices": st.lists(st.sampled_from(["a" * 43, "b" * 43]), min_size=1, max_size=2),
    },
)
CHECK = st.builds(lambda asked, leads, concern: asked | leads | concern, ASKED, LEADS, CONCERN)
ANY_CHECK = st.builds(lambda asked, leads, concern: asked | leads | concern, CONTRARY, LEADS, CONCERN)
PORT = st.integers(1, 65535)
PORTS = st.one_of(
    st.sampled_from(["tcp", "udp", "icmp", "icmpv6"]),
    st.builds("{}/{}".format, st.sampled_from(["tcp", "udp"]), PORT),
    st.builds(lambda a, b: f"udp/{min(a, b)}-{max(a, b)}", PORT, PORT),
)
NETWORK = st.one_of(
    st.builds("10.{}.{}.0/24".format, st.integers(0, 3), st.integers(0, 255)),
    st.ip_addresses(v=4, network="10.0.0.0/8").map(str),
    st.ip_addresses(v=6).map("{}/128".format),
)
RESOURCE = st.fixed_dictionaries(
    {"destinations": st.lists(NETWORK, min_size=1, max_size=3)},
    optional={"ports": st.lists(PORTS, min_size=1, max_size=2)},
)
GRANT = st.fixed_dictionaries(
    {
        "groups": st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2),
        "tier": st.sampled_from(TIERS[:-1]),
        "resources": st.lists(st.sampled_from(RESOURCES), min_size=1, max_size=3),
    }
)
LIMIT = st.builds(lambda n, g: {"groups": [g], "rate": f"{n}Mbit"}, st.integers(1, 9), st.sampled_from(GROUPS))


def documents(check: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw whole policies. JSON is YAML, so they are written as JSON."""
    return st.fixed_dictionaries(
        {
            "policy": st.just("drawn"),
            "tiers": st.just(list(TIERS)),
            "resources": st.fixed_dictionaries(dict.fromkeys(RESOURCES, RESOURCE)),
            "access": st.lists(GRANT, max_size=5),
            "checks": st.dictionaries(st.sampled_from("abcdefg"), check, min_size=1, max_size=5),
        },
        optional={
            "session": st.fixed_dictionaries({"without_report": st.sampled_from(TIERS[1:])}),
            "limits": st.lists(LIMIT, max_size=3),
        },
    )


DOCUMENT, ANY_DOCUMENT = documents(CHECK), documents(ANY_CHECK)


def policy(document: Mapping[str, Any]) -> Policy:
    return loads(json.dumps(document, ensure_ascii=False), "drawn.yaml")


# --- postures ---

AGE = st.timedeltas(-CLOCK_SKEW - timedelta(hours=1), timedelta(days=5))
MOMENT = AGE.map(lambda age: (NOW - age).timestamp())
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "os.family": st.sampled_from(["linux", "darwin", "windows", "plan9"]),
    "os.distribution": st.sampled_from(["debian", "arch"]),
    "os.version": st.sampled_from(["11", "12", "13", "14.1", "rolling"]),
    "agent.version": st.sampled_from(["0.0.9", "0.1", "2"]),
    "patches.security_pending": st.integers(0, 5),
    "patches.lists_updated_at": MOMENT,
    "antivirus.running": st.booleans(),
    "antivirus.signatures_at": MOMENT,
    "firewall.enabled": st.booleans(),
    "firewall.product": st.sampled_from(["ufw", "pf"]),
    "disk.root_encrypted": st.booleans(),
    "disk.home_encrypted": st.booleans(),
}
JUNK = st.one_of(st.none(), st.text(max_size=3), st.integers(), st.floats(), st.lists(st.booleans(), max_size=2))
GONE = object()


def facts(values: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Fact]]:
    said = st.fixed_dictionaries({}, optional=dict(values))
    return said.map(lambda drawn: {name: Fact(value, "drawn", NOW.timestamp()) for name, value in drawn.items()})


REPORTED = st.timedeltas(timedelta(minutes=-20), timedelta(minutes=20)).map(lambda age: NOW - age)
POSTURE = st.builds(lambda read, at: Posture(read, at, at), facts(VALUES), REPORTED)
WILD = st.builds(lambda read, at: Posture(read, at, at), facts(dict.fromkeys(VALUES, JUNK)), REPORTED)
SUBJECT = st.sets(st.sampled_from(["staff", "finance"])).map(
    lambda groups: Subject("alice", frozenset(groups), "a" * 43)
)
SINCE = st.dictionaries(
    st.sampled_from("abcdefg"), st.timedeltas(timedelta(hours=-1), timedelta(days=4)).map(lambda age: NOW - age)
)


def spoiled(posture: Posture, draw: st.DrawFn) -> Posture:
    """Make some facts worse, as every check sees it: gone, unreadable, of the wrong type, or plainly bad."""
    bad = {
        "patches.security_pending": 9,
        **dict.fromkeys([name for name in VALUES if name.endswith(("running", "enabled", "encrypted"))], False),
        **dict.fromkeys([name for name in VALUES if name.endswith("_at")], (NOW - timedelta(days=400)).timestamp()),
        **dict.fromkeys(["os.version", "agent.version"], "0.0.0~a"),
        **dict.fromkeys(["os.distribution", "firewall.product"], "unheard-of"),
    }
    read: dict[str, Fact] = dict(posture.facts)
    for name in draw(st.sets(st.sampled_from(sorted(VALUES)))):
        worse = draw(
            st.sampled_from([GONE, Fact(None, "drawn", 0.0, absent="no"), Fact([], "drawn", 0.0), bad.get(name, GONE)])
        )
        if worse is GONE:
            read.pop(name, None)
        else:
            read[name] = worse if isinstance(worse, Fact) else Fact(worse, "drawn", 0.0)
    return Posture(read, posture.observed_at, posture.received_at)


def rank(decision: Decision) -> int:
    return TIERS.index(decision.tier)


# --- bytes ---

SNIPPETS = [
    b"policy: p\n", b"tiers: [a, b]\n", b"checks:\n", b"  fw: {check: firewall, enabled: true, warn: true}\n", b"resources:\n",
    b"  r: {destinations: [::1/128], ports: [tcp/1]}\n", b"access:\n", b"- {groups: [everyone], tier: a, resources: [r]}\n",
    b"session: {lease: 60s}\n", b"limits:\n", b"fix:", b"&a ", b"*a", b"!!str ", b"<<: ", b"? ", b": ", b"- ", b"{", b"}",
    b"[", b"]", b",", b"|\n", b">-\n", b"%YAML 9.9\n", b"%TAG ! x\n", b"---\n", b"...\n", b"'", b'"', b"\\x", b"#", b"\t", b"\n",
    b" ", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"1e999", b"99999999999999999999", b"-0", b".inf", b"~", b"null",
    b"true", b"10.0.0.0/8", b"3d", b"@", b"`", b"\xf0\x9f\x94\x92",
]  # fmt: skip


def problems(text: str | bytes) -> Sequence[Problem]:
    """What is wrong with it; nothing, when it is a policy. Whatever else is raised is a failure."""
    try:
        assert loads(text, "p.yaml").checks
    except PolicyError as error:
        return error.problems or [Problem("refused without a reason", 0, 0, "")]
    return []


@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(SNIPPETS), max_size=30).map(b"".join)))
@example(b"")
@settings(max_examples=600, deadline=None)
def test_any_bytes_are_a_policy_or_a_policy_error_with_places(raw: bytes) -> None:
    lines = raw.count(b"\n") + 2
    assert all(0 < problem.line <= lines and problem.column > 0 and problem.text for problem in problems(raw))


SPOIL = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from([*TIERS, "3d", "12"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


@given(ANY_DOCUMENT, st.randoms(use_true_random=False), SPOIL)
@settings(max_examples=250, deadline=None)
def test_a_policy_with_anything_anywhere_is_a_policy_or_a_policy_error(
    document: dict[str, Any], chance: random.Random, anything: Any
) -> None:
    document = copy.deepcopy(document)
    at: Any = document
    while True:
        key = chance.choice(sorted(at)) if isinstance(at, dict) else chance.randrange(len(at))
        if not isinstance(at[key], dict | list) or not at[key] or chance.random() < 0.3:
            at[key] = anything
            break
        at = at[key]
    assert all(problem.line == 1 and problem.text for problem in problems(json.dumps(document, ensure_ascii=False)))


@given(ANY_DOCUMENT, SUBJECT, st.one_of(st.none(), POSTURE, WILD), SINCE)
@settings(max_examples=250, deadline=None)
def test_every_policy_and_every_posture_come_to_a_decision_that_the_tunnel_understands(
    document: dict[str, Any], subject: Subject, posture: Posture | None, since: dict[str, datetime]
) -> None:
    sound = policy(document)
    decision = decide(sound, subject, posture, now=NOW, failing_since=since)
    assert decision.tier in sound.tiers
    assert [str(Permit.parse(permit)) for permit in decision.permits] == list(decision.permits)
    assert decision.valid_until is None or decision.valid_until > NOW
    assert set(decision.failing_since) <= {*sound.checks, "report"}
    assert all(at <= NOW for at in decision.failing_since.values())


# --- less never gives more ---


@given(st.data(), DOCUMENT, SUBJECT, POSTURE, SINCE)
@settings(max_examples=250, deadline=None)
def test_a_worse_posture_never_gives_a_better_tier_nor_another_permit(
    data: st.DataObject, document: dict[str, Any], subject: Subject, posture: Posture, since: dict[str, datetime]
) -> None:
    sound = policy(document)
    before = decide(sound, subject, posture, now=NOW, failing_since=since)
    worse = data.draw(st.composite(lambda draw: spoiled(posture, draw))())
    for after in (
        decide(sound, subject, worse, now=NOW, failing_since=since),
        decide(sound, subject, Posture({}, posture.observed_at, posture.received_at), now=NOW, failing_since=since),
    ):
        assert rank(after) >= rank(before)
        assert set(after.permits) <= set(before.permits)


@given(st.data(), ANY_DOCUMENT, SUBJECT, POSTURE, SINCE)
@settings(max_examples=250, deadline=None)
def test_to_say_less_never_gives_more_not_even_where_a_policy_asks_for_the_contrary(
    data: st.DataObject, document: dict[str, Any], subject: Subject, posture: Posture, since: dict[str, datetime]
) -> None:
    sound = policy(document)
    before = decide(sound, subject, posture, now=NOW, failing_since=since)
    hidden = data.draw(st.sets(st.sampled_from(sorted(VALUES))))
    junk = data.draw(st.sampled_from([None, Fact(None, "drawn", 0.0, absent="no"), Fact([], "drawn", 0.0)]))
    kept_facts = {name: fact for name, fact in posture.facts.items() if name not in hidden}
    less = kept_facts if junk is None else kept_facts | dict.fromkeys(hidden, junk)
    after = decide(
        sound, subject, Posture(less, posture.observed_at, posture.received_at), now=NOW, failing_since=since
    )
    assert rank(after) >= rank(before)
    assert set(after.permits) <= set(before.permits)


@given(ANY_DOCUMENT, st.dictionaries(st.sampled_from("xyz"), ANY_CHECK, min_size=1), SUBJECT, POSTURE, SINCE)
@settings(max_examples=250, deadline=None)
def test_another_check_never_gives_more(
    document: dict[str, Any], more: dict[str, Any], subject: Subject, posture: Posture, since: dict[str, datetime]
) -> None:
    before = decide(policy(document), subject, posture, now=NOW, failing_since=since)
    stricter = policy({**document, "checks": {**document["checks"], **more}})
    after = decide(stricter, subject, posture, now=NOW, failing_since=since)
    assert rank(after) >= rank(before)
    assert set(after.permits) <= set(before.permits)


@given(st.data(), ANY_DOCUMENT, SUBJECT, st.one_of(st.none(), POSTURE), SINCE)
@settings(max_examples=250, deadline=None)
def test_a_grant_less_never_gives_more_and_leaves_the_tier_alone(
    data: st.DataObject,
    document: dict[str, Any],
    subject: Subject,
    posture: Posture | None,
    since: dict[str, datetime],
) -> None:
    assume(document["access"])
    gone = data.draw(st.integers(0, len(document["access"]) - 1))
    fewer = {**document, "access": [grant for index, grant in enumerate(document["access"]) if index != gone]}
    before = decide(policy(document), subject, posture, now=NOW, failing_since=since)
    after = decide(policy(fewer), subject, posture, now=NOW, failing_since=since)
    assert after.tier == before.tier
    assert set(after.permits) <= set(before.permits)
    assert set(after.routes) <= set(before.routes)


@given(ANY_DOCUMENT, POSTURE, SINCE)
@settings(max_examples=150, deadline=None)
def test_fewer_groups_never_reach_more(document: dict[str, Any], posture: Posture, since: dict[str, datetime]) -> None:
    for check in document["checks"].values():
        check.pop("groups", None)  # who is in fewer groups may be concerned by fewer checks
    sound = policy(document)
    one, both = (Subject("alice", frozenset(groups), "x") for groups in (["staff"], ["staff", "finance"]))
    less, more = (decide(sound, who, posture, now=NOW, failing_since=since) for who in (one, both))
    assert set(less.permits) <= set(more.permits)


# --- order and time ---


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        members = [(name, member if name == "tiers" else shuffled(member, chance)) for name, member in value.items()]
        chance.shuffle(members)
        return dict(members)
    if isinstance(value, list):
        members = [shuffled(member, chance) for member in value]
        chance.shuffle(members)
        return members
    return value


def split(document: dict[str, Any], chance: random.Random) -> list[tuple[str, bytes]]:
    """Deal the parts of a policy out to three files with names in any order."""
    dealt: list[dict[str, Any]] = [{}, {}, {}]
    for section, content in document.items():
        if section in ("resources", "checks"):
            for name, part in content.items():
                chance.choice(dealt).setdefault(section, {})[name] = part
        elif section in ("access", "limits"):
            for part in content:
                chance.choice(dealt).setdefault(section, []).append(part)
        else:
            chance.choice(dealt)[section] = content
    names = chance.sample(["a.yaml", "b.yaml", "c.yaml"], 3)
    return [(name, json.dumps(part).encode()) for name, part in zip(names, dealt, strict=True) if part]


@given(ANY_DOCUMENT, st.randoms(use_true_random=False), SUBJECT, POSTURE)
@settings(max_examples=150, deadline=None)
def test_the_order_of_files_keys_and_lists_changes_nothing(
    document: dict[str, Any], chance: random.Random, subject: Subject, posture: Posture
) -> None:
    one = policy(document)
    with tempfile.TemporaryDirectory() as folder:
        for name, raw in split(shuffled(document, chance), chance):
            (Path(folder) / name).write_bytes(raw)
        other = load_policy(Path(folder))
    assert other.version == one.version
    assert decide(other, subject, posture, now=NOW) == decide(one, subject, posture, now=NOW)


def answer(decision: Decision) -> object:
    """What may not change before `valid_until`."""
    return (
        decision.tier,
        [(f.check, f.reason, f.tier, f.effective, f.since, f.grace_until, f.fix) for f in decision.findings],
        decision.permits,
        decision.routes,
        decision.rate,
        decision.failing_since,
    )


@given(ANY_DOCUMENT, SUBJECT, st.one_of(st.none(), POSTURE), SINCE, st.floats(0, 1, exclude_max=True))
@settings(max_examples=300, deadline=None)
def test_nothing_changes_by_itself_before_valid_until(
    document: dict[str, Any],
    subject: Subject,
    posture: Posture | None,
    since: dict[str, datetime],
    part: float,
) -> None:
    sound = policy(document)
    first = decide(sound, subject, posture, now=NOW, failing_since=since)
    until = first.valid_until or NOW + timedelta(days=30)
    later = NOW + (until - NOW) * part
    assume(later < until)
    for now in (later, until - timedelta(microseconds=1)):
        after = decide(sound, subject, posture, now=now, failing_since=first.failing_since)
        assert answer(after) == answer(first)
        assert after.valid_until is None or after.valid_until >= until
