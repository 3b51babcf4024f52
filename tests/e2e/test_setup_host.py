"""`sallyport setup-host`: what root makes once, and a tunnel of an ordinary user with no capability at all on it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.errors import HostError
from gateway.programs import Program
from tests.e2e.test_privilege import gave_up_everything
from tests.interop.ends import PORT, End, until, wg

UID, STRANGER = 64321, 64322
SALLYPORT = [sys.executable, "-m", "gateway"]
FORWARDING = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"]
KEEP_FILES_APART = (
    "for each in sallyport wireguard; do mount -t tmpfs -o mode=755 tmpfs /run/$each; done; exec sleep infinity"
)


class Machine:
    """A host with files of its own under /run, whose names of users and interfaces nobody else has."""

    def __init__(self, host: Host, keeper: int, *, number: int = 0) -> None:
        self.host = host
        self.interface = f"sph{os.getpid()}x{number}"
        self.keeper = keeper
        self._settings = {
            "SALLYPORT_TUNNEL_INTERFACE": self.interface,
            "SALLYPORT_TUNNEL_ADDRESSES": "10.99.0.0/24,fd99::/64",
            "SALLYPORT_TUNNEL_ENDPOINT": f"192.0.2.1:{PORT}",
            "PYTHONUNBUFFERED": "1",
        }

    def command(self, *arguments: str) -> list[str]:
        settings = [f"{name}={value}" for name, value in self._settings.items()]
        within = ["nsenter", f"--mount=/proc/{self.keeper}/ns/mnt", f"--net=/run/netns/{self.host.name}"]
        return [*within, f"--wdns={os.getcwd()}", "env", *settings, *arguments]

    def run(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(self.command(*arguments), input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HostError(done.stderr)
        return done.stdout

    def setup(self, *arguments: str, within: Sequence[str] = ()) -> None:
        self.run(*within, *SALLYPORT, "setup-host", *arguments)

    def tunnel(self, uid: int = UID) -> Program:
        """The tunnel as an ordinary user: no group, no capability, and none to be had."""
        ids = ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
        powerless = ["setpriv", *ids, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        return Program("tunnel", self.command(*powerless, *SALLYPORT, "tunnel"))

    def state(self) -> dict[str, str]:
        """What setup-host may change."""
        told = {path: self.run("cat", path).strip() for path in FORWARDING}
        told["links"] = " ".join(each["ifname"] for each in json.loads(self.run("ip", "-j", "link")))
        return told | {"folder": self.run("stat", "-c", "%u:%g %a", "/run/wireguard"), "made": self.run("ls", "/run/sallyport")}  # fmt: skip


@pytest.fixture
def machine() -> Iterator[Machine]:
    host = Host.create("gateway", mark=f"{namespaces.owner_mark()}-h")
    Path("/run/sallyport").mkdir(exist_ok=True)
    Path("/run/wireguard").mkdir(exist_ok=True)
    with subprocess.Popen(host.command("sh", "-ec", KEEP_FILES_APART)) as keeper:
        try:
            until(lambda: "/run/wireguard" in Path(f"/proc/{keeper.pid}/mounts").read_text(), "files of its own")
            yield Machine(host, keeper.pid)
        finally:
            keeper.kill()
            host.remove()


def test_the_undo_leaves_the_host_as_it_was_and_both_may_be_repeated(machine: Machine) -> None:
    machine.run("sh", "-c", f"echo 0 > {FORWARDING[0]}")
    before = machine.state()
    machine.setup("--undo")
    machine.setup("--user", str(UID))
    once = machine.state()
    machine.setup("--user", str(UID))
    assert machine.state() == once != before
    assert once[FORWARDING[0]] == once[FORWARDING[1]] == "1"
    assert machine.interface in once["links"]
    routes = machine.run("ip", "route") + machine.run("ip", "-6", "route")
    assert f"10.99.0.0/24 dev {machine.interface}" in routes
    assert f"fd99::/64 dev {machine.interface}" in routes
    for _ in range(2):
        machine.setup("--undo")
        assert machine.state() == before


def test_the_undo_of_one_interface_leaves_what_another_needs(machine: Machine) -> None:
    machine.run("sh", "-c", f"echo 0 > {FORWARDING[0]}")
    other = Machine(machine.host, machine.keeper, number=1)
    for each in (machine, other):
        each.setup("--user", str(UID))
    before = machine.state()
    machine.setup("--undo")
    after = machine.state()
    assert (after[FORWARDING[0]], after["folder"]) == (before[FORWARDING[0]], before["folder"])
    assert machine.interface not in after["links"]
    assert other.interface in after["links"]


def test_an_interface_of_somebody_else_is_left_alone(machine: Machine) -> None:
    machine.run("ip", "link", "add", machine.interface, "type", "veth", "peer", "name", "other")
    with pytest.raises(HostError, match=r"^error: .* exists and is no persistent TUN of user"):
        machine.setup("--user", str(UID))
    machine.setup("--undo")
    assert machine.interface in machine.state()["links"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [((), "say for whom"), (("--user", "no-such-user"), "there is no user 'no-such-user'")],
)
def test_a_wrong_user_is_refused_in_one_line(machine: Machine, arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(HostError, match=f"^error: {complaint}.*\n$"):
        machine.setup(*arguments)


@pytest.mark.parametrize("uid", [UID, STRANGER])
def test_without_a_tun_of_its_own_the_tunnel_says_what_to_do(machine: Machine, uid: int) -> None:
    if uid == STRANGER:
        machine.setup("--user", str(UID))
    with (
        contextlib.closing(Ending(machine.tunnel(uid))) as ending,
        pytest.raises(HostError, match="sallyport setup-host"),
    ):
        ending.program.wait_for("tunnel ready", timeout=30)


@pytest.mark.parametrize(
    "damage",
    [
        "ip address delete 10.99.0.1/24 dev {}",
        "ip link set {} down",
        "ip link set {} mtu 1400",
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
    ],
)
def test_the_tunnel_says_what_its_host_lacks(machine: Machine, damage: str) -> None:
    machine.setup("--user", str(UID))
    machine.run("sh", "-ec", damage.format(machine.interface))
    with contextlib.closing(Ending(machine.tunnel())) as ending, pytest.raises(HostError, match="setup-host"):
        ending.program.wait_for("tunnel ready", timeout=30)
    machine.setup("--user", str(UID))
    with contextlib.closing(Ending(machine.tunnel())) as ending:
        ending.program.wait_for("tunnel ready", timeout=30)


def test_net_admin_is_enough_where_the_group_may_write_to_the_folder_as_in_a_pod(machine: Machine) -> None:
    machine.run("sh", "-ec", f"chown root:{UID} /run/wireguard; chmod 2777 /run/wireguard")
    init_container = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", "--no-new-privs"]
    for _ in range(2):
        machine.setup("--user", str(UID), within=init_container)
    assert machine.state()["folder"] == f"0:{UID} 2777\n"
    with contextlib.closing(Ending(machine.tunnel())) as ending:
        ending.program.wait_for("tunnel ready", timeout=30)
        assert machine.run("stat", "-c", "%u:%g %a", f"/run/wireguard/{machine.interface}.sock") == f"{UID}:{UID} 660\n"


class Ending:
    """Ends a program at the end of a `with`."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def close(self) -> None:
        self.program.end()


