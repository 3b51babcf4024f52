"""The device key: made once, private to its owner, and named as the gateway names it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from agent import wire
from agent.device_key import DeviceKey
from agent.errors import AgentError
from gateway.identity.device_key import DeviceKey as GatewaysDeviceKey


def test_a_new_key_is_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        key = DeviceKey.create(tmp_path / "device.pem")
    finally:
        os.umask(before)
    found = (tmp_path / "device.pem").stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == os.geteuid()
    assert DeviceKey.load(tmp_path / "device.pem").id == key.id


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    key = DeviceKey.create(tmp_path / "device.pem")
    with pytest.raises(FileExistsError):
        DeviceKey.create(tmp_path / "device.pem")
    assert DeviceKey.load(tmp_path / "device.pem").id == key.id


def test_no_key_is_made_at_the_other_end_of_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "device.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        DeviceKey.create(tmp_path / "device.pem")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o700 | 0o001, 0o620])
def test_a_key_that_others_may_know_is_refused(tmp_path: Path, mode: int) -> None:
    DeviceKey.create(tmp_path / "device.pem")
    (tmp_path / "device.pem").chmod(mode)
    with pytest.raises(AgentError, match="mode 0600"):
        DeviceKey.load(tmp_path / "device.pem")


def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    DeviceKey.create(tmp_path / "device.pem")
    load = "import sys; from pathlib import Path; from agent.device_key import DeviceKey; from agent.errors import AgentError\n"
    load += "try: DeviceKey.load(Path(sys.argv[1]))\nexcept AgentError as error: print(error)"
    other = 12345 if os.geteuid() == 0 else None
    if other is not None:
        os.chown(tmp_path / "device.pem", other, -1)
    else:
        (tmp_path / "device.pem").chmod(0o644)
    said = subprocess.run(
        [sys.executable, "-c", load, str(tmp_path / "device.pem")], capture_output=True, text=True, check=True
    ).stdout
    assert "belongs to the agent's user" in said


def test_a_symbolic_link_to_a_key_is_refused(tmp_path: Path) -> None:
    DeviceKey.create(tmp_path / "real.pem")
    (tmp_path / "device.pem").symlink_to("real.pem")
    with pytest.raises(AgentError, match="cannot be read"):
        DeviceKey.load(tmp_path / "device.pem")


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("pipe", "folder"):
        with pytest.raises(AgentError):
            DeviceKey.load(tmp_path / name)


def pem(key: object) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    made: bytes = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"-----BEGIN PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP256R1()))[:100],
    ],
    ids=["empty", "zeros", "cut", "other-curve", "other-kind", "truncated"],
)
def test_a_file_that_holds_no_key_of_this_kind_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "device.pem").write_bytes(content)
    (tmp_path / "device.pem").chmod(0o600)
    with pytest.raises(AgentError, match="enrol URL again"):
        DeviceKey.load(tmp_path / "device.pem")


def test_a_machine_without_a_key_is_not_enrolled(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="not enrolled"):
        DeviceKey.load(tmp_path / "device.pem")


def test_agent_and_gateway_give_one_key_one_name() -> None:
    for _ in range(300):  # one key in 128 has a coordinate that begins with a zero byte
        key = DeviceKey(ec.generate_private_key(ec.SECP256R1()))
        assert GatewaysDeviceKey.from_jwk(key.jwk).thumbprint == key.id


def test_the_name_is_the_thumbprint_of_rfc_7638() -> None:
    """The key pair of RFC 7515 appendix A.3."""
    x, y = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    private = jwt.PyJWK(
        {"kty": "EC", "crv": "P-256", "x": x, "y": y, "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}, "ES256"
    ).key
    key = DeviceKey(private)
    assert key.jwk == {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    assert key.id == "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"


def test_what_is_signed_carries_a_time_and_something_that_never_comes_twice(device_key: DeviceKey) -> None:
    tokens = [device_key.sign(wire.TYP_SESSION, {"a": 1}, now=1000.5) for _ in range(2)]
    said = [jwt.decode(token, options={"verify_signature": False}) for token in tokens]
    assert [each["iat"] for each in said] == [1000.5, 1000.5]
    assert said[0]["jti"] != said[1]["jti"]
    assert jwt.get_unverified_header(tokens[0]) == {"alg": "ES256", "typ": wire.TYP_SESSION, "kid": device_key.id}


def test_an_enrolment_carries_the_public_key_and_nothing_private(device_key: DeviceKey) -> None:
    header = jwt.get_unverified_header(device_key.sign(wire.TYP_ENROLMENT, {}, now=0.0))
    assert header["jwk"] == device_key.jwk
    assert "d" not in json.dumps(sorted(header["jwk"]))
