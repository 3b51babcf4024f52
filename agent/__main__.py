"""The command `sallyport-agent`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from agent import bugreport, doctor, screen, tpm, wire
from agent.addresses import Addresses
from agent.answers import printable
from agent.client import Gateway, origin
from agent.collect import Collection
from agent.collect.linux import antivirus
from agent.errors import AgentError
from agent.footprint import Footprint
from agent.login import log_in, log_in_elsewhere
from agent.run import Agent
from agent.state import DEFAULT_FOLDER, State
from agent.status import StatusBoard
from agent.tpm import Tpm
from agent.tunnel import BACKENDS, INTERFACE, Tunnel
from agent.watch import Watches
from agent.wire import AGENT_VERSION, Enrolment

STATE_DIR: Final = "SALLYPORT_AGENT_STATE_DIR"
TPM: Final = "SALLYPORT_AGENT_TPM"
CLAMD_SOCKET: Final = "SALLYPORT_AGENT_CLAMD_SOCKET"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 1 after `error: …` (for `status`: not connected), 2 for a wrong call."""
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed, State(_folder())))
    except AgentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="sallyport-agent", description="Reports this machine's posture and keeps its tunnel up."
    )
    made.add_argument("--version", action="version", version=f"sallyport-agent {AGENT_VERSION}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    enrol = commands.add_parser("enrol", help="bind this machine to a gateway and log in")
    enrol.add_argument("url", metavar="URL", help="the gateway, for example https://gateway.example.com")
    enrol.add_argument(
        "--ca", type=Path, metavar="FILE", help="trust only this authority for the gateway's certificate"
    )
    enrol.add_argument("--name", default=socket.gethostname(), help="what administrators call this machine")
    enrol.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="enrol without a person, by the enrolment key in this file; - reads it from the input",
    )
    enrol.set_defaults(run=_enrol)

    login = commands.add_parser("login", help="log in again")
    login.add_argument("--name", default=socket.gethostname(), help=argparse.SUPPRESS)
    login.add_argument(
        "--for", dest="resource", metavar="RESOURCE", help="log in as young or strong as this resource asks"
    )
    login.set_defaults(run=_login)
    logout = commands.add_parser("logout", help="end this machine's login and its session")
    logout.set_defaults(run=_logout)
    for command in (enrol, login):
        command.add_argument(
            "--device-code", action="store_true", help="log in on another machine, by a code; the policy must allow it"
        )
        command.add_argument("--no-browser", action="store_true", help="print the address instead of opening a browser")

    run = commands.add_parser("run", help="report and keep the tunnel up, in the foreground")
    run.add_argument("--interface", default=INTERFACE, help=f"name of the tunnel's interface, {INTERFACE}")
    run.add_argument("--backend", choices=BACKENDS, help="take this WireGuard and no other")
    run.set_defaults(run=_run)

    down = commands.add_parser("down", help="put back what an agent that was killed has left: routes, blocks, DNS")
    down.set_defaults(run=_down)

    status = commands.add_parser("status", help="connected or not, the tier, what is wrong and how to fix it")
    how = status.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="for programs")
    how.add_argument("--watch", action="store_true", help="again every 2 s, until Ctrl-C")
    status.set_defaults(run=_status)

    examine = commands.add_parser("doctor", help="find what is broken on this machine, with what to do next")
    examine.add_argument("--json", action="store_true", help="for programs")
    examine.set_defaults(run=_doctor)

    collect = commands.add_parser("bugreport", help="write what helps to find a fault, with secrets removed")
    collect.add_argument("--output", type=Path, metavar="FILE", help="write there; left out, print it")
    collect.set_defaults(run=_bugreport)

    report = commands.add_parser("report", help="show what would be reported")
    report.add_argument("--print", action="store_true", required=True, help="print the facts as JSON and send nothing")
    report.set_defaults(run=_report)
    return made


def _folder() -> Path:
    folder = Path(os.environ.get(STATE_DIR) or DEFAULT_FOLDER)
    if not folder.is_absolute():
        raise AgentError(f"{STATE_DIR}={str(folder)!r} must be an absolute path")
    return folder


def _clamd_sockets() -> tuple[Path, ...]:
    chosen = os.environ.get(CLAMD_SOCKET)
    if chosen and not Path(chosen).is_absolute():
        raise AgentError(f"{CLAMD_SOCKET}={chosen!r} must be an absolute path")
    return (Path(chosen),) if chosen else antivirus.SOCKETS