@pytest.fixture
def client(machine: Machine) -> Iterator[End]:
    """A stock wireguard-go on a wire to the gateway."""
    with contextlib.ExitStack() as stack:
        host = Host.create("client", mark=f"{namespaces.owner_mark()}-h")
        stack.callback(host.remove)
        end = End(host, 2, f"wg{os.getpid()}h", "wireguard-go")
        machine.host.ip("link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", host.name)
        for number, each in ((1, machine.host), (2, host)):
            each.ip("address", "add", f"192.0.2.{number}/24", "dev", "wire")
            each.ip("link", "set", "wire", "up")
        end.start(stack)
        end.address()
        yield end


def test_a_tunnel_with_no_capability_at_all_serves_a_stock_client_both_ways(machine: Machine, client: End) -> None:
    gateway = End(machine.host, 1, machine.interface, "sallyport")
    machine.setup("--user", str(UID))
    for _ in range(2):  # the second time it attaches to the same TUN anew
        program = machine.tunnel()
        try:
            program.wait_for("tunnel ready", timeout=30)
            until(lambda program=program: gave_up_everything(program.pid), "its filter")  # type: ignore[misc]
            key = ["private-key", "/dev/stdin", "peer", client.public_key, "allowed-ips", "10.99.0.2/32,fd99::2/128"]
            machine.run("wg", "set", machine.interface, *key, text=gateway.private_key)
            theirs = [
                "peer",
                gateway.public_key,
                "endpoint",
                f"192.0.2.1:{PORT}",
                "allowed-ips",
                "10.99.0.0/24,fd99::/64",
            ]
            wg("set", client.interface, "private-key", "/dev/stdin", *theirs, text=client.private_key)
            for version in (4, 6):
                client.ping(gateway, version)
                gateway.ping(client, version)
            with pytest.raises(HostError):
                machine.run("wg", "set", machine.interface, "fwmark", "1")
            wg("set", client.interface, "peer", gateway.public_key, "remove")  # or it would wait for the old session
        finally:
            program.end()
        assert program.exit_status() == 0, program.tail()
        assert machine.run("ls", "/run/wireguard") == ""
        assert machine.interface in machine.state()["links"]
