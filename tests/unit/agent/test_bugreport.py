"""What goes to a stranger: every kind of secret that an agent or its machine has is planted, and none comes out."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from agent import bugreport, wire
from agent.bugreport import REMOVED, redact
from agent.device_key import DeviceKey
from agent.state import State

CANARY = "c4n4ry-" + "x" * 20
PEM = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
SIGNED = DeviceKey(ec.generate_private_key(ec.SECP256R1())).sign(wire.TYP_REPORT, {"nonce": CANARY}, now=0.0)


@pytest.mark.parametrize(
    "text",
    [
        f"password={CANARY}",
        f"Password: {CANARY}",
        f'"client_secret": "{CANARY}"',
        f"'api_key': '{CANARY} with words'",
        f"private_key={CANARY}",
        f'{{"nonce": "{CANARY}"}}',
        f"Authorization: Bearer {CANARY}",
        f"authorization: Sallyport {CANARY}",
        f"GET /callback?code={CANARY}&state={CANARY} HTTP/1.1",
        f"https://me:{CANARY}@proxy.example:3128/",
        f"open this address to log in: https://gateway.example/login/x?ticket={CANARY}",
        f"cookie: session={CANARY}",
        f"access_token={CANARY}, more",
    ],
)
def test_whatever_names_a_secret_is_removed_with_it(text: str) -> None:
    assert CANARY not in redact(text)
    assert REMOVED in redact(text)


@pytest.mark.parametrize(
    "secret",
    [
        PEM,
        PEM.replace("-----END PRIVATE KEY-----\n", ""),
        SIGNED,
        secrets.token_bytes(32).hex(),
        "q" * 42 + "A=",
        secrets.token_urlsafe(32),
    ],
    ids=["pem", "cut-pem", "jws", "hex", "wireguard", "token"],
)
def test_what_looks_like_a_secret_is_removed_wherever_it_stands(secret: str) -> None:
    for text in (secret, f"line {secret} line", f'"{secret}"', f"key={secret}\n", f"\n{secret}\n"):
        cleaned = redact(text)
        assert all(part not in cleaned for part in secret.split() if len(part) > 20)


@given(st.binary(min_size=32, max_size=32), st.text(max_size=30), st.text(max_size=30))
def test_no_key_of_32_bytes_gets_through(key: bytes, before: str, after: str) -> None:
    assert key.hex() not in redact(f"{before} {key.hex()} {after}")


def test_what_helps_stays() -> None:
    text = "inet 10.20.0.7/24 scope global; tier quarantine; unreachable: timed out; Debian GNU/Linux 12 (bookworm)"
    assert redact(text) == text


def test_the_report_has_all_its_parts_and_none_of_the_secrets_of_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(tmp_path / "state")
    state.prepare()
    state.key_or_new()
    state.keep_enrolment(wire.Enrolment("https://127.0.0.1:1", "device", "alice"), None)
    (state.folder / "footprint.json").write_text(json.dumps({"prefixes": ["10.20.0.0/16"], "secret": CANARY}))
    private = (state.folder / "device.pem").read_text()
    monkeypatch.setattr(
        bugreport, "COMMANDS", (("echo", f"journal: private_key={CANARY} {SIGNED}"), ("no-such-program",))
    )
    with state.alone():
        state.keep_status({"state": "connected", "since": 0.0, "problem": f"token={CANARY}", "verdict": None})
        text = bugreport.write(state, lambda: {"custom.x": {"value": f"password={CANARY}"}})
    for name in ("=== doctor", "=== status", "=== footprint", "=== echo", "=== no-such-program", "=== facts"):
        assert name in text
    assert "10.20.0.0/16" in text
    assert CANARY not in text
    assert SIGNED not in text
    assert not any(line in text for line in private.splitlines() if len(line) > 20)


def test_a_section_is_bounded(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"x": "word " * 200_000}
    assert len(bugreport.write(State(tmp_path), lambda: facts)) < 3 * bugreport.LARGEST
