"""A real TPM implementation proves itself to the gateway, by the agent's own code, and what is not its word is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from agent import wire
from agent.tpm import Tpm
from agent.wire import Quote
from gateway.access import sessions
from gateway.errors import Refused
from gateway.identity import tpm as verifier
from gateway.policy.model import EvidenceGrade
from gateway.store import tables
from gateway.store.engine import reading
from tests.sim.chip import Chip
from tests.sim.gateway import Device, World
from tests.unit.agent.test_conversation import Served, facts

PCRS = (0, 1, 7)


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chip]:
    made = Chip(tmp_path_factory.mktemp("chip"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chip]:
    """Another chip, by a maker that nobody trusts."""
    made = Chip(tmp_path_factory.mktemp("stranger"))
    yield made
    made.close()


@pytest.fixture
def served(tmp_path: Path, chip: Chip) -> Iterator[Served]:
    made = Served(tmp_path, tpm_roots=chip.roots, tpm_pcrs=PCRS)
    yield made
    made.close()


def test_the_agent_proves_its_tpm_once_and_every_report_carries_a_quote(served: Served, chip: Chip) -> None:
    tpm = Tpm(chip.tcti)
    conversation = served.converse(tpm)
    assert conversation.report(facts()).tier == "full"
    assert conversation.report(facts(), whole=False).tier == "full"
    with reading(served.world.engine) as db:
        session = db.get(tables.Session, conversation.session)
        posture = sessions.latest_posture(db, session)
    assert posture is not None
    assert posture.facts["tpm.attested"].value is True
    assert set(posture.facts["tpm.pcrs"].value) == {"0", "1", "7"}
    assert posture.grade_of("tpm.pcrs") is EvidenceGrade.HARDWARE_ATTESTED
    assert posture.grade_of("firewall.enabled") is EvidenceGrade.DEVICE_SIGNED
    served.converse(tpm).report(facts())
    assert served.world.audit().count("device.attested") == 1


def test_what_is_measured_shows_in_the_facts(served: Served, chip: Chip) -> None:
    conversation = served.converse(Tpm(chip.tcti))
    values = []
    for _ in range(2):
        conversation.report(facts())
        with reading(served.world.engine) as db:
            values.append(db.get(tables.Posture, served.device.id).facts["tpm.pcrs"]["value"]["7"])
        chip.extend(7)
    assert values[0] != values[1]


def test_a_tpm_of_another_maker_is_not_believed(served: Served, stranger: Chip) -> None:
    with pytest.raises(Exception, match="of no maker"):
        served.converse(Tpm(stranger.tcti))
    assert served.converse().report(facts()).tier == "full", "what is not proved is only missing"


def test_the_certificate_of_one_tpm_and_the_key_of_another_are_not_one(
    served: Served, chip: Chip, stranger: Chip
) -> None:
    """The trick that credential activation is for: the secret comes to the wrong chip, or to none."""
    certificate, _ = Tpm(chip.tcti).identity()
    _, key = Tpm(stranger.tcti).identity()
    made = verifier.challenge(
        verifier.endorsement(certificate, chip.roots, now=datetime.now(UTC)), verifier.attestation_key(key), b"s" * 32
    )
    for one in (chip, stranger):
        with pytest.raises(Exception, match="refused"):
            Tpm(one.tcti).activate(made.credential, made.encrypted_seed)


def test_a_challenge_is_read_by_its_own_tpm_alone(chip: Chip) -> None:
    certificate, key = Tpm(chip.tcti).identity()
    endorsed = verifier.endorsement(certificate, chip.roots, now=datetime.now(UTC))
    made = verifier.challenge(endorsed, verifier.attestation_key(key), b"s" * 32)
    assert Tpm(chip.tcti).activate(made.credential, made.encrypted_seed) == b"s" * 32


def test_a_certificate_that_is_not_valid_now_or_of_nobody_is_refused(chip: Chip) -> None:
    certificate, _ = Tpm(chip.tcti).identity()
    now = datetime.now(UTC)
    assert verifier.endorsement(certificate, chip.roots, now=now).fingerprint
    for roots, at in (((), now), (chip.roots, now - timedelta(days=36500))):
        with pytest.raises(Refused):
            verifier.endorsement(certificate, roots, now=at)
    for damaged in (b"", b"x" * 100, certificate[:-1], certificate[:200]):
        with pytest.raises(Refused):
            verifier.endorsement(damaged, chip.roots, now=now)


# quotes

NONCE = b"n" * 32


@pytest.fixture(scope="module")
def quoted(chip: Chip) -> tuple[bytes, Quote]:
    _, key = Tpm(chip.tcti).identity()
    return key, Tpm(chip.tcti).quote(PCRS, NONCE)


def verify(area: bytes, quote: Quote, nonce: bytes = NONCE) -> None:
    verifier.verify_quote(area, quote.quoted, quote.signature, nonce, quote.pcrs)


def test_a_quote_holds(quoted: tuple[bytes, Quote]) -> None:
    verify(*quoted)


def test_every_flipped_bit_of_a_quote_is_noticed(quoted: tuple[bytes, Quote]) -> None:
    area, quote = quoted
    for name in ("quoted", "signature"):
        data = getattr(quote, name)
        for bit in range(0, 8 * len(data), 3):
            broken = bytearray(data)
            broken[bit // 8] ^= 1 << bit % 8
            with pytest.raises(Refused):
                verify(area, replace(quote, **{name: bytes(broken)}))


def test_a_quote_for_another_question_of_other_pcrs_or_by_another_key_is_refused(
    quoted: tuple[bytes, Quote], stranger: Chip
) -> None:
    area, quote = quoted
    _, other = Tpm(stranger.tcti).identity()
    changed: Mapping[int, bytes] = {**quote.pcrs, 7: b"\1" * 32}
    fewer = {number: value for number, value in quote.pcrs.items() if number != 7}
    for broken in (
        replace(quote, pcrs=changed),
        replace(quote, pcrs=fewer),
        replace(quote, pcrs={**quote.pcrs, 2: bytes(32)}),
    ):
        with pytest.raises(Refused):
            verify(area, broken)
    with pytest.raises(Refused):
        verify(area, quote, b"m" * 32)
    with pytest.raises(Refused):
        verify(other, quote)


def test_a_key_that_could_sign_anything_is_no_attestation_key(quoted: tuple[bytes, Quote]) -> None:
    area, _ = quoted
    assert verifier.attestation_key(area).name[:2] == b"\x00\x0b"
    for bit in (1, 4, 5, 16, 18):
        attributes = int.from_bytes(area[4:8], "big") & ~(1 << bit)
        with pytest.raises(Refused):
            verifier.attestation_key(area[:4] + attributes.to_bytes(4, "big") + area[8:])
    for size in range(len(area)):
        with pytest.raises(Refused):
            verifier.attestation_key(area[:size])
    with pytest.raises(Refused):
        verifier.attestation_key(area + b"\0")


# what a lying device says


def report(device: Device, **more: Any) -> Any:
    said = jwt.decode(device.report_body(), options={"verify_signature": False})
    body = jwt.encode({**said, **more}, device.key, "ES256", headers={"typ": wire.TYP_REPORT, "kid": device.id})
    return device.post(f"/v1/sessions/{device.session}/reports", body)


def test_a_device_cannot_state_itself_what_only_a_tpm_can(tmp_path: Path, quoted: tuple[bytes, Quote]) -> None:
    world = World(tmp_path)
    world.tick()
    device = world.device().connect()
    own = jwt.decode(device.report_body(), options={"verify_signature": False})["facts"]
    answer = report(device, facts={**own, "tpm.attested": {"value": True, "source": "me", "observed_at": 0}})
    assert answer.status_code == 200, answer.text
    device.nonce, device.sequence = answer.json()["nonce"], answer.json()["sequence"]
    with reading(world.engine) as db:
        assert "tpm.attested" not in db.get(tables.Posture, device.id).facts
    answer = report(device, quote=quoted[1].to_json())
    assert (answer.status_code, answer.json()["code"]) == (401, "tpm-unproved")
    for quote in (None, [], {}, {"quoted": "x"}, {"quoted": "", "signature": "", "pcrs": {"24": "00" * 32}}):
        assert report(device, quote=quote).status_code == 400
    world.close()
