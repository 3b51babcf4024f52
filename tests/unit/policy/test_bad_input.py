"""Whatever the bytes are, a policy is refused as a list of problems with their places, and never in part."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from gateway.errors import PolicyError, Problem
from gateway.policy.load import load_policy, loads
from gateway.policy.source import MAX_BYTES, MAX_DEPTH, MAX_NODES
from tests.unit.policy.laptop import POLICY


def problems(raw: bytes | str) -> list[Problem]:
    with pytest.raises(PolicyError) as caught:
        loads(raw, "bad.yaml")
    assert all(problem.line > 0 and problem.column > 0 and problem.text for problem in caught.value.problems)
    return list(caught.value.problems)


def told(raw: bytes | str) -> str:
    return "\n".join(map(str, problems(raw)))


def test_a_yaml_bomb_never_unfolds() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    assert told(bomb) == "bad.yaml:1:4: has an anchor; allowed is to write it out"


def test_an_alias_is_refused_even_without_an_anchor() -> None:
    assert "is an alias" in told("policy: *p\n") or "undefined alias" in told("policy: *p\n")


def test_a_merge_key_is_a_key_that_does_not_exist() -> None:
    assert "<<: is not a key" in told("<<: {policy: p}\n" + POLICY)


def test_a_key_that_is_said_twice_is_refused_at_its_second_place() -> None:
    assert "repeats the key 'firewall' of line" in told(
        POLICY + "  firewall: {check: firewall, enabled: true, warn: true}\n"
    )


def test_a_tab_is_pointed_at() -> None:
    found = problems("checks:\n\tfw: {}\n")
    assert (found[0].line, found[0].column, found[0].text) == (2, 1, "is indented with a tab; allowed are spaces")


def test_a_file_of_fifty_megabytes_is_not_even_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as stream:
        stream.truncate(50_000_000)
    with pytest.raises(PolicyError, match=f"has {MAX_BYTES + 1} bytes or more; allowed are {MAX_BYTES}"):
        load_policy(huge)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("f\u0456nance", "mixes letters of CYRILLIC and LATIN"), ("fin\u03b1nce", "mixes letters of GREEK and LATIN"),
        ("\uff46inance", "only looks like others"), ("\ufb01nance", "only looks like others"),
        ("fina\u0301nce", "(NFC)"), ("fin\u200bance", "invisible character U+200B"), ("fin\u202eance", "invisible character U+202E"),
    ],
)  # fmt: skip
def test_a_look_alike_in_the_name_of_a_group_is_refused(name: str, part: str) -> None:
    assert part in told(POLICY.replace("[finance]", f"['{name}']"))


@pytest.mark.parametrize("name", ["buchführung", "финансы", "οικονομικά", "财务", "R&D", "日本-finance"])
def test_a_group_may_be_called_what_it_is_called_in_its_own_language(name: str) -> None:
    assert loads(POLICY.replace("[finance]", f"['{name}']"), "good.yaml").access[1].groups == [name]


@pytest.mark.parametrize("name", ["wik\u0456", "Wiki", "wiki ", "-wiki", "w" * 64, "wiki\u00a0"])
def test_a_look_alike_in_the_name_of_a_resource_is_no_name(name: str) -> None:
    assert "is not a name" in told(POLICY.replace("  wiki: ", f"  '{name}': "))


@pytest.mark.parametrize("number", ["1e999", "9" * 400, "-" + "9" * 17, "1" * 5000])
def test_a_number_that_is_too_large_is_refused(number: str) -> None:
    found = told(POLICY.replace("security_pending: 0", f"security_pending: {number}"))
    assert "too large a number" in found or "characters; allowed are" in found


def test_a_number_of_the_wrong_kind_is_refused() -> None:
    for number in ("0.5", "-1", "1000000001", ".nan", "'0'", "true"):
        assert "security_pending" in told(POLICY.replace("security_pending: 0", f"security_pending: {number}")), number


def test_what_is_nested_too_deep_or_has_too_many_members_is_refused() -> None:
    assert f"is nested deeper than {MAX_DEPTH} levels" in told("[" * 10_000)
    assert f"holds more than {MAX_NODES} keys and values" in told("- 1\n" * (MAX_NODES + 1))


CORPUS = [
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"---", b"...", b"--- a\n--- b", b"{", b"}", b"[", b"]", b":", b"? ", b"? a", b"- - -", b"!",
    b"!!python/object/apply:os.system ['true']", b"%YAML 9.9\n---\n", b"%TAG ! x", b"&", b"*", b"|", b">", b"'", b'"', b'"\\x', b"@", b"`",
    b"a: b: c", b"a:\n- b\n c", b"\r", b"\r\n\r\n", b"# only a comment", b"null", b"~", b"true", b"1", b"- policy", b"policy", b"policy:",
    b"policy: []", b"tiers: [a]", b"tiers: {}", b"checks: []", b"checks: {a: }", b"checks: {a: []}", b"checks: {a: {check: []}}", b"access: {}",
    b"access: [1]", b"resources: {a: 1}", b"include: x", b"include: [1, {}]", b"windows: {a: {zone: 1}}", b"networks: {a: {}}", b"deny: [[]]",
    b"limits: [{}]", b"session: []", b"signals: 1", b"checks: {a: {check: expr, expr: 1, otherwise: b}}", b"checks: {a: {check: not, of: []}}",
    b"checks: {a: {check: any-of, of: {}}}", b"checks: {a: {check: custom, name: 1, sha256: x}}", b"\xf0\x9f\x92\xa9: \xf0\x9f\x92\xa9",
    b"checks: {a: {check: machine, hostname: '(', otherwise: b}}", b"a" * 5000, b"a: " * 500, b"'" * 999, b"\x85\x85: 1", "\u2028: 1".encode(),
]  # fmt: skip


@pytest.mark.parametrize("raw", CORPUS, ids=range(len(CORPUS)))
def test_every_entry_of_the_corpus_is_a_list_of_problems(raw: bytes) -> None:
    assert problems(raw)


def test_a_sound_policy_that_was_damaged_anywhere_is_a_policy_or_a_list_of_problems() -> None:
    chance = random.Random(1)
    for _ in range(400):
        raw = bytearray(POLICY.encode())
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(raw))
            raw[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        with contextlib.suppress(PolicyError):
            loads(bytes(raw), "bad.yaml")


def test_one_bad_file_among_good_ones_leaves_no_policy_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POLICY)
    (tmp_path / "b.yaml").write_bytes(b"limits: [")
    with pytest.raises(PolicyError):
        load_policy(tmp_path)


def test_all_problems_are_told_at_once_each_with_its_place_and_its_line() -> None:
    bad = (
        POLICY.replace("tcp/443]", "tcp/99999]")
        .replace("tier: full", "tier: ful")
        .replace("3d, otherwise", "3 days, otherwise")
    )
    found = problems(bad)
    assert len(found) >= 3
    for problem in found:
        assert problem.source == bad.splitlines()[problem.line - 1]