def _enrol(parsed: argparse.Namespace, state: State) -> int:
    if parsed.ca is not None and not parsed.ca.is_file():
        raise AgentError(f"--ca {parsed.ca}: there is no such file")
    url = origin(parsed.url)
    enrolment_key = _enrolment_key(parsed.key_file) if parsed.key_file is not None else None
    state.prepare()
    return _bind(state, url, parsed.ca, parsed, enrolment_key=enrolment_key)


def _enrolment_key(file: Path) -> str:
    try:
        text = sys.stdin.read(1000) if str(file) == "-" else file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentError(f"--key-file {file} cannot be read ({error})") from None
    if not text.strip():
        raise AgentError(f"--key-file {file} holds no enrolment key")
    return text.strip()


def _login(parsed: argparse.Namespace, state: State) -> int:
    return _bind(state, state.enrolment().gateway, state.authority(), parsed, resource=parsed.resource)


def _logout(_parsed: argparse.Namespace, state: State) -> int:
    gateway = Gateway(state.enrolment().gateway, state.key(), state.authority())
    try:
        location = gateway.log_out()
    finally:
        gateway.close()
    print(f"this machine is logged out; to log out at the provider too, open {printable(location)}")
    return 0


def _bind(
    state: State,
    url: str,
    authority: Path | None,
    parsed: argparse.Namespace,
    *,
    enrolment_key: str | None = None,
    resource: str | None = None,
) -> int:
    key = state.key_or_new()
    gateway = Gateway(url, key, authority)
    try:
        if enrolment_key is not None:
            user = gateway.redeem(parsed.name, enrolment_key)
        elif parsed.device_code:
            user = log_in_elsewhere(gateway, parsed.name, tell=_tell_code, resource=resource)
        else:
            user = log_in(gateway, parsed.name, tell=_tell, browser=not parsed.no_browser, resource=resource)
    finally:
        gateway.close()
    state.keep_enrolment(Enrolment(url, key.id, user), authority)
    print(f"this machine is enrolled at {url} for {user}")
    return 0


def _tell_code(address: str, code: str) -> None:
    print(f"on another machine, open {address} and type the code {code}", flush=True)


def _tell(url: str) -> None:
    print(f"open this address to log in: {url}", flush=True)


def _run(parsed: argparse.Namespace, state: State) -> int:
    enrolment = state.enrolment()
    with state.alone():
        addresses = Addresses(state.folder / "addresses.json")
        gateway = Gateway(enrolment.gateway, state.key(), state.authority(), addresses=addresses)
        watches = Watches(_clamd_sockets(), login=state.enrolment_file)
        tunnel = Tunnel(parsed.interface, parsed.backend, Footprint(state.folder))
        board = StatusBoard(state, enrolment, tunnel, watches.missing)
        agent = Agent(gateway, Collection(_clamd_sockets()), watches, tunnel, board, nonce=state, tpm=_tpm(), say=_say)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: agent.stop())
        agent.run()
        watches.close()
        gateway.close()
    return 0


def _tpm() -> Tpm | None:
    """The TPM that is named, else the machine's own where the extra is installed."""
    place = os.environ.get(TPM) or tpm.of_this_machine()
    return Tpm(place) if place else None


def _down(_parsed: argparse.Namespace, state: State) -> int:
    if state.running():
        raise AgentError("the agent runs: stop it first, then nothing is left to put back")
    with state.alone():
        Footprint(state.folder).clear()
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _status(parsed: argparse.Namespace, state: State) -> int:
    return screen.watch(state) if parsed.watch else screen.show(state, as_json=parsed.json)


def _doctor(parsed: argparse.Namespace, state: State) -> int:
    found = []
    for seen in doctor.examine(state):
        found.append(seen)
        if not parsed.json:
            print(seen.line(), *([f"     next: {seen.fix}"] if seen.fix else []), sep="\n", flush=True)
    if parsed.json:
        print(json.dumps([asdict(seen) for seen in found], indent=2))
    return 0 if all(seen.right for seen in found) else 1


def _bugreport(parsed: argparse.Namespace, state: State) -> int:
    text = bugreport.write(state, lambda: wire.told(Collection(_clamd_sockets()).everything(now=time.time())))
    if parsed.output is None:
        print(text)
        return 0
    try:
        with open(os.open(parsed.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as opened:
            opened.write(text)
    except OSError as error:
        raise AgentError(f"{parsed.output} cannot be written ({error.strerror})") from None
    print(f"{parsed.output}: read it before you send it; names and addresses of this network are in it")
    return 0


def _report(_parsed: argparse.Namespace, _state: State) -> int:
    print(json.dumps(wire.told(Collection(_clamd_sockets()).everything(now=time.time())), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
