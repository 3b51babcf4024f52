"""macOS 14 and 15, by what their commands answer. Composed after documentation: none was recorded on the system itself."""

from __future__ import annotations

import plistlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from agent.collect.darwin import subjects as read
from agent.collect.reading import Unreadable

SONOMA = "ProductName:\t\tmacOS\nProductVersion:\t\t14.7.1\nBuildVersion:\t\t23H222\n"
SEQUOIA = "ProductName:\t\tmacOS\nProductVersion:\t\t15.1\nBuildVersion:\t\t24B83\n"
IOREG = """+-o J316sAP  <class IOPlatformExpertDevice, id 0x100000234>
    {
      "IOPlatformSerialNumber" = "C02ABCDEFGHJ"
      "IOPlatformUUID" = "4C4C4544-0051-3510-8052-B4C04F4A3232"
      "manufacturer" = <"Apple Inc.">
      "model" = <"MacBookPro18,3">
    }
"""
SYSCTL = "kern.boottime: { sec = 1795610680, usec = 123 } Wed Nov 25 12:44:40 2026\nkern.hv_vmm_present: 0\n"
UPDATES = """Software Update Tool

Finding available software
Software Update found the following new or updated software:
* Label: macOS Sequoia 15.1.1-24B91
\tTitle: macOS Sequoia 15.1.1, Version: 15.1.1, Size: 2500000KiB, Recommended: YES, Action: restart,
* Label: Command Line Tools for Xcode-16.1
\tTitle: Command Line Tools for Xcode, Version: 16.1, Size: 757000KiB, Recommended: YES,
"""
EXTENSIONS = (
    "1 extension(s)\n--- com.apple.system_extension.endpoint_security\n"
    "enabled\tactive\tteamID\tbundleID (version)\tname\t[state]\n"
    "*\t*\tX9E956P446\tcom.crowdstrike.falcon.Agent (7.19/190.08)\tFalcon Sensor\t[activated enabled]\n"
)
XPROTECT = plistlib.dumps({"CFBundleShortVersionString": "5283"})
APPLE = "Hardware:\n    Hardware Overview:\n      Chip: Apple M3 Pro\n"
T2 = "Controller:\n    Model Name: Apple T2 Security Chip\n    Boot UUID: x\n    Secure Boot: Full Security\n"


@pytest.mark.parametrize(("said", "version", "build"), [(SONOMA, "14.7.1", "23H222"), (SEQUOIA, "15.1", "24B83")])
def test_the_version_is_that_of_sw_vers(said: str, version: str, build: str) -> None:
    found = read.read_version(said)
    assert (found["os.distribution"], found["os.version"], found["os.build"]) == ("macos", version, build)


def test_the_machine_names_itself() -> None:
    assert read.read_hardware(IOREG) == {
        "device.serial": "C02ABCDEFGHJ",
        "device.uuid": "4c4c4544-0051-3510-8052-b4c04f4a3232",
        "device.vendor": "Apple Inc.",
        "device.model": "MacBookPro18,3",
    }
    assert read.read_sysctl(SYSCTL) == {"device.booted_at": 1795610680.0, "device.virtual": "none"}
    assert read.read_sysctl(SYSCTL.replace("present: 0", "present: 1"))["device.virtual"] == "apple"


def test_updates_are_counted_and_those_of_the_system_are_security() -> None:
    assert read.read_updates(UPDATES) == {"patches.pending": 2, "patches.security_pending": 1}
    assert read.read_updates("Software Update Tool\n\nNo new software available.\n")["patches.pending"] == 0


@pytest.mark.parametrize(
    ("settings", "automatic"),
    [
        ({"AutomaticCheckEnabled": True, "AutomaticDownload": True, "CriticalUpdateInstall": True}, True),
        ({"AutomaticCheckEnabled": 1, "AutomaticDownload": 1, "CriticalUpdateInstall": 1}, True),
        ({"AutomaticCheckEnabled": True, "AutomaticDownload": True, "CriticalUpdateInstall": False}, False),
        ({}, False),
    ],
)
def test_updates_are_automatic_when_all_three_settings_say_so(settings: dict[str, Any], automatic: bool) -> None:
    data = plistlib.dumps({**settings, "LastSuccessfulDate": datetime(2026, 11, 25, 12)})
    found = read.read_update_settings(data)
    assert found == {"patches.lists_updated_at": 1795608000.0, "patches.automatic": automatic}


def test_another_product_counts_before_xprotect_when_its_extension_is_active() -> None:
    assert read.read_xprotect(XPROTECT, 5.0, "0 extension(s)\n") == {
        "antivirus.product": "xprotect",
        "antivirus.running": True,
        "antivirus.signatures_version": "5283",
        "antivirus.signatures_at": 5.0,
    }
    assert read.read_xprotect(XPROTECT, 5.0, EXTENSIONS)["antivirus.product"] == "crowdstrike-falcon"
    waiting = EXTENSIONS.replace("[activated enabled]", "[activated waiting for user]")
    assert read.read_xprotect(XPROTECT, 5.0, waiting)["antivirus.product"] == "xprotect"
    status = "XProtect launch scans: enabled\nXProtect background scans: enabled\n"
    assert read.read_realtime(status) == {"antivirus.realtime": True}


