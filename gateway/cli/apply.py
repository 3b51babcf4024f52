"""`sallyport policy apply` and `policy breaker`: a signed policy into the gateway's database, and the answer that a hold waits for."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from gateway.access import application, breaker
from gateway.access.application import Outcome, Proposal
from gateway.access.policies import NAMESPACE, signers_of
from gateway.cli import fleet
from gateway.cli import plan as plans
from gateway.errors import HostError, SettingsError
from gateway.identity import sshsig
from gateway.policy.load import load_policy, texts
from gateway.policy.plan import Limit, Plan
from gateway.policy.policy import Policy
from gateway.policy.stage import EVERYBODY, Budget
from gateway.settings import Settings
from gateway.store.engine import reading, writing

LONGEST_NOTE = 500


def configure(parser: argparse.ArgumentParser) -> None:
    """Add for whom, by whose key, and the limits."""
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--key", type=Path, metavar="FILE", help="sign with this Ed25519 key in OpenSSH's format")
    how.add_argument("--print-manifest", action="store_true", help="print what has to be signed, and apply nothing")
    signed = f"a signature of it, made with `ssh-keygen -Y sign -n {NAMESPACE}`"
    how.add_argument("--signature", type=Path, metavar="FILE", help=signed)
    parser.add_argument(
        "--share", type=_share, metavar="P%", help="only for this share of the devices, always the same ones"
    )
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="only for this group; repeatable")
    parser.add_argument("--note", type=_note, default="", metavar="TEXT", help="why, for the audit log")
    parser.add_argument(
        "--max-killed", type=plans.limit, metavar="N|P%", help="refuse when more sessions would be killed"
    )
    parser.add_argument("--max-downgraded", type=plans.limit, metavar="N|P%", help="the same for downgraded sessions")


def _share(text: str) -> int:
    try:
        limit = Limit.parse(text)
    except ValueError:
        limit = None
    if limit is None or limit.percent is None or limit.percent != int(limit.percent):
        raise argparse.ArgumentTypeError(f"{text} is no share; allowed is a whole percentage, for example 10%")
    return int(limit.percent)


def _note(text: str) -> str:
    if len(text) > LONGEST_NOTE or not text.isprintable():
        raise argparse.ArgumentTypeError(f"is no note; allowed are up to {LONGEST_NOTE} printable characters")
    return text


def run(arguments: argparse.Namespace) -> Outcome | Proposal:
    """Apply the policy, or only say what would be signed. Raises GatewayError; nothing has changed then."""
    policy, files = load_policy(arguments.policy), texts(arguments.policy)
    settings = Settings.from_environment()
    if settings.policy_signers is None:
        raise SettingsError(
            "SALLYPORT_POLICY_SIGNERS is not set: it must be the file of allowed signers, as for `serve`"
        )
    staged = arguments.share is not None or arguments.group
    share = (arguments.share or 0) if staged else EVERYBODY
    with fleet.database() as engine:
        with reading(engine) as db:
            made = application.proposed(db, policy, files, share=share, groups=arguments.group, note=arguments.note)
        if arguments.print_manifest:
            return made
        signature = _signature(arguments, made)
        with writing(engine) as db:
            return application.apply(
                db,
                made,
                signature,
                signers=signers_of(settings.policy_signers),
                folder=_folder(settings) if staged else None,
                budget=Budget(settings.breaker_share, settings.breaker_window, settings.breaker_floor),
                admin_group=settings.admin_group,
                limits=_limits(arguments),
                now=datetime.now(UTC),
            )


def _folder(settings: Settings) -> Policy | None:
    return load_policy(settings.policy_dir) if settings.policy_dir is not None else None


def _limits(arguments: argparse.Namespace) -> Callable[[Plan], str | None]:
    def exceeded(plan: Plan) -> str | None:
        over = [gate for gate in plans.gates(arguments, plan) if gate["exceeded"]]
        told = (f"at most {g['limit']} may be {g['effect']}, and {g['sessions']} of {g['of']} would be" for g in over)
        return "; ".join(told) or None

    return exceeded


def _signature(arguments: argparse.Namespace, made: Proposal) -> str:
    if arguments.signature is not None:
        return _read(arguments.signature).decode("ascii", "replace")
    return sshsig.sign(made.manifest.text(), _key(arguments.key), NAMESPACE)


def _key(file: Path) -> Ed25519PrivateKey:
    raw = _read(file)
    try:
        try:
            key = load_ssh_private_key(raw, None)
        except TypeError:  # it is encrypted
            key = load_ssh_private_key(raw, getpass.getpass(f"passphrase of {file}: ", stream=sys.stderr).encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise HostError(f"{file} holds no private key in OpenSSH's format, or the passphrase is another one") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise HostError(f"{file} is no Ed25519 key; make one with ssh-keygen -t ed25519")
    return key


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(65536)
    except OSError as error:
        raise HostError(f"{file} cannot be read: {error.strerror}") from None


def as_text(done: Outcome) -> Iterator[str]:
    """Write what applying did for a person."""
    yield f"applied as number {done.number}; gateways take it within a second"
    yield from plans.as_text(done.plan, "live", [])
    if done.hold is not None:
        yield f"HELD: hold {done.hold} keeps these sessions as they are; new sessions are judged by the new policy"
        yield f"let it go on: sallyport policy breaker proceed {done.hold}"
        yield "or take it back: apply another policy"


def as_json(done: Outcome) -> dict[str, Any]:
    return {"number": done.number, "hold": done.hold, "plan": plans.as_json(done.plan, "live", [])}


# --- the breaker ---


def configure_breaker(parser: argparse.ArgumentParser) -> None:
    """Add what to do about a hold."""
    parser.add_argument("answer", nargs="?", choices=["proceed"], help="let what is held take effect; without it, list")
    parser.add_argument("hold", nargs="?", type=_number, metavar="NUMBER", help="the number of the hold")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text} is no number of a hold")
    return int(text)


def pending() -> list[dict[str, Any]]:
    """List the open holds."""
    with fleet.database() as engine, reading(engine) as db:
        return [breaker.shown(db, hold) for hold in breaker.pending(db)]


def proceed(number: int) -> int:
    """Let a hold go on, in the name of the user of this machine. Says how many sessions it held. Raises GatewayError."""
    with fleet.database() as engine, writing(engine) as db:
        return breaker.proceed(db, number, by=f"{_user()} on the gateway's host", now=datetime.now(UTC))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def holds_as_text(holds: list[dict[str, Any]]) -> Iterator[str]:
    if not holds:
        yield "nothing is held"
    for hold in holds:
        opened = datetime.fromtimestamp(hold["opened_at"], UTC)
        yield f"hold {hold['hold']}: {hold['cause']}, since {opened:%Y-%m-%d %H:%M:%S} UTC"
        yield f"  {hold['affected']} of {hold['live']} live sessions would have been cut; {hold['held']} are held now"
        yield f"  let it go on: sallyport policy breaker proceed {hold['hold']}"
