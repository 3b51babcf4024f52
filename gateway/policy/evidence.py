"""What is known of a device from several mouths: its own report, its MDM or EDR, and what the gateway sees.

A device cannot state what others state about it: whatever it reports under their names is dropped. Where they differ the
device's value stays, so that a repair is seen at once; the difference is a contradiction, and confirms nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from agent.catalogue import CATALOGUE
from agent.wire import Fact
from gateway.policy.model import EvidenceGrade
from gateway.policy.support import ENDS, support_fact

WITNESSED: Final = ("mdm.", "edr.", "seen.")
"""Prefixes of what a second party says."""
ATTESTED: Final = "tpm."
"""Prefix of what the device's TPM states in a quote."""
OTHERS: Final = frozenset(name for name, each in CATALOGUE.items() if not each.platforms)
CONTRADICTIONS: Final = "seen.contradictions"
SKEW: Final = "seen.clock_skew"


def assembled(
    said: Mapping[str, Fact], told: Mapping[str, Fact], *, issued_at: datetime, received_at: datetime
) -> dict[str, Fact]:
    """Put together what the device said and what others told about it. `told` may hold only names of theirs."""
    own = {name: fact for name, fact in said.items() if not is_others(name)}
    theirs = {name: fact for name, fact in told.items() if name in OTHERS}
    at = received_at.timestamp()
    skew = round((issued_at - received_at).total_seconds(), 3)
    facts = {**own, **theirs, ENDS: support_fact(own), SKEW: Fact(skew, "the report's own time", at)}
    return {**facts, CONTRADICTIONS: Fact(contradictions(facts), "the gateway", at)}


def is_others(name: str) -> bool:
    """Whether a fact of this name is never the device's own word."""
    return name in OTHERS or name.startswith((*WITNESSED, ATTESTED))


def contradictions(facts: Mapping[str, Fact]) -> list[str]:
    """Say where the device's word and somebody else's differ, one sentence each."""
    found = []
    family, packets = _value(facts, "os.family"), _value(facts, "seen.os_family")
    if None not in (family, packets) and family != packets:
        found.append(f"the device says that it is {_shown(family)}, and its packets look like {_shown(packets)}")
    encrypted, confirmed = _value(facts, "disk.root_encrypted"), _value(facts, "mdm.disk_encrypted")
    if None not in (encrypted, confirmed) and encrypted is not confirmed:
        found.append(
            f"the device says that its disk is {_crypt(encrypted)}, and the MDM that it is {_crypt(confirmed)}"
        )
    version, known = _value(facts, "os.version"), _value(facts, "mdm.os_version")
    if None not in (version, known) and str(version).split(".")[0] != str(known).split(".")[0]:
        found.append(f"the device says that its system is {_shown(version)}, and the MDM that it is {_shown(known)}")
    return sorted(found)


def grades(facts: Mapping[str, Fact]) -> dict[str, EvidenceGrade]:
    """Grade what is not just the device's signed word."""
    found = {name: EvidenceGrade.CLAIMED for name in facts if name.startswith("custom.")}
    found |= {name: EvidenceGrade.VENDOR_CONFIRMED for name in facts if name.startswith(WITNESSED)}
    found |= {name: EvidenceGrade.HARDWARE_ATTESTED for name in facts if name.startswith(ATTESTED)}
    return found | dict.fromkeys(_confirmed(facts), EvidenceGrade.VENDOR_CONFIRMED)


def _confirmed(facts: Mapping[str, Fact]) -> list[str]:
    """The facts of the device that its MDM says too. The serial number and the UUID are how it was found there."""
    found = []
    if _value(facts, "mdm.enrolled") is True:
        found += [name for name in ("device.serial", "device.uuid") if _value(facts, name) is not None]
    encrypted = _value(facts, "disk.root_encrypted")
    if encrypted is not None and encrypted is _value(facts, "mdm.disk_encrypted"):
        found.append("disk.root_encrypted")
    version, known = str(_value(facts, "os.version") or ""), str(_value(facts, "mdm.os_version") or "")
    if version and known and (version == known or version.startswith(f"{known}.")):
        found.append("os.version")
    return found


def _value(facts: Mapping[str, Fact], name: str) -> Any:
    fact = facts.get(name)
    return None if fact is None or fact.absent is not None else fact.value


def _crypt(value: object) -> str:
    return "encrypted" if value is True else "not encrypted"


def _shown(value: object) -> str:
    """A device's own words, short and without what a terminal obeys."""
    return "".join(c if c.isprintable() else " " for c in str(value)[:40])
