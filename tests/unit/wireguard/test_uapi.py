"""The configuration protocol: what wg(8) says, what we add, and what is refused."""

from __future__ import annotations

import errno
from ipaddress import ip_network

import pytest

from gateway.packet.drop import Drop
from gateway.packet.permits import Permit
from gateway.wireguard.config import InterfaceConfig, InterfaceStatus, PeerConfig, PeerStatus
from gateway.wireguard.uapi import (
    UapiError,
    format_get,
    format_set,
    parse_endpoint,
    parse_get,
    parse_set,
    show_endpoint,
)

KEY, OTHER = bytes([0xAB]) * 32, bytes([0xCD]) * 32


def parsed(text):
    return parse_set(text.strip().splitlines())


def test_what_wg_sends_is_understood():
    config = parsed(f"""
private_key={KEY.hex()}
listen_port=51820
fwmark=0x2a
replace_peers=true
public_key={OTHER.hex()}
preshared_key={KEY.hex()}
endpoint=[2001:db8::1]:51820
persistent_keepalive_interval=25
replace_allowed_ips=true
allowed_ip=10.0.0.1/8
allowed_ip=fd00::/8
public_key={KEY.hex()}
remove=true
""")
    assert (config.private_key, config.listen_port, config.fwmark, config.replace_peers) == (KEY, 51820, 42, True)
    first, second = config.peers
    assert first.endpoint == ("2001:db8::1", 51820, 0, 0)
    assert first.allowed_ips == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert (first.preshared_key, first.keepalive, first.replace_allowed_ips) == (KEY, 25, True)
    assert second == PeerConfig(KEY, remove=True)


def test_our_own_keys_are_understood():
    (peer,) = parsed(f"""
public_key={OTHER.hex()}
replace_permits=true
permit=10.20.0.10/32 tcp/443
permit=10.20.9.0/28
lease_ms=60000
rate_rx=20000000
""").peers
    assert peer.permits == (Permit.parse("10.20.0.10/32 tcp/443"), Permit.parse("10.20.9.0/28"))
    assert (peer.replace_permits, peer.lease_ms, peer.rate_rx, peer.rate_tx) == (True, 60000, 20_000_000, None)


def test_a_change_is_read_back_as_it_was_written():
    config = InterfaceConfig(
        private_key=KEY,
        listen_port=1,
        peers=(
            PeerConfig(OTHER, endpoint=("192.0.2.1", 5), allowed_ips=(ip_network("10.0.0.1/32"),), lease_ms=0),
            PeerConfig(KEY, replace_permits=True, permits=(Permit.parse("10.0.0.0/8 udp/1-9"),), rate_tx=5),
        ),
    )
    assert parse_set(format_set(config).strip().splitlines()[1:]) == config


def test_a_status_is_read_back_as_it_was_written():
    status = InterfaceStatus(
        private_key=KEY,
        listen_port=51820,
        peers=(
            PeerStatus(OTHER, last_handshake=1_800_000_000.5, rx_bytes=1, tx_bytes=2, drops={Drop.NO_FLOW: 3}),
            PeerStatus(KEY, permits=(), lease_ms=5, endpoint=("fe80::1", 9, 0, 3), keepalive=25),
            PeerStatus(bytes(32), permits=(Permit.parse("10.0.0.0/8"),)),
        ),
        drops={Drop.NO_FLOW: 3, Drop.WRONG_MAC1: 9},
    )
    assert parse_get([*format_get(status).splitlines(), "errno=0"]) == status


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("garbage", errno.EPROTO),
        ("private_key=zz", errno.EINVAL),
        ("listen_port=65536", errno.EINVAL),
        ("listen_port=-1", errno.EINVAL),
        ("fwmark=0xfffffffff", errno.EINVAL),
        ("replace_peers=false", errno.EINVAL),
        ("unknown=1", errno.EINVAL),
        ("public_key=ab", errno.EINVAL),
        (f"public_key={KEY.hex()}\nunknown=1", errno.EINVAL),
        (f"public_key={KEY.hex()}\nprotocol_version=2", errno.EINVAL),
        (f"public_key={KEY.hex()}\nendpoint=example.com:51820", errno.EINVAL),
        (f"public_key={KEY.hex()}\nendpoint=10.0.0.1:0", errno.EINVAL),
        (f"public_key={KEY.hex()}\nendpoint=[10.0.0.1]:5", errno.EINVAL),
        (f"public_key={KEY.hex()}\nallowed_ip=10.0.0.0/40", errno.EINVAL),
        (f"public_key={KEY.hex()}\nlease_ms=-1", errno.EINVAL),
        (f"public_key={KEY.hex()}\nlease_ms=99999999999", errno.EINVAL),
        (f"public_key={KEY.hex()}\npermit=10.0.0.0/8 tcp/0", errno.EINVAL),
        (f"public_key={KEY.hex()}\npersistent_keepalive_interval=65536", errno.EINVAL),
    ],
)
def test_a_wrong_request_is_refused_by_number(text, number):
    with pytest.raises(UapiError) as caught:
        parsed(text)
    assert caught.value.errno == number


@pytest.mark.parametrize("text", ["192.0.2.1:51820", "[2001:db8::1]:1", "[fe80::1%7]:65535"])
def test_endpoints_are_written_as_they_were_read(text):
    assert show_endpoint(parse_endpoint(text)) == text


@pytest.mark.parametrize("line", ["remove=true", "update_only=true", "replace_allowed_ips=true", "made_up=1"])
def test_an_answer_with_what_is_no_status_is_read_without_it(line):
    assert parse_get([f"public_key={KEY.hex()}", line]).peers == (PeerStatus(KEY),)


def test_an_error_answer_is_an_error():
    with pytest.raises(UapiError) as caught:
        parse_get(["errno=98"])
    assert caught.value.errno == 98