@pytest.mark.parametrize(
    ("said", "on"),
    [
        ("Firewall is enabled. (State = 1)\n", True),
        ("Firewall is blocking all non-essential incoming connections. (State = 2)\n", True),
        ("Firewall is disabled. (State = 0)\n", False),
    ],
)
def test_the_firewall_is_on_in_two_states_of_three(said: str, on: bool) -> None:
    assert read.read_firewall(said)["firewall.enabled"] is on


@pytest.mark.parametrize(
    ("said", "on"),
    [
        ("FileVault is On.\n", True),
        ("FileVault is Off.\n", False),
        ("FileVault is On.\nEncryption in progress: Percent completed = 40\n", False),
        ("FileVault is Off.\nDecryption in progress: Percent completed = 40\n", False),
    ],
)
def test_a_disk_that_is_still_being_encrypted_is_not_yet(said: str, on: bool) -> None:
    assert read.read_filevault(said)["disk.root_encrypted"] is on


def test_the_start_is_protected_as_the_system_says() -> None:
    custom = "System Integrity Protection status: enabled (Custom Configuration).\n"
    assert read.read_protection("System Integrity Protection status: enabled.\n")["boot.integrity_protection"] is True
    assert read.read_protection(custom)["boot.integrity_protection"] is False
    assert read.read_security_chip(T2)["boot.secure_boot"] is True
    assert read.read_security_chip(T2.replace("Full", "Reduced"))["boot.secure_boot"] is False
    assert read.read_security_chip(APPLE) == {
        "boot.firmware": "apple",
        "boot.tpm_present": True,
        "boot.secure_boot": None,
    }


@pytest.mark.parametrize(
    ("lock", "power", "expected"),
    [
        (
            "screenLock delay is immediate",
            " displaysleep         10\n",
            {"screen.lock_enabled": True, "screen.lock_delay": 600},
        ),
        (
            "screenLock delay is 300 seconds",
            " displaysleep 2 (on)\n",
            {"screen.lock_enabled": True, "screen.lock_delay": 420},
        ),
        ("screenLock is off", " displaysleep 10\n", {"screen.lock_enabled": False}),
        (
            "screenLock delay is immediate",
            " displaysleep 0\n",
            {"screen.lock_enabled": False, "screen.lock_delay": None},
        ),
    ],
)
def test_the_screen_locks_after_the_display_sleeps(lock: str, power: str, expected: dict[str, Any]) -> None:
    assert read.read_screen(lock, power) == expected


def test_people_domain_programs_and_network() -> None:
    assert read.read_administrators("GroupMembership: root alice\n") == {"users.administrators": ["alice", "root"]}
    none = read.read_domain("", "Enrolled via DEP: No\nMDM enrollment: No\n")
    assert (none["domain.joined"], none["domain.mdm_enrolled"]) == (False, False)
    joined = read.read_domain(
        "Active Directory Domain          = CORP.example.com\n", "MDM enrollment: Yes (User Approved)\n"
    )
    assert (joined["domain.kind"], joined["domain.name"]) == ("active-directory", "corp.example.com")
    assert read.read_processes("/sbin/launchd\nlogin\n/sbin/launchd\n")["processes.executables"] == ["/sbin/launchd"]
    said = (
        "p1\ncsshd\nf3\nPTCP\nn*:22\nf4\nPTCP\nn127.0.0.1:631\np2\ncmDNSResponder\nf5\nPUDP\nn*:5353\nn[::1]:53\nn*:*\n"
    )
    assert read.read_listening(said)["network.listening_programs"] == {"tcp/22": "sshd", "udp/5353": "mDNSResponder"}
    dns = "resolver #1\n  nameserver[0] : 192.0.2.53\n  nameserver[1] : fe80::1%en0\n  nameserver[2] : x\n"
    assert read.read_network("    gateway: 192.0.2.1\n  interface: en0\n", dns) == {
        "network.gateways": ["192.0.2.1"],
        "network.dns_servers": ["192.0.2.53", "fe80::1%en0"],
    }


TEXTS: list[Callable[[str], Any]] = [
    read.read_version,
    read.read_hardware,
    read.read_sysctl,
    read.read_updates,
    read.read_realtime,
    read.read_firewall,
    read.read_filevault,
    read.read_protection,
    read.read_administrators,
    lambda said: read.read_screen(said, " displaysleep 1\n"),
    lambda said: read.read_screen("screenLock delay is immediate", said),
    lambda said: read.read_domain("", said),
    lambda said: read.read_network("", said),
    lambda said: read.read_update_settings(said.encode()),
    lambda said: read.read_xprotect(said.encode(), 1.0, ""),
]


@pytest.mark.parametrize("reader", range(len(TEXTS)))
@pytest.mark.parametrize(
    "said",
    ["", "\0", "{}", "Erreur : accès refusé\n", "FileVault est activé.", "x" * (10 << 20)],
    ids=lambda t: ascii(t[:12]),
)
def test_another_answer_is_a_reason_and_no_fact(reader: int, said: str) -> None:
    with pytest.raises(Unreadable):
        TEXTS[reader](said)
