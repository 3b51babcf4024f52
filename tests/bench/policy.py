"""How long a decision takes, and a fleet of them: `python -m tests.bench.policy` prints JSON.

A policy of 50 checks of many kinds with graces, 20 resources, 30 grants, windows and denies; devices that are healthy, that
fail three checks, and that fail nearly all. Every figure is CPU time of one thread, so that a busy machine matters less;
`interpreted` is the same decision without the compiled policy. Nothing is asserted here but that both decide the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from agent.wire import Fact
from gateway.errors import PolicyError
from gateway.policy.engine import decide, interpreted
from gateway.policy.load import loads
from gateway.policy.model import Posture, Subject
from gateway.policy.policy import Policy
from gateway.policy.source import MAX_BYTES

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GROUPS = [f"group-{n}" for n in range(20)]
SIZES = (1_000, 10_000, 100_000)

KINDS: list[dict[str, Any]] = [
    {"check": "firewall", "enabled": True, "products": ["ufw", "nftables"]},
    {"check": "antivirus", "running": True, "signatures_max_age": "3d", "products": ["clamav"]},
    {"check": "disk-encryption", "root": True, "home": True, "swap": True},
    {"check": "patches", "security_pending": 0, "lists_max_age": "7d", "restarted": True},
    {"check": "os-version", "minimum": {"debian": "12", "ubuntu": "22.04", "darwin": "14"}},
    {"check": "boot", "secure_boot": True, "tpm": True, "firmware": ["uefi"]},
    {"check": "screen-lock", "enabled": True, "max_delay": "10m"},
    {"check": "agent-version", "minimum": "0.1"},
    {"check": "administrators", "only": ["root", "it", "alice"]},
    {"check": "all-of", "of": [{"check": "firewall", "enabled": True}, {"check": "patches", "pending": 100}]},
    {"check": "network", "listening_only": ["tcp/22"], "no_captive_portal": True},
    {"check": "mdm", "enrolled": True, "seen_max_age": "1d"},
]
FACTS: dict[str, Any] = {
    "os.family": "linux", "os.distribution": "debian", "os.version": "12.5", "firewall.enabled": True, "firewall.product": "ufw",
    "antivirus.running": True, "antivirus.product": "clamav", "antivirus.signatures_at": NOW.timestamp() - 3600.25,
    "disk.root_encrypted": True, "disk.home_encrypted": True, "disk.swap_encrypted": True, "patches.security_pending": 0,
    "patches.pending": 3, "patches.lists_updated_at": NOW.timestamp() - 7200.5, "patches.reboot_required": False,
    "boot.secure_boot": True, "boot.tpm_present": True, "boot.firmware": "uefi", "screen.lock_enabled": True,
    "screen.lock_delay": 300, "agent.version": "0.1.0", "users.administrators": ["alice", "root"],
    "network.listening": ["tcp/22"], "network.captive_portal": False, "mdm.enrolled": True, "mdm.seen_at": NOW.timestamp() - 60.0,
}  # fmt: skip
THREE = {"firewall.enabled": False, "boot.secure_boot": False, "screen.lock_enabled": False}


def document(checks: int) -> dict[str, Any]:
    made = {f"check-{n:02d}": {**KINDS[n % len(KINDS)], "otherwise": "limited"} for n in range(checks)}
    for name in list(made)[::3]:
        made[name]["grace"] = "3d"
    return {
        "policy": "bench",
        "tiers": ["full", "limited", "quarantine", "denied"],
        "resources": {f"resource-{n}": {"destinations": [f"10.{n}.0.0/16"], "ports": ["tcp/443"]} for n in range(20)},
        "windows": {"office": {"zone": "Europe/Vienna", "opens": "06:00", "closes": "20:00", "days": ["mon", "tue"]}},
        "access": [
            {"groups": [GROUPS[n % 20]], "tier": ("full", "limited")[n % 2], "resources": [f"resource-{n % 20}"]}
            | ({"when": ["office"]} if n % 5 == 0 else {})
            for n in range(30)
        ],
        "deny": [{"groups": ["group-1"], "resources": ["resource-3"]}],
        "checks": made,
    }


def posture(changes: dict[str, Any]) -> Posture:
    return Posture({name: Fact(value, "bench", 0.0) for name, value in (FACTS | changes).items()}, NOW, NOW)


def fleet(size: int) -> list[tuple[Subject, Posture]]:
    """Nine in ten are healthy; of the others each fails one to three checks' facts."""
    chance = random.Random(1)
    made = []
    for n in range(size):
        changes: dict[str, Any] = {"antivirus.signatures_at": NOW.timestamp() - chance.uniform(60, 86400)}
        if chance.random() < 0.1:
            changes |= dict(chance.sample(sorted(THREE.items()), chance.randint(1, 3)))
        made.append((Subject(f"user-{n}", frozenset(chance.sample(GROUPS, 3)), f"device-{n}"), posture(changes)))
    return made


