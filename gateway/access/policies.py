"""The policies that were ever in force, by the hash of their meaning: whoever explains a decision needs the very same one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlmodel import Session

from gateway.policy.load import assemble
from gateway.policy.policy import Policy
from gateway.store import tables


def keep(db: Session, policy: Policy, files: Mapping[str, bytes], *, now: datetime) -> None:
    """Keep the texts of a policy that is in force from now on, once."""
    if db.get(tables.PolicyText, policy.version) is None:
        texts = {name: text.decode("utf-8-sig") for name, text in files.items()}
        db.add(tables.PolicyText(version=policy.version, name=policy.name, files=texts, first_seen_at=now))
        db.flush()


def kept(db: Session, version: str) -> Policy | None:
    """Give the policy of this version. None: its texts were not kept, or this version of Sallyport reads them otherwise."""
    row = db.get(tables.PolicyText, version)
    policy = assemble({name: text.encode() for name, text in row.files.items()}) if row else None
    return policy if policy is not None and policy.version == version else None
