"""Windows 10, 11 and Server 2022, by what PowerShell answers. Composed after documentation: none was recorded on the system."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.collect.reading import Unreadable
from agent.collect.windows import SUBJECTS
from agent.collect.windows import subjects as read


def said(**members: Any) -> str:
    return json.dumps(members)


SYSTEMS = [
    (
        said(
            CurrentBuild="19045",
            UBR=5131,
            DisplayVersion="22H2",
            EditionID="Professional",
            InstallationType="Client",
            Architecture="AMD64",
        ),
        ("windows", "10.0.19045.5131", "22H2", "Professional", "x86_64"),
    ),
    (
        said(
            CurrentBuild="26100",
            UBR=2314,
            DisplayVersion="24H2",
            EditionID="Enterprise",
            InstallationType="Client",
            Architecture="ARM64",
        ),
        ("windows", "10.0.26100.2314", "24H2", "Enterprise", "aarch64"),
    ),
    (
        said(
            CurrentBuild="20348",
            UBR=2849,
            DisplayVersion="21H2",
            EditionID="ServerStandard",
            InstallationType="Server",
            Architecture="AMD64",
        ),
        ("windows-server", "10.0.20348.2849", "21H2", "ServerStandard", "x86_64"),
    ),
]


@pytest.mark.parametrize(("answer", "expected"), SYSTEMS)
def test_each_windows_says_which_it_is(answer: str, expected: tuple[str, ...]) -> None:
    found = read.read_system("\ufeff" + answer)
    names = ("os.distribution", "os.version", "os.release", "os.edition", "os.architecture")
    assert tuple(found[name] for name in names) == expected


def test_a_machine_names_itself_and_says_whether_it_is_virtual() -> None:
    uuid = "4C4C4544-0051-3510-8052-B4C04F4A3232"
    found = read.read_device(
        said(Name="PC7", Vendor="Dell Inc.", Model="Latitude 7440", Serial="ABC1234", Uuid=uuid, BootedAt=1795610680)
    )
    assert (found["device.uuid"], found["device.virtual"], found["device.serial"]) == (uuid.lower(), "none", "ABC1234")
    virtual = read.read_device(said(Vendor="Microsoft Corporation", Model="Virtual Machine"))
    assert (virtual["device.virtual"], virtual["device.uuid"]) == ("microsoft", None)


def test_updates_and_what_is_not_said() -> None:
    found = read.read_patches(said(Pending=3, Security=1, SearchedAt=1.0, InstalledAt=2.0, Reboot=True, Automatic=True))
    assert (found["patches.pending"], found["patches.security_pending"], found["patches.reboot_required"]) == (
        3,
        1,
        True,
    )
    assert set(read.read_patches("{}").values()) == {None}


DEFENDER = {
    "Enabled": True,
    "Realtime": True,
    "Engine": "1.1.24090.11",
    "Signatures": "1.421.226.0",
    "SignaturesAt": 1795608000,
}


@pytest.mark.parametrize(
    ("answer", "product", "running"),
    [
        (said(Defender=DEFENDER, Others=[{"Name": "Windows Defender", "State": 397568}]), "defender", True),
        (said(Defender=DEFENDER, Others=None), "defender", True),  # a server has no Security Center
        (said(Defender={**DEFENDER, "Enabled": False}, Others=[]), None, False),
        (said(Defender=None, Others={"Name": "ESET Security", "State": 266240}), "eset-security", True),
        (said(Defender=None, Others=[{"Name": "ESET Security", "State": 262144}]), None, False),
        (said(Defender=None, Others=[{"Name": "X", "State": "266240"}]), None, False),
    ],
)
def test_the_antivirus_is_what_runs(answer: str, product: str | None, running: bool) -> None:
    found = read.read_antivirus(answer)
    assert (found.get("antivirus.product"), found["antivirus.running"]) == (product, running)


def profiles(**differences: dict[str, Any]) -> str:
    usual = {name: {"Name": name, "Enabled": 1, "Inbound": 4} for name in ("Domain", "Private", "Public")}
    return said(Profiles=[{**each, **differences.get(name, {})} for name, each in usual.items()])


@pytest.mark.parametrize(
    ("answer", "closed"),
    [
        (profiles(), True),
        (profiles(Public={"Inbound": 0}), True),
        (profiles(Public={"Enabled": 0}), False),
        (profiles(Private={"Inbound": 2}), False),
        (profiles(Domain={"Enabled": None}), False),
    ],
)
def test_the_firewall_is_on_when_every_profile_is(answer: str, closed: bool) -> None:
    assert read.read_firewall(answer)["firewall.enabled"] is closed


def volume(drive: str, status: str = "FullyEncrypted", protection: str = "On") -> dict[str, str]:
    return {"Drive": drive, "Status": status, "Protection": protection}


@pytest.mark.parametrize(
    ("volumes", "root", "swap"),
    [
        ([volume("C:"), volume("D:")], True, True),
        (volume("C:"), True, None),
        ([volume("C:", protection="Off"), volume("D:")], False, True),
        ([volume("C:", status="EncryptionInProgress"), volume("D:")], False, True),
        ([volume("c:"), volume("D:", status="FullyDecrypted")], True, False),
        (None, None, None),
    ],
)
def test_a_drive_is_encrypted_when_it_is_wholly_and_its_protection_is_on(volumes: Any, root: Any, swap: Any) -> None:
    found = read.read_disk(said(System="C:", Profiles="C:", PageFiles=["D:"], Volumes=volumes))
    assert (found["disk.root_encrypted"], found["disk.swap_encrypted"]) == (root, swap)


def test_the_start_and_the_screen() -> None:
    boot = read.read_boot(
        said(Firmware=2, SecureBoot=True, Services=[1, 2], TpmPresent=True, TpmVersion="2.0, 0, 1.59")
    )
    assert list(boot.values()) == ["uefi", True, True, True, "2.0"]
    assert read.read_boot(said(Services=1, SecureBoot="True"))["boot.secure_boot"] is None
    limit = read.read_screen(said(Limit=900, Profiles=[]))
    assert limit == {"screen.lock_enabled": True, "screen.lock_delay": 900}
    saver = {"Active": "1", "Secure": "1", "Timeout": "600"}
    assert read.read_screen(said(Profiles=[saver]))["screen.lock_delay"] == 600
    assert read.read_screen(said(Profiles=[saver, {**saver, "Secure": "0"}]))["screen.lock_enabled"] is False
    assert read.read_screen(said(Profiles=[]))["screen.lock_enabled"] is False


def dsregcmd(entra: str, domain: str, **more: str) -> str:
    lines = {"AzureAdJoined": entra, "EnterpriseJoined": "NO", "DomainJoined": domain, **more}
    return said(Status="+--+\r\n" + "".join(f"             {name} : {value}\r\n" for name, value in lines.items()))


@pytest.mark.parametrize(
    ("answer", "kind", "name", "mdm"),
    [
        (
            dsregcmd("YES", "NO", TenantName="Example", MdmUrl="https://enrollment.manage.microsoft.com/x"),
            "entra",
            "example",
            True,
        ),
        (dsregcmd("NO", "YES", DomainName="CORP"), "active-directory", "corp", False),
        (dsregcmd("YES", "YES", DomainName="CORP", TenantName="Example"), "hybrid", "corp", False),
        (dsregcmd("NO", "NO"), "none", None, False),
    ],
)
def test_the_directory_is_what_dsregcmd_says(answer: str, kind: str, name: str | None, mdm: bool) -> None:
    found = read.read_domain(answer)
    assert (found["domain.kind"], found["domain.name"], found["domain.mdm_enrolled"]) == (kind, name, mdm)


def test_people_programs_and_network() -> None:
    assert read.read_users(said(Members="PC7\\alice"))["users.administrators"] == ["PC7\\alice"]
    assert read.read_processes(said(Paths=["C:\\b.exe", "C:\\a.exe"]))["processes.executables"] == [
        "C:\\a.exe",
        "C:\\b.exe",
    ]
    tcp = [{"Address": "0.0.0.0", "Port": 445, "Path": None}, {"Address": "127.0.0.1", "Port": 9, "Path": "x"}]
    udp = {"Address": "::", "Port": 5353, "Path": "C:\\c.exe"}
    found = read.read_network(said(Tcp=tcp, Udp=udp, Gateways="192.0.2.1", Servers=["192.0.2.53"]))
    assert found["network.listening_programs"] == {"tcp/445": "unknown", "udp/5353": "C:\\c.exe"}
    assert (found["network.gateways"], found["network.dns_servers"]) == (["192.0.2.1"], ["192.0.2.53"])


def certificate(name: str, sha256: str) -> dict[str, Any]:
    return {"Subject": f"CN={name}", "Issuer": f"CN={name}", "Sha256": sha256, "NotBefore": 1, "NotAfter": 2}


def test_an_authority_that_neither_microsoft_nor_its_programme_brought_was_added() -> None:
    microsoft = certificate("Microsoft Root, O=Microsoft Corporation", "AA" * 32)
    roots = [microsoft, certificate("Public", "BB" * 32), certificate("Proxy", "CC" * 32)]
    found = read.read_certificates(said(My=certificate("pc7", "DD" * 32), Root=roots, Shipped=["BB" * 32]))
    assert [each["subject"] for each in found["certificates.extra_roots"]] == ["CN=Proxy"]
    assert found["certificates.device"][0]["sha256"] == "dd" * 32


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize(
    "answer",
    ["", "\0", "[]", "null", "Zugriff verweigert", "[" * 100_000, "x" * (10 << 20)],
    ids=lambda t: ascii(t[:12]),
)
def test_another_answer_is_a_reason_and_no_fact(name: str, answer: str) -> None:
    with pytest.raises(Unreadable):
        SUBJECTS[name].read(answer)


@pytest.mark.parametrize("name", SUBJECTS)
def test_an_empty_object_claims_nothing_good(name: str) -> None:
    try:
        found = SUBJECTS[name].read("{}")
    except Unreadable:
        return
    assert not any(found.get(good) is True for good in ("firewall.enabled", "disk.root_encrypted", "antivirus.running"))


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_script_is_one_expression_with_its_brackets_closed(name: str) -> None:
    script = SUBJECTS[name].script
    assert all(script.count(opened) == script.count(closed) for opened, closed in ("()", "{}", "[]"))
    assert script.count("'") % 2 == 0
    assert "\n" not in script
