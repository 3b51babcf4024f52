"""Every kind of check: what passes, what fails and why, what is missing, unreadable or of the wrong type, and every age."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from agent.catalogue import CATALOGUE, Kind
from agent.wire import Fact
from gateway.policy.checks import FACTS, KINDS, AnyCheck, Check, Outcome
from gateway.policy.checks.ask import ALWAYS
from gateway.policy.checks.examination import CLOCK_SKEW
from gateway.policy.checks.values import LATEST, MOST
from gateway.policy.model import Posture
from tests.unit.policy.laptop import CERTIFICATE, DAY, HEALTHY, MISSING, NOW, SECOND, SHA, posture, reported, unreadable

_CHECK: TypeAdapter[Check] = TypeAdapter(AnyCheck)

EXPR = "boot.tpm_present && antivirus.signatures_at > timestamp('2026-01-01T00:00:00Z') && screen.lock_delay < 600.0"
# Each asks for everything that its kind can ask for.
WHOLE: Mapping[str, Mapping[str, Any]] = {
    "administrators": {"only": ["alice", "it", "root"], "with_password": True},
    "agent-integrity": {"unchanged": True, "digests": [SHA]},
    "agent-version": {"minimum": "0.1"},
    "antivirus": {
        "running": True, "realtime": True, "signatures_max_age": "3d", "products": ["clamav", "defender"],
        "engine": ">= 1.4", "signatures": "27000",
    },
    "boot": {
        "secure_boot": True, "integrity_protection": True, "tpm": True, "tpm_version": "2", "firmware": ["uefi"],
        "lockdown": ["integrity", "confidentiality"],
    },
    "certificates": {"issued_by": ["CN=Example Devices"], "extra_roots": []},
    "custom": {"name": "profile", "sha256": [SHA], "equals": "office", "one_of": ["office", "home"], "matches": "off.*"},
    "disk-encryption": {"root": True, "home": True, "swap": True, "chain": ".*luks crypt.*"},
    "domain": {"joined": True, "kinds": ["freeipa"], "names": ["example.com"], "mdm_enrolled": True},
    "edr": {"running": True, "seen_max_age": "1d", "threats": 0, "products": ["falcon"]},
    "expr": {"expr": EXPR},
    "files": {"sha256": {"/etc/ssh/sshd_config": ["absent", SHA]}},
    "firewall": {"enabled": True, "input_policy": ["drop"], "products": ["ufw", "nftables"]},
    "machine": {
        "serials": ["PF12"], "uuids": ["0c0a-11"], "vendors": ["LENOVO"], "models": ["20XW"], "hostname": "laptop-[0-9]+",
        "virtual": ["none"], "container": ["none"], "started_max_age": "7d",
    },
    "mdm": {
        "enrolled": True, "compliant": True, "seen_max_age": "1d", "failing_only": [], "disk_encrypted": True,
        "os_minimum": "12", "products": ["fleet"],
    },
    "network": {
        "listening_only": ["tcp/22"], "not_listening": ["tcp/23"], "programs": {"tcp/22": ["/usr/sbin/sshd"]},
        "gateways": ["192.168.1.1"], "dns_servers": ["10.20.0.53"], "no_captive_portal": True,
    },
    "os-support": {"margin": "30d"},
    "os-version": {"minimum": {"debian": "12", "ubuntu": "22.04", "darwin": "14", "windows": ">= 10.0, < 12"}},
    "patches": {
        "security_pending": 0, "pending": 10, "lists_max_age": "7d", "installed_max_age": "30d", "restarted": True,
        "services_restarted": True, "automatic": True,
    },
    "processes": {
        "running": ["/usr/sbin/sshd"], "running_like": ".*/sshd", "none_of": ["/bin/nc"], "none_like": ".*/(nmap|masscan)",
    },
    "report-age": {"max_age": "60s"},
    "screen-lock": {"enabled": True, "max_delay": "10m"},
    "seen": {
        "consistent": True, "networks": ["198.51.100.0/24"], "os_families": ["linux"], "max_clock_skew": "60s",
        "updates_max_age": "7d",
    },
    "system": {
        "distributions": ["debian"], "releases": ["bookworm"], "editions": ["server"], "architectures": ["x86_64"],
        "build": "26100", "kernel": ">= 6.1.0-28",
    },
    "tpm": {"attested": True, "pcrs": {"7": [SHA]}},
}  # fmt: skip
CALLED = {
    Kind.TEXT: "a short text",
    Kind.FLAG: "true or false",
    Kind.COUNT: f"a whole number up to {MOST}",
    Kind.SECONDS: "a number of seconds",
    Kind.TIME: "a time in Unix seconds",
    Kind.TEXTS: "a list of short texts",
    Kind.MAP: "short texts by name",
    Kind.CERTIFICATES: "a list of certificates",
}
KIND_OF: Mapping[str, str] = {name: CALLED[told.kind] for name, told in CATALOGUE.items()} | {
    "custom.profile": "a value with the SHA-256 of what stated it"
}


def check(kind: str, **changes: Any) -> Check:
    return _CHECK.validate_python({"check": kind, "otherwise": "limited", **WHOLE[kind], **changes})


def only(kind: str, **asked: Any) -> Check:
    return _CHECK.validate_python({"check": kind, "otherwise": "limited", **asked})


def judged(kind: str, now: datetime = NOW, **changes: Any) -> Outcome:
    return check(kind).evaluate(posture(**changes), now=now)


READ = [(kind, name) for kind in KINDS for name in check(kind).reads()]
PLAIN = [(kind, name) for kind, name in READ if kind != "expr"]


def test_every_fact_of_the_catalogue_is_read_by_a_kind_of_check_of_its_own() -> None:
    assert {name for _, name in PLAIN} == {*CATALOGUE, "custom.profile"}
    assert set(CATALOGUE) == set(FACTS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_device_passes(kind: str) -> None:
    assert judged(kind).reasons == ()


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("agent-version", {"agent__version": "0.0.9"}, "the agent's version is 0.0.9, and >= 0.1 is required"),
        ("agent-version", {"agent__version": "0.1~rc1"}, "the agent's version is 0.1~rc1, and >= 0.1 is required"),
        ("agent-version", {"agent__version": "newest"}, "the agent's version is 'newest', which is not a version"),
        ("antivirus", {"antivirus__running": False}, "the antivirus is not running"),
        ("antivirus", {"antivirus__product": "snake-oil"}, "the antivirus is snake-oil, and only clamav, defender are accepted"),
        ("firewall", {"firewall__enabled": False}, "the firewall is off: connections from outside are accepted unless a rule forbids them"),
        ("firewall", {"firewall__product": "pf"}, "the firewall is pf, and only nftables, ufw are accepted"),
        ("disk-encryption", {"disk__root_encrypted": False}, "the root volume is not encrypted"),
        ("disk-encryption", {"disk__home_encrypted": False}, "the home volume is not encrypted"),
        ("disk-encryption", {"disk__swap_encrypted": False}, "the swap volume is not encrypted"),
        ("os-version", {"os__version": "11"}, "the version of debian is 11, and >= 12 is required"),
        ("os-version", {"os__version": "trixie/sid"}, "the version of debian is 'trixie/sid', which is not a version"),
        ("os-version", {"os__distribution": "arch"}, "the system is arch, and only darwin, debian, ubuntu, windows are accepted"),
        ("os-version", {"os__family": "plan9"}, "the system is plan9, and only darwin, debian, ubuntu, windows are accepted"),
        ("os-version", {"os__family": "windows", "os__version": "12"}, "the version of windows is 12, and >= 10.0, < 12 is required"),
        ("patches", {"patches__security_pending": 1}, "1 security updates are pending, and 0 are allowed"),
        ("patches", {"patches__pending": 11}, "11 updates are pending, and 10 are allowed"),
        ("patches", {"patches__reboot_required": True}, "an update waits for a restart of the system"),
        ("patches", {"patches__services_to_restart": ["ssh", "cron"]}, "these still run what an update has replaced: cron, ssh"),
        ("patches", {"patches__automatic": False}, "security updates are not installed automatically"),
        ("antivirus", {"antivirus__realtime": False}, "the antivirus does not scan files when they are used"),
        ("antivirus", {"antivirus__engine_version": "1.3.2"}, "the antivirus engine is 1.3.2, and >= 1.4 is required"),
        ("firewall", {"firewall__input_policy": "accept"}, "what the firewall does with a connection that no rule names is accept, and only drop are accepted"),
        ("disk-encryption", {"disk__chain": "sda1 part < sda disk"}, "the chain beneath the root volume is sda1 part < sda disk, which does not match .*luks crypt.*"),
        ("boot", {"boot__secure_boot": False}, "Secure Boot is off"),
        ("boot", {"boot__tpm_present": False}, "there is no TPM"),
        ("boot", {"boot__tpm_version": "1.2"}, "the version of the TPM is 1.2, and >= 2 is required"),
        ("boot", {"boot__firmware": "bios"}, "the firmware is bios, and only uefi are accepted"),
        ("boot", {"boot__lockdown": "none"}, "the kernel's lockdown is none, and only confidentiality, integrity are accepted"),
        ("boot", {"boot__integrity_protection": False}, "the integrity protection of the system is off"),
        ("screen-lock", {"screen__lock_enabled": False}, "an idle screen does not lock"),
        ("screen-lock", {"screen__lock_delay": 601}, "an idle screen locks after 601s, and 10m is the most allowed"),
        ("os-support", {"os__support_ends_at": (NOW + 30 * DAY).timestamp()}, "the support of this release ends 2026-03-31 12:00 UTC, and 30d must remain"),
        ("system", {"os__distribution": "ubuntu"}, "the system is ubuntu, and only debian are accepted"),
        ("system", {"os__release": "bullseye"}, "the release of the system is bullseye, and only bookworm are accepted"),
        ("system", {"os__edition": "Home"}, "the edition of the system is Home, and only server are accepted"),
        ("system", {"os__architecture": "i686"}, "the architecture is i686, and only x86_64 are accepted"),
        ("system", {"os__build": "22631.1"}, "the build of the system is 22631.1, and >= 26100 is required"),
        ("system", {"os__kernel": "6.1.0-27-amd64"}, "the kernel is 6.1.0-27-amd64, and >= 6.1.0-28 is required"),
        ("machine", {"device__serial": "PF13"}, "the serial number is PF13, and only PF12 are accepted"),
        ("machine", {"device__hostname": "laptop-1.evil"}, "the name of the machine is laptop-1.evil, which does not match laptop-[0-9]+"),
        ("machine", {"device__virtual": "kvm"}, "the kind of virtual machine is kvm, and only none are accepted"),
        ("machine", {"device__booted_at": (NOW - 7 * DAY).timestamp()}, "the system was started 2026-02-22 12:00 UTC, which is 7d ago or more"),
        ("administrators", {"users__administrators": ["eve", "root"]}, "the administrators are eve, and only alice, it, root are accepted"),
        ("administrators", {"users__without_password": ["bob"]}, "these become administrator without a password: bob"),
        ("domain", {"domain__joined": False}, "the machine belongs to no directory"),
        ("domain", {"domain__kind": "none"}, "the kind of directory is none, and only freeipa are accepted"),
        ("processes", {"processes__executables": ["/bin/x"]}, "these do not run: /usr/sbin/sshd; no program runs like .*/sshd"),
        ("processes", {"processes__executables": ["/usr/sbin/sshd", "/bin/nc"]}, "these must not run: /bin/nc"),
        ("processes", {"processes__executables": ["/usr/sbin/sshd", "/opt/nmap"]}, "these must not run: /opt/nmap"),
        ("files", {"files__sha256": {"/etc/ssh/sshd_config": "cd" * 32}}, f"the file /etc/ssh/sshd_config is {'cd' * 32}, which is not accepted"),
        ("files", {"files__sha256": {}}, "the file /etc/ssh/sshd_config was not reported"),
        ("certificates", {"certificates__device": [{**CERTIFICATE, "issuer": "CN=Else"}]}, "no certificate from CN=Example Devices is valid"),
        ("certificates", {"certificates__device": [{**CERTIFICATE, "not_after": NOW.timestamp()}]}, "no certificate from CN=Example Devices is valid"),
        ("certificates", {"certificates__extra_roots": [CERTIFICATE]}, "authorities that were added and are not accepted: CN=laptop-1"),
        ("network", {"network__listening": ["tcp/22", "tcp/80"]}, "open to others are tcp/80, and only tcp/22 are accepted"),
        ("network", {"network__listening_programs": {"tcp/22": "/bin/nc"}}, "the program behind tcp/22 is /bin/nc, which is not accepted"),
        ("network", {"network__captive_portal": True}, "the network wants a login in a browser first"),
        ("network", {"network__dns_servers": ["8.8.8.8"]}, "the name servers are 8.8.8.8, and only 10.20.0.53 are accepted"),
        ("agent-integrity", {"agent__integrity": False}, "a file of the agent differs from what was installed"),
        ("agent-integrity", {"agent__digest": "cd" * 32}, f"the digest of the agent is {'cd' * 32}, and only {SHA} are accepted"),
        ("tpm", {"tpm__attested": False}, "no TPM vouches for the device"),
        ("tpm", {"tpm__pcrs": {"7": "0" * 64}}, f"PCR 7 is {'0' * 64}, which is not accepted"),
        ("mdm", {"mdm__compliant": False}, "the MDM says that the device is not compliant"),
        ("mdm", {"mdm__failing_policies": ["no usb"]}, "policies of the MDM that fail are no usb, and only none are accepted"),
        ("edr", {"edr__threats": 2}, "2 threats are open, and 0 are allowed"),
        ("edr", {"edr__running": False}, "the EDR does not hear its sensor"),
        ("seen", {"seen__contradictions": ["windows, it says"]}, "what the device says is contradicted: windows, it says"),
        ("seen", {"seen__address": "203.0.113.1"}, "the device's address is 203.0.113.1, and only 198.51.100.0/24 are accepted"),
        ("seen", {"seen__address": "nowhere"}, "the device's address is nowhere, which is not an address"),
        ("seen", {"seen__clock_skew": -61}, "the device's clock is wrong by 61s, and 1m is the most allowed"),
        ("custom", {"custom__profile": {"value": "lab", "sha256": SHA}}, "custom.profile is lab, and office is required; custom.profile is lab, and only home, office are accepted; custom.profile is lab, which does not match off.*"),
        ("custom", {"custom__profile": {"value": "office", "sha256": "cd" * 32}}, "custom.profile was stated by something whose SHA-256 is not accepted"),
        ("expr", {"boot__tpm_present": False}, f"this is not so: {EXPR}"),
        ("expr", {"boot__tpm_present": MISSING}, f"this cannot be told: {EXPR}: boot.tpm_present was not reported"),
    ],
)  # fmt: skip
def test_what_is_wrong_fails_with_its_reason(kind: str, changes: dict[str, Any], reason: str) -> None:
    outcome = judged(kind, **changes)
    assert "; ".join(outcome.reasons) == reason
    assert check(kind).screen()(posture(**changes).facts, NOW, posture(**changes)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_screen_sees_a_healthy_device_and_until_when_it_is_one(kind: str) -> None:
    end = check(kind).screen()(posture().facts, NOW, posture())
    if kind in ("certificates", "custom"):
        assert end is None  # always looked at
    else:
        assert end == (judged(kind).changes_at or ALWAYS)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("agent-version", {"agent__version": "0.1"}),
        ("agent-version", {"agent__version": "0.10"}),
        ("antivirus", {"antivirus__product": "defender"}),
        ("os-version", {"os__version": "12.0"}),
        ("os-version", {"os__distribution": "ubuntu", "os__version": "22.04"}),
        ("os-version", {"os__family": "darwin", "os__distribution": MISSING, "os__version": "14.0"}),
        ("os-version", {"os__family": "windows", "os__distribution": MISSING, "os__version": "11.9"}),
        ("patches", {"patches__pending": 10}),
    ],
)
def test_what_is_just_good_enough_passes(kind: str, changes: dict[str, Any]) -> None:
    assert judged(kind, **changes).reasons == ()


def test_every_reason_is_given_and_not_only_the_first() -> None:
    outcome = judged("disk-encryption", disk__root_encrypted=False, disk__swap_encrypted=MISSING)
    assert outcome.reasons == ("the root volume is not encrypted", "disk.swap_encrypted was not reported")


@pytest.mark.parametrize(
    ("distribution", "version", "passes"),
    [
        ("debian", "1:2.0~rc1-1", False), ("debian", "1:2.0-1", True), ("debian", "3.0-1", False),
        ("fedora", "1:2.0~rc1-1.fc41", False), ("fedora", "1:2.0-1.fc41", True), ("fedora", "1:2.0^git5-1", True),
        ("arch", "1:2.0.0", True), ("debian", "sid", False),
    ],
)  # fmt: skip
def test_a_package_of_the_organisation_is_compared_by_the_rules_of_its_distribution(
    distribution: str, version: str, passes: bool
) -> None:
    asked = only("custom", name="profile", sha256=[SHA], version=">= 1:2.0")
    changes = {"custom__profile": {"value": version, "sha256": SHA}, "os__distribution": distribution}
    assert (not asked.evaluate(posture(**changes), now=NOW).reasons) is passes


@pytest.mark.parametrize(("kind", "name"), PLAIN)
def test_a_fact_that_was_not_reported_fails(kind: str, name: str) -> None:
    assert check(kind).evaluate(reported({**HEALTHY, name: MISSING}), now=NOW).reasons == (f"{name} was not reported",)


@pytest.mark.parametrize(("kind", "name"), PLAIN)
def test_a_fact_that_could_not_be_read_fails_with_the_devices_reason(kind: str, name: str) -> None:
    outcome = check(kind).evaluate(reported({**HEALTHY, name: unreadable("no\x1b[2J such\nfile")}), now=NOW)
    assert outcome.reasons == (f"{name} could not be read: no [2J such file",)


@pytest.mark.parametrize(("kind", "name"), PLAIN)
def test_a_fact_that_could_not_be_read_has_no_value_whatever_is_sent_along(kind: str, name: str) -> None:
    lying = Fact(HEALTHY[name], "test", NOW.timestamp(), absent="")
    outcome = check(kind).evaluate(reported({**HEALTHY, name: lying}), now=NOW)
    assert outcome.reasons == (f"{name} could not be read: no reason given",)


WRONG: Mapping[str, list[Any]] = {
    "true or false": [1, 0, "true", "", None, [], [True], {}, 1.0],
    "a number of seconds": [True, MOST + 1, -MOST - 1, "0", None, [], {}, float("nan"), float("inf")],
    "a list of short texts": [True, "tcp/22", None, {}, [1], [""], ["x" * 201], [["x"]], ["a\nb"], ["x"] * 1001],
    "short texts by name": [True, "tcp/22", None, [], {"x": 1}, {"": "x"}, {"x": "a\nb"}],
    "a list of certificates": [True, "x", None, {}, [1], [{}], [{**CERTIFICATE, "not_after": "2026"}], [{**CERTIFICATE, "issuer": ""}]],
    "a value with the SHA-256 of what stated it": [True, "office", None, [], {"value": "office"}, {"value": [], "sha256": SHA}],
    "a short text": [True, 12, 12.5, "", None, [], ["12"], {}, "x" * 201, "a\nb", "\x1b[2J"],
    f"a whole number up to {MOST}": [True, False, -1, MOST + 1, 0.0, 1.5, "0", None, [], {}, float("nan"), float("inf")],
    "a time in Unix seconds": [True, 0, -1, LATEST, "2026-03-01", "1772366400", None, [], {}, float("nan"), float("inf")],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), PLAIN)
def test_a_fact_of_the_wrong_type_fails(kind: str, name: str) -> None:
    for value in WRONG[KIND_OF[name]]:
        outcome = check(kind).evaluate(reported({**HEALTHY, name: value}), now=NOW)
        assert outcome.reasons == (f"{name} was reported as something other than {KIND_OF[name]}",), value


AGES = [("antivirus", "antivirus.signatures_at", 3 * DAY), ("patches", "patches.lists_updated_at", 7 * DAY)]


@pytest.mark.parametrize(("kind", "name", "limit"), AGES)
def test_an_age_ends_exactly_at_its_limit_and_says_so_before(kind: str, name: str, limit: timedelta) -> None:
    at = NOW - limit
    young = reported({**HEALTHY, name: (at + SECOND).timestamp()})
    assert check(kind).evaluate(young, now=NOW).reasons == ()
    assert check(kind).evaluate(young, now=NOW).changes_at == NOW + SECOND
    assert len(check(kind).evaluate(young, now=NOW + SECOND).reasons) == 1
    old = check(kind).evaluate(reported({**HEALTHY, name: at.timestamp()}), now=NOW)
    assert old.reasons[0].endswith(f"{at:%Y-%m-%d %H:%M} UTC, which is {limit.days}d ago or more")
    assert old.changes_at is None or kind == "patches"  # which asks for another age too


@pytest.mark.parametrize(("kind", "name", "limit"), AGES)
def test_a_date_in_the_future_proves_nothing_beyond_the_error_of_a_clock(
    kind: str, name: str, limit: timedelta
) -> None:
    near = reported({**HEALTHY, name: (NOW + CLOCK_SKEW).timestamp()})
    assert check(kind).evaluate(near, now=NOW).reasons == ()
    far = reported({**HEALTHY, name: (NOW + CLOCK_SKEW + SECOND).timestamp()})
    outcome = check(kind).evaluate(far, now=NOW)
    assert outcome.reasons[0].endswith("UTC, which lies in the future")
    assert outcome.changes_at == NOW + SECOND
    assert check(kind).evaluate(far, now=NOW + SECOND).reasons == ()


def test_a_report_ends_exactly_at_its_age_by_the_gateways_clock() -> None:
    report = Posture(posture().facts, observed_at=NOW + DAY, received_at=NOW)
    last = NOW + timedelta(seconds=60)
    assert check("report-age").evaluate(report, now=last - SECOND).reasons == ()
    assert check("report-age").evaluate(report, now=last - SECOND).changes_at == last
    assert check("report-age").evaluate(report, now=last).reasons == (
        "the last report came 2026-03-01 12:00 UTC, which is 1m ago or more",
    )


class _Watched(Mapping[str, Fact]):
    """Facts that remember which of them were asked for."""

    def __init__(self, facts: Mapping[str, Fact]) -> None:
        self._facts = facts
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Fact:
        self.asked.add(name)
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a check asks for facts by their names")

    def __len__(self) -> int:
        return len(self._facts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_check_reads_the_facts_that_it_declares_and_shows_them_as_evidence(kind: str) -> None:
    facts = _Watched(posture().facts)
    outcome = check(kind).evaluate(Posture(facts, NOW, NOW), now=NOW)
    assert facts.asked == set(check(kind).reads()) == set(outcome.evidence)


@pytest.mark.parametrize(
    ("kind", "asked", "silent"),
    [
        ("antivirus", {"running": True}, {"antivirus.signatures_at", "antivirus.product"}),
        ("antivirus", {"signatures_max_age": "1d"}, {"antivirus.running", "antivirus.product"}),
        ("firewall", {"products": ["ufw"]}, {"firewall.enabled"}),
        ("disk-encryption", {"home": True}, {"disk.root_encrypted", "disk.swap_encrypted"}),
        ("patches", {"pending": 10}, {"patches.security_pending", "patches.lists_updated_at"}),
    ],
)
def test_what_a_policy_does_not_ask_for_is_not_judged(kind: str, asked: dict[str, Any], silent: set[str]) -> None:
    without = reported({name: value for name, value in HEALTHY.items() if name not in silent})
    assert only(kind, **asked).evaluate(without, now=NOW).reasons == ()


OF_THE_ORGANISATION = {
    "certificates",
    "custom",
    "domain",
    "edr",
    "expr",
    "files",
    "machine",
    "mdm",
    "network",
    "processes",
    "seen",
    "tpm",
}
"""What repairs these, only the policy's author can know."""


