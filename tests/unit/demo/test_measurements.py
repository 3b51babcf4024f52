"""What a list of packets says, from packets made by hand."""

from __future__ import annotations

from gateway.demo import measurements
from gateway.demo.measurements import Count, Window
from gateway.demo.records import numbers, record
from gateway.demo.witness import Packet

PAYROLL = "10.20.5.10"
LAPTOP = "100.96.0.2"


def probe(at: float, number: int, *, server: str = PAYROLL, leaving: bool = False) -> Packet:
    return Packet(at, "office", 17, LAPTOP, 40000, server, 7, record(number), leaving)


def data(
    at: float, *, port: int = 50000, to_server: bool = True, payload: bytes = b"x", leaving: bool = False
) -> Packet:
    ends = (LAPTOP, port, PAYROLL, 5432) if to_server else (PAYROLL, 5432, LAPTOP, port)
    return Packet(at, "office", 6, *ends, payload, leaving)


def test_a_super_packet_counts_as_many_probes_as_it_carries() -> None:
    assert numbers(record(1) + record(2) + record(3)) == [1, 2, 3]


def test_foreign_and_cut_payloads_carry_no_number() -> None:
    assert numbers(b"") == numbers(record(1)[:-1]) == numbers(b"\0" * 64) == []


def test_a_probe_counts_for_the_window_in_which_it_was_sent_even_when_it_arrives_later() -> None:
    sent = [probe(t, n) for n, t in enumerate((1.0, 1.5, 2.0))]
    arrived = [probe(2.3, 1)]
    assert measurements.count(sent, arrived, PAYROLL, Window(1.0, 2.0)) == Count(sent=2, arrived=1)


def test_probes_to_another_server_do_not_count() -> None:
    sent = [probe(1.0, 1), probe(1.0, 1, server="10.20.0.10")]
    assert measurements.count(sent, sent[1:], PAYROLL, Window(0, 2)) == Count(sent=1, arrived=0)


def test_nothing_sent_proves_neither_access_nor_its_absence() -> None:
    assert not Count(0, 0).blocked
    assert not Count(0, 0).passes


def test_one_arrival_is_not_blocked_and_a_tenth_may_be_late() -> None:
    assert not Count(100, 1).blocked
    assert Count(100, 0).blocked
    assert Count(100, 90).passes
    assert not Count(100, 89).passes


def test_only_data_that_arrived_counts_for_the_flow() -> None:
    there, back = data(1.0), data(1.1, to_server=False)
    noise = [data(2.0, payload=b""), data(2.0, leaving=True), data(2.0, port=50001), probe(2.0, 1)]
    assert measurements.flow([there, back, *noise], PAYROLL, 50000) == [there, back]


def test_last_and_first_look_from_a_moment() -> None:
    packets = [data(1.0), data(3.0), data(2.0)]
    assert measurements.last(packets) == 3.0
    assert measurements.last(packets, before=3.0) == 2.0
    assert measurements.first(packets, after=1.5) == 2.0
    assert measurements.last([]) is measurements.first(packets, after=4) is None
