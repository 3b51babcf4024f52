"""Policies in the database: the texts of all that were ever in force, and who applied which, signed.

An application is one row: whoever reads the newest one has the same policy, whole. Every gateway verifies the signature
itself, so that writing to the database is not enough to change a policy. What does not hold is not taken, and the last
good one stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import func
from sqlmodel import Session, col, select

from gateway.errors import PolicyError, SettingsError
from gateway.identity import sshsig
from gateway.identity.sshsig import Signers
from gateway.policy.load import assemble
from gateway.policy.policy import Policy
from gateway.policy.stage import Budget, InForce
from gateway.store import tables

log = structlog.get_logger()


def keep(db: Session, policy: Policy, files: Mapping[str, bytes], *, now: datetime) -> tables.PolicyText:
    """Keep the texts of a policy that is in force from now on, unless texts of the same meaning are kept already."""
    row = db.get(tables.PolicyText, policy.version)
    if row is None:
        row = tables.PolicyText(version=policy.version, name=policy.name, files=readable(files), first_seen_at=now)
        db.add(row)
        db.flush()
    return row


def readable(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: text.decode("utf-8-sig") for name, text in files.items()}


def kept(db: Session, version: str) -> Policy | None:
    """Give the policy of this version. None: its texts were not kept. Raises PolicyError when they do not hold any more."""
    row = db.get(tables.PolicyText, version)
    if row is None:
        return None
    # It keeps its name, although another release of Sallyport may hash the same meaning to something else.
    return replace(assemble({name: text.encode() for name, text in row.files.items()}), version=version)


def digest(files: Mapping[str, bytes]) -> str:
    """Hash the texts of a policy, letter for letter: what a signature is about."""
    return hashlib.sha256(json.dumps(readable(files), sort_keys=True).encode()).hexdigest()


NAMESPACE = "sallyport-policy"
LOOK_EVERY = timedelta(seconds=10)


def signers_of(file: Path | None) -> Signers:
    """Read the allowed signers; without a file nobody may sign. Raises SettingsError."""
    if file is None:
        return {}
    try:
        return sshsig.signers(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"SALLYPORT_POLICY_SIGNERS={file}: {error}") from None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is signed: this policy, for whom, after which application. A signature is good for one place in the order."""

    number: int
    version: str
    texts: str
    share: int
    groups: tuple[str, ...]
    note: str

    def text(self) -> bytes:
        """Write it, always in the same way."""
        members = {
            "groups": sorted(self.groups),
            "note": self.note,
            "number": self.number,
            "policy": self.version,
            "share": self.share,
            "texts": self.texts,
        }
        return json.dumps(members, separators=(",", ":"), sort_keys=True).encode() + b"\n"


class Applied:
    """What a running gateway knows of the applications: the newest that holds, once it has been read."""

    def __init__(self, signers: Signers, budget: Budget) -> None:
        self.budget = budget
        self._signers = signers
        self._seen = 0
        self._looked_at: datetime | None = None
        self.current: InForce | None = None

    def refresh(self, db: Session, *, now: datetime) -> bool:
        """Take the newest application. Says whether every session must be looked at: it changed, or a stage is going on.

        An application that does not hold is logged, and the last good one stays.
        """
        return self._take(db) or self._look_again(now)

    def _look_again(self, now: datetime) -> bool:
        """In a stage, a gateway that read the application a moment later may have judged by the one before."""
        staged = self.current is not None and self.current.before is not None
        if not staged or (self._looked_at is not None and abs(now - self._looked_at) < LOOK_EVERY):
            return False
        self._looked_at = now
        return True

    def _take(self, db: Session) -> bool:
        newest = db.exec(select(func.max(tables.Application.number))).one() or 0
        if newest == self._seen or not self._signers:
            return False
        after = self.current.number if self.current else 0
        rows = select(tables.Application).where(col(tables.Application.number) > after)
        self._seen = newest
        for row in db.exec(rows.order_by(col(tables.Application.number).desc())).all():
            found = self._read(db, row)
            if found is not None:
                self.current = found
                log.info("policy applied", number=found.number, version=found.policy.version, by=row.applied_by)
                return True
        return False

    def _read(self, db: Session, row: tables.Application) -> InForce | None:
        try:
            manifest = Manifest(
                row.number, row.version, _texts(db, row.version), row.share, tuple(row.groups), row.note
            )
            sshsig.verify(manifest.text(), row.signature, self._signers, NAMESPACE)
            policy, before = kept(db, row.version), kept(db, row.before) if row.before else None
            if policy is None or (row.before is not None and before is None):
                raise ValueError("the texts of the policy for the others are not kept")
        except (ValueError, PolicyError) as error:
            log.error("policy refused, the last good one stays", number=row.number, error=str(error)[:500])
            return None
        return InForce(policy, row.number, before, row.share, frozenset(row.groups), self.budget)


def _texts(db: Session, version: str) -> str:
    row = db.get(tables.PolicyText, version)
    if row is None:
        raise ValueError("its texts are not kept")
    return digest({name: text.encode() for name, text in row.files.items()})