@pytest.mark.parametrize("kind", sorted(set(KINDS) - OF_THE_ORGANISATION))
def test_every_check_knows_a_fix_for_every_platform(kind: str) -> None:
    for platform in ("linux", "darwin", "windows"):
        fix = check(kind).fix_for(platform, judged(kind).values)
        assert fix is not None, platform
        assert "$" not in fix, platform


def test_the_policys_own_fix_comes_before_the_known_one_and_falls_back_by_platform() -> None:
    own = check("firewall", fix={"linux": "sudo ufw enable"})
    assert own.fix_for("linux", {}) == "sudo ufw enable"
    assert own.fix_for("darwin", {}) == KINDS["firewall"].default_fixes["darwin"]
    assert check("firewall", fix="call 4711").fix_for("plan9", {}) == "call 4711"
    assert own.fix_for(None, {}) is None


def test_a_fix_is_filled_in_from_the_policy_and_keeps_the_dollars_of_a_shell() -> None:
    own = check("patches", fix="install $security_pending updates: awk '{print $1}' $HOME")
    values = judged("patches", patches__security_pending=4).values
    assert own.fix_for("linux", values) == "install 4 updates: awk '{print $1}' $HOME"


def test_no_word_of_the_device_gets_into_a_fix() -> None:
    outcome = judged("os-version", os__version="11; curl evil", os__distribution="debian")
    assert set(outcome.values.values()) == {"darwin >= 14, debian >= 12, ubuntu >= 22.04, windows >= 10.0, < 12"}