def microseconds(work: Callable[[], object], times: int = 300, rounds: int = 7) -> float:
    taken = []
    for _ in range(rounds):
        began = time.thread_time()
        for _ in range(times):
            work()
        taken.append((time.thread_time() - began) / times)
    return round(statistics.median(taken) * 1e6, 1)


def one_decision(policy: Policy) -> dict[str, Any]:
    who = Subject("alice", frozenset({"group-1", "group-5"}), "device")
    nothing = Posture({}, NOW, NOW)
    cases = {"healthy": posture({}), "three facts fail": posture(THREE), "nothing reported": nothing}
    told: dict[str, Any] = {}
    for name, about in cases.items():
        kept = decide(policy, who, about, now=NOW).failing_since
        assert decide(policy, who, about, now=NOW) == interpreted(policy, who, about, now=NOW)
        told[name] = {
            "findings": len(decide(policy, who, about, now=NOW).findings),
            "compiled_us": microseconds(
                lambda about=about, kept=kept: decide(policy, who, about, now=NOW, failing_since=kept)
            ),
            "interpreted_us": microseconds(
                lambda about=about, kept=kept: interpreted(policy, who, about, now=NOW, failing_since=kept), times=100
            ),
        }
    return told


def many_decisions(sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    told = []
    for size in sizes:
        devices = fleet(size)
        policy = loads(json.dumps(document(50)), "bench.yaml")  # another policy: nothing is ready yet
        began = time.thread_time()
        for subject, about in devices:
            decide(policy, subject, about, now=NOW)
        taken = time.thread_time() - began
        told.append({"sessions": size, "seconds": round(taken, 3), "us_each": round(taken / size * 1e6, 1)})
    return told


def bad_input() -> dict[str, float]:
    """The slowest that we know of bytes within the limits, and one beyond them."""
    good = document(50)
    texts = {
        "1 MiB of checks": json.dumps(
            {**good, "checks": {f"c{n}": {**KINDS[n % 12], "otherwise": "limited"} for n in range(9_000)}}
        ),
        "1 MiB of unknown keys": "policy: p\n" + "".join(f"k{n}: 1\n" for n in range(95_000)),
        "1 MiB of rules for resources that do not exist": json.dumps(
            {**good, "access": [{"groups": ["a"], "tier": "full", "resources": [f"r{n}"]} for n in range(17_000)]}
        ),
        "1 MiB of repeated keys": "a: 1\n" * 200_000,
        "50 MB": "a: 1\n" * 10_000_000,
    }
    told = {}
    for name, text in texts.items():
        raw = text.encode()[: MAX_BYTES if name != "50 MB" else None]
        began = time.thread_time()
        with contextlib.suppress(PolicyError):
            loads(raw, "bad.yaml")
        told[name] = round(time.thread_time() - began, 3)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.policy", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="without the fleet of 100,000")
    quick = parser.parse_args().quick
    text = json.dumps(document(50))
    began = time.thread_time()
    policy = loads(text, "bench.yaml")
    load_seconds = time.thread_time() - began
    report = {
        "checks": len(policy.checks),
        "load_ms": round(load_seconds * 1e3, 1),
        "decision": one_decision(policy),
        "fleet": many_decisions(SIZES[:2] if quick else SIZES),
        "bad_input_seconds": bad_input(),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
