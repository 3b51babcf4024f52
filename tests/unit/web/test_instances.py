"""Several instances of the tunnel: sessions spread over them, and what befalls one of them leaves the others alone."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from agent import wire
from gateway.access.addresses import Pool
from gateway.cli.tunnel import chosen
from gateway.errors import SettingsError, TunnelError
from gateway.settings import Settings
from tests.sim.gateway import FULL, QUARANTINE, Device, World

NETWORKS = ip_network("100.96.0.0/24"), ip_network("fd53::/64")


@pytest.fixture
def two(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, instances=2)
    world.tick()
    yield world
    world.close()


def told(device: Device) -> wire.TunnelConfig:
    return wire.TunnelConfig.from_json(device.ask_credential().json()["tunnel"])


def where(world: World, device: Device) -> list[int]:
    return [at for at, tunnel in enumerate(world.tunnels) if tunnel.peer(device.public_key) is not None]


def test_a_session_goes_to_the_instance_that_has_the_fewest(two: World) -> None:
    devices = [two.device(f"laptop{number}", user=f"user{number}").connect() for number in range(4)]
    assert [where(two, device) for device in devices] == [[0], [1], [0], [1]]
    assert [told(device).endpoint for device in devices[:2]] == ["192.0.2.1:51820", "192.0.2.1:51821"]
    assert [told(device).addresses[0] for device in devices] == [
        "100.96.0.2/32", "100.96.0.130/32", "100.96.0.3/32", "100.96.0.131/32",
    ]  # fmt: skip
    for device in (devices[0], devices[2]):
        device.leave()
    late = [two.device(f"late{number}", user=f"late{number}").connect() for number in range(2)]
    assert [where(two, device) for device in late] == [[0], [0]]
    assert len(two.deployment.enforcement.status.peers) <= 4


def test_all_instances_have_the_same_key_and_each_its_port(two: World) -> None:
    seen = [tunnel.status() for tunnel in two.tunnels]
    assert [status.listen_port for status in seen] == [51820, 51821]
    assert {status.private_key for status in seen} == {two.end.private_key}


def test_an_instance_that_is_gone_leaves_the_sessions_of_the_others_alone(two: World) -> None:
    here, there = (two.device(name, user=name).connect() for name in ("here", "there"))
    two.tunnels[1].stop()
    assert not two.deployment.enforcement.whole
    with pytest.raises(TunnelError):
        two.deployment.enforcement.tick(now=two.clock.time)
    assert here.report({"firewall.enabled": False}).json()["tier"] == "quarantine"
    assert two.tunnels[0].permits(here.public_key) == QUARANTINE
    two.deployment.enforcement.kill(here.session, by="carol", reason="lost", now=two.clock.time)
    assert where(two, here) == []
    two.tunnels[1].start()
    two.tick()
    assert two.tunnels[1].permits(there.public_key) is not None
    assert two.deployment.enforcement.whole


def test_a_kill_reaches_the_instance_of_the_session(two: World) -> None:
    devices = [two.device(name, user=name).connect() for name in ("one", "other")]
    two.deployment.enforcement.kill(devices[1].session, by="carol", reason="lost", now=two.clock.time)
    assert [where(two, device) for device in devices] == [[0], []]


def test_leases_are_renewed_at_every_instance(two: World) -> None:
    devices = [two.device(name, user="alice").connect() for name in ("one", "other")]
    for _ in range(4):
        two.passes(20)
        for device in devices:
            assert device.report().status_code == 200
        two.tick()
    for tunnel, device in zip(two.tunnels, devices, strict=True):
        assert tunnel.permits(device.public_key) == FULL


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 16])
def test_slices_do_not_meet_and_a_place_is_the_same_address_for_any_number_of_instances(count: int) -> None:
    pool, whole = Pool(NETWORKS, count), Pool(NETWORKS)
    seen: list[int] = []
    for instance in range(count):
        for place in pool.places(instance):
            assert pool.at(place) == whole.at(place)
            assert {pool.instance(ip_network(address)) for address in pool.at(place)} == {instance}
            seen.append(place)
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(whole.places(0))


def test_every_place_of_every_instance_is_given_before_there_is_none(tmp_path: Path) -> None:
    world = World(tmp_path, networks=("10.0.0.0/28",), instances=2)
    world.tick()
    for number in range(10):
        world.device(f"laptop{number}", user=f"user{number}").connect()
    late = world.device("late", user="late")
    late.begin()
    late.report()
    assert late.ask_credential().json()["code"] == "no-address"
    assert [len(tunnel.status().peers) for tunnel in world.tunnels] == [5, 5]
    world.close()


def test_the_command_asks_which_of_several_it_is() -> None:
    read = Settings.from_environment({"SALLYPORT_TUNNEL_INSTANCES": "2"})
    assert chosen(read, 1).interface == "sallyport1"
    assert chosen(Settings.from_environment({}), None).interface == "sallyport0"
    for wrong in (None, -1, 2):
        with pytest.raises(SettingsError, match="--instance must be 0 to 1"):
            chosen(read, wrong)


def test_names_ports_and_slices_are_counted_on() -> None:
    read = Settings.from_environment(
        {
            "SALLYPORT_TUNNEL_INSTANCES": "3",
            "SALLYPORT_TUNNEL_INTERFACE": "vpn9",
            "SALLYPORT_TUNNEL_ADDRESSES": "10.0.0.0/24,fd00::/64",
            "SALLYPORT_TUNNEL_ENDPOINT": "vpn.example:51820",
        }
    )
    assert [(each.interface, each.port, *map(str, each.addresses)) for each in read.tunnel_instances] == [
        ("vpn9", 51820, "10.0.0.0/26", "fd00::/122"),
        ("vpn10", 51821, "10.0.0.64/26", "fd00::40/122"),
        ("vpn11", 51822, "10.0.0.128/26", "fd00::80/122"),
    ]
    assert Settings.from_environment({}).tunnel_instances[0].interface == "sallyport0"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"INSTANCES": "0"}, "from 1 to 64"),
        ({"INSTANCES": "many"}, "from 1 to 64"),
        ({"INSTANCES": "4", "ADDRESSES": "10.0.0.0/28"}, "each has 4, and needs 8"),
        ({"INSTANCES": "2", "ENDPOINT": "127.0.0.1:65535"}, "port 65536"),
        ({"INSTANCES": "2", "INTERFACE": "interfacename-9"}, "interfacename-10"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_why(settings: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Settings.from_environment({f"SALLYPORT_TUNNEL_{name}": value for name, value in settings.items()})
