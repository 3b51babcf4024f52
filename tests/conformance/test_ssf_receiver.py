"""The plan of a receiver of shared signals (SSF 1.0, CAEP interoperability profile), 7 modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.identity.transmitter import POLL, PUSH
from tests.sim.gateway import FULL, World
from tests.sim.receiving import Receiving
from tests.sim.transmitter import CAEP, ISSUER, PUSH_SECRET, SSF, STREAM

ALICE = {"format": "iss_sub", "iss": "http://127.0.0.1:9", "sub": "sub-alice"}


@pytest.fixture
def under_test(world: World) -> Receiving:
    under_test = Receiving(world)
    under_test.work()
    return under_test


def test_openid_ssf_receiver_happypath(under_test: Receiving) -> None:
    """A stream is made and verified, an event comes, and it has its effect."""
    device = under_test.connected()
    transmitter = under_test.transmitter
    assert transmitter.stream is not None
    under_test.accepts(transmitter.verification(transmitter.states[-1]).sign())
    assert under_test.receiver.stream().verified_at == under_test.world.clock.time
    under_test.accepts(transmitter.event(f"{CAEP}session-revoked", ALICE).sign())
    assert device.reach is None


def test_openid_ssf_receiver_stream_create_delete(under_test: Receiving) -> None:
    transmitter, receiver = under_test.transmitter, under_test.receiver
    assert transmitter.stream is not None
    delivery = transmitter.stream["delivery"]
    assert (delivery["method"], delivery["endpoint_url"]) == (PUSH, "https://gateway.example/security-events")
    assert delivery["authorization_header"] == f"Bearer {PUSH_SECRET}"
    under_test.work()
    made = [request for request in transmitter.requests if (request.method, request.url.path) == ("POST", STREAM)]
    assert len(made) == 1, "the stream is used again, not made again"
    receiver.delete(now=under_test.world.clock.time)
    assert transmitter.stream is None
    assert transmitter.requests[-1].method == "DELETE"


def test_openid_ssf_receiver_stream_status_update(under_test: Receiving) -> None:
    """The receiver pauses and enables; and it hears when the transmitter does."""
    transmitter, receiver, now = under_test.transmitter, under_test.receiver, under_test.world.clock.time
    for status in ("paused", "enabled", "disabled"):
        assert receiver.set_status(status, now=now) == transmitter.status == status
        assert receiver.stream().status == status
        assert receiver.transmitter.status(receiver.stream().stream, now=now) == status
    about = {"format": "opaque", "id": receiver.stream().stream}
    under_test.accepts(transmitter.event(f"{SSF}stream-updated", about, status="enabled").sign())
    assert receiver.stream().status == "enabled"


def test_openid_ssf_receiver_stream_verification(under_test: Receiving) -> None:
    """The event must carry the state that was asked for, and no other."""
    transmitter, receiver = under_test.transmitter, under_test.receiver
    refused = under_test.push(transmitter.verification("a state that nobody asked for").sign())
    assert (refused.status_code, refused.json()["err"]) == (400, "invalid_state")
    assert receiver.stream().verified_at is None
    receiver.ask_verification(now=under_test.world.clock.time)
    assert len(set(transmitter.states)) == 2
    under_test.accepts(transmitter.verification(transmitter.states[-1]).sign())
    assert receiver.stream().verified_at is not None


def test_openid_ssf_receiver_unsolicited_stream_verification(under_test: Receiving) -> None:
    """SSF 1.0 section 8.1.4: a transmitter may verify by itself; such an event has no state."""
    under_test.accepts(under_test.transmitter.verification(None).sign())
    assert under_test.receiver.stream().verified_at is not None


def test_openid_ssf_receiver_stream_supported_events(under_test: Receiving) -> None:
    """It asks for what it acts on, takes fewer, and lets pass what it does not know."""
    transmitter = under_test.transmitter
    assert transmitter.stream is not None
    asked = set(transmitter.stream["events_requested"])
    wanted = "session-revoked credential-change device-compliance-change token-claims-change"
    wanted += " assurance-level-change risk-level-change"
    assert {CAEP + name for name in wanted.split()} <= asked
    device = under_test.connected()
    under_test.accepts(transmitter.event(f"{CAEP}of-the-future", ALICE).sign())
    assert device.reach == FULL


def test_openid_ssf_receiver_stream_caep_interop(tmp_path: Path) -> None:
    """CAEP interoperability profile: session-revoked and credential-change, RS256, by push and by poll."""
    for delivery in ("push", "poll"):
        folder = tmp_path / delivery
        folder.mkdir()
        world = World(folder)
        world.tick()
        under_test = Receiving(world, delivery=delivery)
        under_test.work()
        transmitter = under_test.transmitter
        assert transmitter.stream is not None
        assert transmitter.stream["delivery"]["method"] == {"push": PUSH, "poll": POLL}[delivery]
        for name, members in (
            ("session-revoked", {"event_timestamp": int(transmitter.now.timestamp())}),
            ("credential-change", {"change_type": "revoke", "credential_type": "fido2-roaming"}),
        ):
            device = under_test.connected(user="alice")
            event = transmitter.event(CAEP + name, ALICE, **members)
            if delivery == "push":
                under_test.accepts(event.sign())
            else:
                transmitter.waiting[event.claims["jti"]] = event.sign()
                under_test.work()
                under_test.work()
                assert transmitter.acknowledged[-1] == event.claims["jti"]
                assert transmitter.waiting == {}
            assert device.reach is None, (delivery, name)
            under_test.passes(1)
        world.close()


def test_the_stream_is_the_configured_transmitters(world: World) -> None:
    """SSF 1.0 section 7.2.1: another issuer in the metadata is somebody else."""
    under_test = Receiving(world)
    under_test.transmitter.metadata["issuer"] = f"{ISSUER}/"
    with pytest.raises(Exception, match="letter for letter"):
        under_test.work()
    assert under_test.transmitter.stream is None
