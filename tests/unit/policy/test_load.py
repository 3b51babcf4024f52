"""What cannot be a policy is refused with file, line, column and what is allowed; what can be one means what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import PolicyError, Problem
from gateway.policy.load import MAX_PROBLEMS, load_policy, loads
from gateway.policy.source import MAX_BYTES

GOOD = """policy: p
tiers: [full, limited, denied]
resources:
  wiki: {destinations: [10.20.0.10/32], ports: [tcp/443]}
access:
  - {groups: [everyone], tier: full, resources: [wiki]}
checks:
  fw: {check: firewall, enabled: true, otherwise: limited}
"""
KEYS = "policy, include, tiers, resources, windows, networks, tags, access, deny, checks, session, signals, limits"
VERSIONS = 'allowed is a version in quotes such as "12" (meaning >= 12), ">= 12.5" or ">= 2.4, < 3"'
NETWORKS = "allowed is CIDR without host bits, for example 10.20.0.0/24, 10.20.0.10/32 or 2001:db8::/64"
PORTS = "allowed is for example tcp/443, udp/5000-5010, tcp, udp, icmp or icmpv6"
DURATIONS = "allowed is a whole number with s, m, h or d, for example 60s, 30m, 12h or 3d"
WRITE_OUT = "allowed is to write it out"


def but(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def found(text: str | bytes) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        loads(text, "p.yaml")
    return [str(problem).removeprefix("p.yaml:") for problem in caught.value.problems]


def test_the_document_that_the_tables_below_spoil_is_sound() -> None:
    assert loads(GOOD, "p.yaml").name == "p"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        # unknown keys
        (GOOD + "chekcs: {}\n", f"9:1: chekcs: is not a key; allowed are {KEYS}"),
        (but("enabled:", "enabeld:"), "8:25: checks.fw.enabeld: is not a key; allowed are otherwise, warn, grace, severity, fix, platforms, groups, devices, tags, evidence, owner, link, check, enabled, input_policy, products"),
        (but("ports:", "port:"), "4:41: resources.wiki.port: is not a key; allowed are destinations, names, within, ports, max_age, acr_values"),
        (GOOD + "session: {leases: 60s}\n", "9:11: session.leases: is not a key; allowed are lease, max_duration, idle, reauthenticate, without_report, without_login, check_login, device_code"),
        (but("limited}", "limited, fix: {linus: x}}"), "8:66: checks.fw.fix.linus: is not a key; allowed are linux, darwin, windows"),
        (but("enabled: true", "<<: {enabled: true}"), "8:25: checks.fw.<<: is not a key; allowed are otherwise, warn, grace, severity, fix, platforms, groups, devices, tags, evidence, owner, link, check, enabled, input_policy, products"),
        # wrong types
        (but("[10.20.0.10/32]", "10.20.0.10/32"), "4:24: resources.wiki.destinations: must be a list"),
        (but("{destinations: [10.20.0.10/32], ports: [tcp/443]}", "10.20.0.10/32"), "4:9: resources.wiki: must be a mapping"),
        (but("  fw: {", "  - {"), "8:3: checks: must be a mapping of names to values"),
        (but("tcp/443", "443"), "4:49: resources.wiki.ports.0: must be a text; put it in quotes if it looks like a number"),
        (but("enabled: true", "enabled: 1"), "8:34: checks.fw.enabled: 1 must be true; leave the key out where it does not matter"),
        (but("enabled: true", "enabled: false"), "8:34: checks.fw.enabled: false must be true; leave the key out where it does not matter"),
        (but("enabled: true", "enabled: yes"), "8:34: checks.fw.enabled: 'yes' must be true; leave the key out where it does not matter"),
        (but("otherwise: limited", "warn: 1"), "8:46: checks.fw.warn: must be true or false"),
        (but("limited}", "limited, fix: 5}"), "8:65: checks.fw.fix: must be a mapping"),
        (but("firewall, enabled: true", "patches, pending: 1.5"), "8:33: checks.fw.pending: must be a whole number"),
        (but("firewall, enabled: true", "patches, pending: -1"), "8:33: checks.fw.pending: -1 is out of range; allowed is greater than or equal to 0"),
        (but("firewall, enabled: true", "patches, pending: 9999999999"), "8:33: checks.fw.pending: 9999999999 is out of range; allowed is less than or equal to 1000000000"),
        (but("firewall, enabled: true", "patches, pending: 99999999999999999999"), "8:33: is too large a number; allowed are at most 15 digits"),
        (but("firewall, enabled: true", "patches, pending: 1e999"), "8:33: is too large a number; allowed are at most 15 digits"),
        (but("10.20.0.10/32], ports: [tcp/443]", "10.20.0.10/32], ports: "), "4:48: has no value; allowed is to give it one, or to leave the key out"),
        (but("otherwise: limited", "otherwise: limited, grace: null"), "8:67: has no value; allowed is to give it one, or to leave the key out"),
        (but("otherwise: limited", "otherwise: limited, fix: ~"), "8:65: has no value; allowed is to give it one, or to leave the key out"),
        # said twice
        (but("enabled: true", "enabled: true, enabled: true"), "8:40: repeats the key 'enabled' of line 8; allowed is once"),
        (GOOD + "  fw: {check: firewall, enabled: true, warn: true}\n", "9:3: repeats the key 'fw' of line 8; allowed is once"),
        (GOOD + "policy: q\n", "9:1: repeats the key 'policy' of line 1; allowed is once"),
        (but("limited, denied", "limited, full"), "2:24: tiers: 'full' is repeated; allowed is once"),
        # YAML that hides something
        (but("[10.20.0.10/32]", "&a [10.20.0.10/32]"), f"4:24: has an anchor; {WRITE_OUT}"),
        (but("[10.20.0.10/32]", "*a"), f"4:24: is an alias; {WRITE_OUT}"),
        ("a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c]\n", f"1:4: has an anchor; {WRITE_OUT}"),
        (but("[10.20.0.10/32]", "!!python/object/apply:os.system [x]"), "4:24: has a tag; allowed are plain texts, numbers, true, false, lists and mappings"),
        (but("policy: p", "policy: !!str p"), "1:9: has a tag; allowed are plain texts, numbers, true, false, lists and mappings"),
        (but("  fw: {", "\tfw: {"), "8:1: is indented with a tab; allowed are spaces"),
        (but("[everyone]", "[everyone"), "6:54: is not YAML: did not find expected ',' or ']' while parsing a flow sequence"),
        (GOOD + "---\n" + GOOD, "9:1: begins a second document; allowed is one in a file"),
        ("? [a]\n: b\n", "1:3: is a list or mapping used as a key; allowed is text"),
        ("[" * 1000, "1:17: is nested deeper than 16 levels"),
        ("a: [" + "x," * 100_000 + "]", "1:199999: holds more than 100000 keys and values; split the policy into several files"),
        # names that do not exist
        (but("tier: full", "tier: fulll"), "6:32: access.0.tier: 'fulll' is no tier for a grant; allowed are full, limited"),
        (but("tier: full", "tier: denied"), "6:32: access.0.tier: 'denied' is no tier for a grant; allowed are full, limited"),
        (but("otherwise: limited", "otherwise: limit"), "8:51: checks.fw.otherwise: 'limit' is no tier to fall to; allowed are limited, denied"),
        (but("otherwise: limited", "otherwise: full"), "8:51: checks.fw.otherwise: 'full' is no tier to fall to; allowed are limited, denied"),
        (GOOD + "session: {without_login: gone}\n", "9:26: session.without_login: 'gone' is no tier to fall to; allowed are limited, denied"),
        (GOOD + "signals: {high_risk: gone}\n", "9:22: signals.high_risk: 'gone' is no tier to fall to; allowed are limited, denied"),
        (GOOD + "signals: {risk: limited}\n", "9:11: signals.risk: is not a key; allowed are credential_change, lower_assurance, not_compliant, medium_risk, high_risk"),
        (GOOD + "session: {check_login: 30s}\n", "9:10: session: has a check_login of 30s; allowed is 1m or more"),
        (but("ports: [tcp/443]", "max_age: 30s"), "4:9: resources.wiki: has a max_age of 30s; allowed is 1m or more"),
        (GOOD + "session: {without_report: gone}\n", "9:27: session.without_report: 'gone' is no tier to fall to; allowed are limited, denied"),
        (but("resources: [wiki]", "resources: [wikki]"), "6:50: access.0.resources.0: 'wikki' is no resource; allowed are wiki"),
        (but("check: firewall", "check: firewal"), "8:15: checks.fw.check: 'firewal' is unknown; allowed are os-version, os-support, system, patches, machine, boot, antivirus, firewall, disk-encryption, screen-lock, administrators, domain, processes, files, certificates, network, report-age, agent-version, agent-integrity, mdm, edr, seen, tpm, custom, expr, any-of, all-of, not"),
        (but("fw: {check", "report: {check"), "8:3: checks.report: is the name of the finding about missing reports; allowed is any other"),
        # what is missing
        (but("check: firewall, ", ""), "8:7: checks.fw: needs the key 'check'"),
        (but("enabled: true, ", ""), "8:7: checks.fw: asks for nothing; it needs at least one of enabled, input_policy, products"),
        (but("tier: full, ", ""), "6:5: access.0: needs the key tier"),
        (but("[everyone]", "[]"), "6:14: access.0.groups: has 0 entries; allowed are 1 or more"),
        (but("[full, limited, denied]", "[full]"), "2:8: tiers: has 1 entries; allowed are 2 or more"),
        (but("policy: p\n", ""), "1:1: needs the key policy, here or in another file of the folder: it gives the policy its name"),
        (GOOD[: GOOD.index("checks:")], "1:1: needs the key checks, here or in another file of the folder: it says what a healthy device is; without one, everybody would have the best tier"),
        (GOOD[: GOOD.index("checks:")] + "checks: {}\n", "1:1: needs the key checks, here or in another file of the folder: it says what a healthy device is; without one, everybody would have the best tier"),
        # checks that contradict themselves
        (but(", otherwise: limited", ""), "8:7: checks.fw: needs `otherwise: <tier>`, or `warn: true` for a check that only informs, and not both"),
        (but("otherwise: limited", "otherwise: limited, warn: true"), "8:7: checks.fw: needs `otherwise: <tier>`, or `warn: true` for a check that only informs, and not both"),
        (but("otherwise: limited", "warn: true, grace: 3d"), "8:7: checks.fw: has a grace that means nothing: a check that only warns never takes effect"),
        (but("otherwise: limited", "otherwise: limited, severity: explicit, grace: 3d"), "8:7: checks.fw: has severity explicit, which takes effect at once; allowed is neither grace nor warn with it"),
        (but("otherwise: limited", "warn: true, severity: explicit"), "8:7: checks.fw: has severity explicit, which takes effect at once; allowed is neither grace nor warn with it"),
        (but("otherwise: limited", "otherwise: limited, severity: low"), "8:70: checks.fw.severity: 'low' is unknown; allowed is explicit"),
        # whom it concerns, and who answers for it
        (but("otherwise: limited", "otherwise: limited, platforms: [linux, plan9]"), "8:79: checks.fw.platforms.1: 'plan9' is unknown; allowed is linux, darwin or windows"),
        (but("otherwise: limited", "otherwise: limited, platforms: []"), "8:71: checks.fw.platforms: has 0 entries; allowed are 1 or more"),
        (but("otherwise: limited", "otherwise: limited, groups: []"), "8:68: checks.fw.groups: has 0 entries; allowed are 1 or more"),
        (but("otherwise: limited", "otherwise: limited, devices: [laptop-1]"), "8:70: checks.fw.devices.0: 'laptop-1' is not a device; allowed is its id of 43 characters, as `sallyport-agent status --json` shows it"),
        (but("otherwise: limited", "otherwise: limited, owner: ' x'"), "8:67: checks.fw.owner: ' x' is not an owner; allowed are up to 200 printable characters (NFC) without space around them"),
        # checks made of checks
        (but("firewall, enabled: true", "any-of, of: []"), "8:27: checks.fw.of: has 0 entries; allowed are 1 or more"),
        (but("firewall, enabled: true", "any-of"), "8:7: checks.fw: needs the key of"),
        (but("firewall, enabled: true", "all-of, of: {check: firewall, enabled: true}"), "8:27: checks.fw.of: must be a list"),
        (but("firewall, enabled: true", "not, of: [{check: firewall, enabled: true}]"), "8:24: checks.fw.of: must be a mapping"),
        (but("firewall, enabled: true", "not, of: {check: firewal}"), "8:32: checks.fw.of.check: 'firewal' is unknown; allowed are os-version, os-support, system, patches, machine, boot, antivirus, firewall, disk-encryption, screen-lock, administrators, domain, processes, files, certificates, network, report-age, agent-version, agent-integrity, mdm, edr, seen, tpm, custom, expr, any-of, all-of, not"),
        (but("firewall, enabled: true", "any-of, of: [{check: firewall}]"), "8:28: checks.fw.of.0: asks for nothing; it needs at least one of enabled, input_policy, products"),
        (but("firewall, enabled: true", "any-of, of: [{check: firewall, enabeld: true}]"), "8:46: checks.fw.of.0.enabeld: is not a key; allowed are fix, evidence, check, enabled, input_policy, products"),
        (but("firewall, enabled: true", "any-of, of: [{check: firewall, enabled: true, fix: {linus: x}}]"), "8:67: checks.fw.of.0.fix.linus: is not a key; allowed are linux, darwin, windows"),
        (but("firewall, enabled: true", "any-of, of: [{check: firewall, enabled: true, otherwise: limited}]"), "8:28: checks.fw.of.0: has otherwise; that is allowed beside the outermost check only"),
        (but("firewall, enabled: true", "not, of: {check: firewall, enabled: true, grace: 3d, platforms: [linux]}"), "8:24: checks.fw.of: has grace, platforms; that is allowed beside the outermost check only"),
        (but("firewall, enabled: true", "any-of, of: [" + "{check: firewall, enabled: true}, " * 32 + "]"), "8:7: checks.fw: is made of 33 checks; allowed are 32 in one"),
        (but("firewall, enabled: true", "not, of: {check: not, of: {check: not, of: {check: not, of: {check: firewall, enabled: true}}}}"), "8:7: checks.fw: has 5 levels of checks; allowed are 4"),
        # values
        (but("policy: p", "policy: P!"), "1:9: policy: 'P!' is not a name; allowed are up to 63 of a-z 0-9 . _ - beginning with a letter or digit"),
        (but("policy: p", 'policy: "p\\0"'), "1:9: policy: 'p\\x00' is not a name; allowed are up to 63 of a-z 0-9 . _ - beginning with a letter or digit"),
        (but("[everyone]", '[" everyone"]'), "6:15: access.0.groups.0: ' everyone' is not a group; allowed are up to 200 printable characters (NFC) without space around them"),
        (but("firewall, enabled: true", "agent-version, minimum: 0.1"), f"8:39: checks.fw.minimum: 0.1 is not a version requirement; {VERSIONS}"),
        (but("firewall, enabled: true", "os-version, minimum: {debian: sid}"), f"8:45: checks.fw.minimum.debian: 'sid' is not a version requirement; {VERSIONS}"),
        (but("firewall, enabled: true", "os-version, minimum: {}"), "8:36: checks.fw.minimum: has 0 entries; allowed are 1 or more"),
        (GOOD + "limits:\n- {groups: [a], rate: 20 Mbit/s}\n", "10:23: limits.0.rate: '20 Mbit/s' is not a rate; allowed is a whole number with kbit, Mbit or Gbit, for example 20Mbit"),
        (GOOD + "session: {lease: 4s}\n", "9:10: session: has a lease of 4s; allowed is 5s to 15m"),
        (GOOD + "session: {lease: 901s}\n", "9:10: session: has a lease of 901s; allowed is 5s to 15m"),
        (GOOD + "session: {idle: 59s}\n", "9:10: session: has idle shorter than the lease of 1m"),
        (but("otherwise: limited", "otherwise: limited, grace: 3 days"), f"8:67: checks.fw.grace: '3 days' is not a duration; {DURATIONS}"),
        (but("otherwise: limited", "otherwise: limited, grace: 3"), f"8:67: checks.fw.grace: 3 is not a duration; {DURATIONS}"),
        (but("otherwise: limited", "otherwise: limited, grace: 3651d"), "8:67: checks.fw.grace: '3651d' is too long; the longest duration is 3650d"),
    ],
)  # fmt: skip
def test_a_bad_document_is_refused_at_its_place_with_what_is_allowed(text: str, problem: str) -> None:
    assert problem in found(text)


@pytest.mark.parametrize(
    "link",
    ["http://example.com", "https://", "https:///path", "https://user@example.com", "https://user:pw@example.com/",
     "javascript:alert(1)", "https://example.com/a b", "https://éxample.com", "//example.com", "HTTPS://example.com",
     "https://example.com:99999/", "https://example.com\\\\@evil.example/", "https://[::1", "https://x/" + "y" * 500, ""],
)  # fmt: skip
def test_a_link_that_is_not_plainly_one_encrypted_site_is_refused(link: str) -> None:
    problem = "is not a link; allowed is https:// and a host, without a login, up to 500 ASCII characters"
    (said,) = found(but("otherwise: limited", f'otherwise: limited, link: "{link}"'))
    assert said.startswith("8:66: checks.fw.link: ")
    assert said.endswith(problem)


@pytest.mark.parametrize(
    "network",
    ["10.20.0.10/24", "10.20.0.256", "wiki.example.com", "10.20.0.0/33", "10.20.0.0/-1", "0.0.0.0/0.0.0.0",
     "10.0.0.0/0.0.0.255", "10.0.0.0/08", "10.0.0", "fe80::1%eth0/128", "2001:db8::1/64", ":::/0", "010.0.0.0/8", ""],
)  # fmt: skip
def test_what_is_no_network_is_refused(network: str) -> None:
    problem = f"4:25: resources.wiki.destinations.0: {network!r} is not a network; {NETWORKS}"
    assert found(but("10.20.0.10/32", f'"{network}"')) == [problem]


@pytest.mark.parametrize(
    "ports",
    ["tcp/0", "tcp/65536", "tcp/9-8", "tcp/1-65536", "tcp/", "tcp/1-", "tcp/-1", "tcp/1,2", "tcp 443", "TCP/443",
     "sctp/1", "icmp/8", "any", "tcp/٣", "tcp/443\\n", ""],
)  # fmt: skip
def test_what_are_no_ports_is_refused(ports: str) -> None:
    shown = ports.replace("\\n", "\n")
    problem = f"4:49: resources.wiki.ports.0: {shown!r} are not ports; {PORTS}"
    assert found(but("tcp/443", f'"{ports}"')) == [problem]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (GOOD.encode() + b"# caf\xe9\n", "9:6: is not UTF-8; save the file as UTF-8"),
        (GOOD.encode("utf-16"), "1:1: is not UTF-8; save the file as UTF-8"),
        (GOOD.encode() + b"# a\0b\n", "9:4: holds the invisible character U+0000; allowed is plain text"),
        (b"\0" * 4096, "1:1: holds the invisible character U+0000; allowed is plain text"),
        (GOOD.encode() + "# \u202egnp.exe\n".encode(), "9:3: holds the invisible character U+202E; allowed is plain text"),
        (GOOD.replace("\n", "\r").encode(), "1:10: holds the invisible character U+000D; allowed is plain text"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_plain_text_are_refused_where_they_stand(raw: bytes, problem: str) -> None:
    assert found(raw) == [problem]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "hello", "- a\n", "5"])
def test_what_says_nothing_is_no_policy(text: str) -> None:
    assert "1:1: must be a mapping" in found(text)


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read() -> None:
    raw = b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()
    assert loads(raw, "p.yaml").version == loads(GOOD, "p.yaml").version


def test_all_problems_are_shown_at_once_in_the_order_of_their_places() -> None:
    text = but("tier: full", "tier: fulll").replace("tcp/443", "tcp/0").replace("enabled", "enabeld")
    assert [problem.split(": ")[0] for problem in found(text)] == ["4:49", "6:32", "8:25"]


def test_of_very_many_problems_the_first_are_shown() -> None:
    assert len(found(GOOD + "".join(f"x{n}: 1\n" for n in range(MAX_PROBLEMS + 50)))) == MAX_PROBLEMS


def test_of_very_many_names_that_are_allowed_the_first_are_shown() -> None:
    resources = "".join(f"  r{n:05}: {{destinations: [10.0.0.1]}}\n" for n in range(8_000))
    wrong = ", ".join(f"w{n}" for n in range(20_000))
    text = but("  wiki:", resources + "  wiki:").replace("[wiki]", f"[{wrong}]")
    first, *rest = found(text)
    assert "access.0.resources.0: 'w0' is no resource; allowed are r00000, r00001," in first
    assert first.endswith("r00019 and 7981 more")
    assert len(rest) == MAX_PROBLEMS - 1


# --- files ---


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def problems(path: Path) -> list[Problem]:
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    return list(caught.value.problems)


def test_a_folder_without_files_is_no_policy(tmp_path: Path) -> None:
    assert problems(tmp_path) == [
        Problem(str(tmp_path), 1, 1, "holds 0 policy files; allowed are 1 to 256 named *.yaml")
    ]


def test_a_path_that_does_not_exist_is_no_policy(tmp_path: Path) -> None:
    assert problems(tmp_path / "gone")[0].text == "is not a file that can be read"


def test_a_broken_link_is_not_overlooked(tmp_path: Path) -> None:
    write(tmp_path, p=GOOD)
    (tmp_path / "more.yaml").symlink_to("gone")
    assert problems(tmp_path) == [Problem(str(tmp_path / "more.yaml"), 1, 1, "is not a file that can be read")]


@pytest.mark.parametrize("name", ["more.yml", "more.YAML", "more.Yml"])
def test_a_file_that_its_author_believes_to_count_is_not_overlooked(tmp_path: Path, name: str) -> None:
    write(tmp_path, p=GOOD)
    (tmp_path / name).write_text("checks: {}\n")
    assert problems(tmp_path) == [Problem(str(tmp_path / name), 1, 1, "would not be read; allowed are names *.yaml")]


def test_folders_and_other_files_beside_a_policy_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, p=GOOD)
    (tmp_path / "README.md").write_text("not YAML: [")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "x.yaml").write_text("not YAML: [")
    assert load_policy(tmp_path).name == "p"


def test_an_empty_file_beside_a_sound_one_is_refused(tmp_path: Path) -> None:
    assert problems(write(tmp_path, p=GOOD, q=""))[0] == Problem(str(tmp_path / "q.yaml"), 1, 1, "must be a mapping")


def test_a_file_of_fifty_megabytes_is_refused_and_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    with file.open("wb") as stream:
        stream.truncate(50 << 20)
    text = f"has {MAX_BYTES + 1} bytes or more; allowed are {MAX_BYTES} in one file"
    assert problems(tmp_path) == [Problem(str(file), 1, 1, text)]


def test_parts_in_several_files_are_one_policy(tmp_path: Path) -> None:
    at = GOOD.index("access:")
    whole = loads(GOOD, "p.yaml")
    parts = load_policy(write(tmp_path, zz=GOOD[:at], aa=GOOD[at:]))
    assert parts == whole


@pytest.mark.parametrize(
    ("second", "place", "what", "first"),
    [
        ("policy: q\n", "1:1", "policy", 1),
        ("tiers: [full, limited, denied]\n", "1:1", "tiers", 2),
        ("\nresources:\n  wiki: {destinations: [10.0.0.1/32]}\n", "3:3", "resources.wiki", 4),
        ("checks:\n  fw: {check: firewall, enabled: true, warn: true}\n", "2:3", "checks.fw", 8),
    ],
)
def test_two_files_that_say_the_same_thing_collide(
    tmp_path: Path, second: str, place: str, what: str, first: int
) -> None:
    write(tmp_path, a=GOOD, b=second)
    text = f"{what}: is also in {tmp_path}/a.yaml:{first}; allowed is once"
    assert [str(p) for p in problems(tmp_path)] == [f"{tmp_path}/b.yaml:{place}: {text}"]


def test_what_an_unreadable_file_would_have_said_is_not_called_missing(tmp_path: Path) -> None:
    at = GOOD.index("access:")
    write(tmp_path, a=GOOD[:at] + "  x: [\n", b=GOOD[at:])
    assert {Path(p.file).name for p in problems(tmp_path)} == {"a.yaml"}


# --- what a sound policy means ---


def test_networks_and_ports_are_kept_in_the_form_of_the_data_plane() -> None:
    text = but("[10.20.0.10/32], ports: [tcp/443]", '[10.20.0.10, "2001:DB8:0::/64"], ports: [tcp/0443, udp/5-5, icmp]')
    assert loads(text, "p.yaml").resources["wiki"].permits() == [
        "10.20.0.10/32 tcp/443", "10.20.0.10/32 udp/5", "10.20.0.10/32 icmp",
        "2001:db8::/64 tcp/443", "2001:db8::/64 udp/5", "2001:db8::/64 icmp",
    ]  # fmt: skip


def test_a_resource_without_ports_means_all_of_them() -> None:
    assert loads(but(", ports: [tcp/443]", ""), "p.yaml").resources["wiki"].permits() == ["10.20.0.10/32"]


@pytest.mark.parametrize(
    "same",
    [
        GOOD.replace("10.20.0.10/32", "10.20.0.10"),
        GOOD.replace("tcp/443", "tcp/443-443"),
        GOOD + "session: {lease: 60s, idle: 1800s}\n",
        GOOD.replace("otherwise: limited", "warn: false, otherwise: limited"),
        "# comment\n" + GOOD.replace("policy: p", '"policy":   "p"'),
    ],
)
def test_the_version_is_of_the_meaning_and_not_of_the_spelling(same: str) -> None:
    assert loads(same, "p.yaml").version == loads(GOOD, "p.yaml").version


@pytest.mark.parametrize(
    "other",
    [
        GOOD.replace("10.20.0.10/32", "10.20.0.11/32"),
        GOOD.replace(", ports: [tcp/443]", ""),
        GOOD.replace("[full, limited, denied]", "[full, middle, limited, denied]"),
        GOOD.replace("otherwise: limited", "otherwise: denied"),
        GOOD.replace("otherwise: limited", "warn: true"),
        GOOD.replace("otherwise: limited", "otherwise: limited, grace: 1s"),
        GOOD.replace("otherwise: limited", "otherwise: limited, fix: x"),
        GOOD.replace("otherwise: limited", "otherwise: limited, platforms: [linux]"),
        GOOD.replace("otherwise: limited", "otherwise: limited, groups: [finance]"),
        GOOD.replace("otherwise: limited", "otherwise: limited, severity: explicit"),
        GOOD.replace("otherwise: limited", "otherwise: limited, owner: it"),
        GOOD.replace("otherwise: limited", "otherwise: limited, link: https://example.com"),
        GOOD.replace("firewall, enabled: true", "any-of, of: [{check: firewall, enabled: true}]"),
        GOOD.replace("firewall, enabled: true", "not, of: {check: firewall, enabled: true}"),
        GOOD.replace("everyone", "every.one"),
        GOOD.replace("tier: full", "tier: limited"),
        GOOD + "session: {lease: 61s}\n",
        GOOD + "session: {without_report: denied}\n",
        GOOD + "limits: [{groups: [everyone], rate: 1Mbit}]\n",
    ],
)
def test_the_version_changes_with_the_meaning(other: str) -> None:
    assert loads(other, "p.yaml").version != loads(GOOD, "p.yaml").version


def test_words_that_old_yaml_took_for_something_else_are_texts() -> None:
    text = but("[everyone]", "[yes, no, on, off, NULL, True, 12:30, 0x10, .inf]")
    groups = loads(text, "p.yaml").access[0].groups
    assert groups == ["yes", "no", "on", "off", "NULL", "True", "12:30", "0x10", ".inf"]


def test_a_problem_carries_its_line_so_that_whoever_shows_it_can_point() -> None:
    with pytest.raises(PolicyError) as caught:
        loads(but("enabled: true", "enabled: yes"), "p.yaml")
    (problem,) = caught.value.problems
    assert problem.source == "  fw: {check: firewall, enabled: yes, otherwise: limited}"
    assert problem.source[problem.column - 1 :].startswith("yes")


def test_a_tag_that_nobody_has_defined_is_refused_in_checks_grants_and_denies() -> None:
    text = (
        but("otherwise: limited", "otherwise: limited, tags: [lab]")
        + "tags: {kiosk: []}\ndeny: [{groups: [a], tags: [lba]}]\n"
    )
    assert found(text) == [
        "8:67: checks.fw.tags.0: 'lab' is no tag; allowed are kiosk",
        "10:29: deny.0.tags.0: 'lba' is no tag; allowed are kiosk",
    ]
