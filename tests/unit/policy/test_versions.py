"""Versions are ordered as Debian orders them; requirements and durations are read strictly."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from gateway.policy import durations
from gateway.policy.versions import Scheme, key, requirement, scheme_of


@pytest.mark.parametrize(
    "ascending",
    [
        ["1", "2", "9", "10", "11", "100"],
        ["1.9", "1.10", "1.10.1", "2"],
        ["22.04", "22.10", "24.04"],
        ["2.0~beta1", "2.0~rc1", "2.0", "2.0.1"],
        ["1.0", "1.0a", "1.0b", "1.0+b1"],
        ["1.2-1", "1.2-2", "1.2-10"],
        ["9.9", "1:0.1", "2:0.0.1"],
        ["10.0.19045", "10.0.22631", "10.0.22631.4317"],
    ],
)
def test_versions_ascend(ascending: list[str]) -> None:
    for lower, higher in pairwise(ascending):
        assert key(lower) < key(higher), (lower, higher)


@pytest.mark.parametrize(
    ("one", "other"), [("12", "12.0"), ("12", "12.0.0"), ("1.02", "1.2"), ("3", "0:3"), ("3", "3-0")]
)
def test_versions_that_mean_the_same_are_equal(one: str, other: str) -> None:
    assert key(one) == key(other)


@pytest.mark.parametrize(
    "text", ["", "sid", "v1", " 1", "1 ", "1\n", "1/2", "①", "1" * 80, "-1", "~1", ":1", "1:", "١"]
)
def test_what_does_not_begin_with_a_digit_or_is_otherwise_odd_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        key(text)


@pytest.mark.parametrize(
    ("required", "met", "unmet"),
    [
        ("12", ["12", "12.0", "12.5", "13"], ["11", "11.99"]),
        (">= 2.4, < 3", ["2.4", "2.99"], ["2.3", "3", "3.0", "10"]),
        (">2,!=2.5", ["2.1", "2.6"], ["2", "2.0", "2.5", "2.5.0"]),
        ("== 1.0", ["1", "1.0"], ["1.0.1", "0.9"]),
        ("<= 4", ["4", "3.9"], ["4.1"]),
        ("< 4", ["3.9", "4~rc1"], ["4"]),
    ],
)
def test_a_requirement_is_met_by_what_satisfies_every_bound(required: str, met: list[str], unmet: list[str]) -> None:
    assert [version for version in met if not requirement(required).met_by(version)] == []
    assert [version for version in unmet if requirement(required).met_by(version)] == []


@pytest.mark.parametrize(
    "text", [12, 12.5, None, True, "", "sid", "=> 1", "> ", "1,2", ">= 1,", "1; 2", "~= 1", "x" * 300]
)
def test_what_is_no_requirement_is_refused_with_what_is_allowed(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a version requirement; allowed is a version in quotes"):
        requirement(text)


def test_a_requirement_is_shown_the_same_however_it_was_spaced() -> None:
    assert requirement(">=2.4,<3") == requirement("  >= 2.4 ,  < 3 ")
    assert requirement("12").text == ">= 12"


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("60s", 60), ("30m", 1800), ("12h", 43200), ("3650d", 315360000)]
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert durations.parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "3", "d", "3 d", "3D", "-3d", "1.5h", "3d\n", "3w", "٣d", 3, None, True])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; allowed is a whole number with s, m, h or d"):
        durations.parse(text)


@pytest.mark.parametrize("text", ["3651d", "999999999s", "999999999d"])
def test_durations_that_would_outlast_everything_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the longest duration is 3650d"):
        durations.parse(text)


@pytest.mark.parametrize("text", ["0d", "45s", "90s", "5m", "36h", "3d"])
def test_durations_are_shown_with_the_largest_unit_that_keeps_them_whole(text: str) -> None:
    shown = durations.show(durations.parse(text))
    assert durations.parse(shown) == durations.parse(text)
    assert shown == text


RECORDED = {
    # lower, higher: as `dpkg --compare-versions` of dpkg 1.21 says
    Scheme.DPKG: [
        ("1.0~rc1-1", "1.0-1"), ("1.0-1", "1.0-1+b1"), ("1.0-1", "1.0-2"), ("1.0", "1.0.0"), ("9.9", "1:0.1"), ("1.0-1", "1.0-10"),
        ("1.0a", "1.0+b"), ("1.0", "1.0-1"), ("1.0~~", "1.0~"),
    ],
    # as rpm.vercmp of rpm 4.18 says
    Scheme.RPM: [
        ("1.0~rc1", "1.0"), ("1.0", "1.0^git1"), ("1.0^git1", "1.0.1"), ("1.0a", "1.0.1"), ("1.0-1.el9", "1.0-1.el9_1"),
        ("9", "1:0"), ("1.0-9.fc41", "1.0-10.fc40"), ("1.0.a", "1.0.1"), ("1.0^", "1.0.0"),
    ],
    Scheme.UNAME: [
        ("6.1.0-27-amd64", "6.1.0-28-amd64"), ("6.1.0-28-amd64", "6.1.10-1-amd64"), ("6.8.0-9-generic", "6.8.0-51-generic"), ("23.6.0", "24.1.0"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("scheme", "lower", "higher"), [(s, *pair) for s, pairs in RECORDED.items() for pair in pairs])
def test_packages_are_ordered_as_their_own_tools_order_them(scheme: Scheme, lower: str, higher: str) -> None:
    assert key(lower, scheme) < key(higher, scheme)


@pytest.mark.parametrize(
    ("scheme", "one", "other"),
    [(Scheme.DPKG, "1.0", "1.0-0"), (Scheme.DPKG, "0:1.0", "1.0"), (Scheme.RPM, "1.0", "1.0."), (Scheme.RPM, "1_0", "1.0"), (Scheme.RPM, "01.0", "1.0")],
)  # fmt: skip
def test_what_their_tools_call_equal_is_equal(scheme: Scheme, one: str, other: str) -> None:
    assert key(one, scheme) == key(other, scheme)


def test_a_distribution_names_the_rules_of_its_packages() -> None:
    assert [scheme_of(name) for name in ("debian", "ubuntu", "fedora", "rhel", "opensuse-leap", "arch", None)] == [
        Scheme.DPKG, Scheme.DPKG, Scheme.RPM, Scheme.RPM, Scheme.RPM, Scheme.DOTTED, Scheme.DOTTED,
    ]  # fmt: skip


def test_a_bound_without_a_release_is_about_the_version_of_an_rpm_alone() -> None:
    assert requirement("== 5.14.0").met_by("5.14.0-362.8.1.el9_3", Scheme.RPM)
    assert requirement(">= 5.14.0-362").met_by("5.14.0-362.8.1.el9_3", Scheme.RPM)
    assert not requirement(">= 5.14.0-400").met_by("5.14.0-362.8.1.el9_3", Scheme.RPM)
