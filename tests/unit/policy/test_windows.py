"""Windows of time, held minute by minute against the clock on the wall, summer time included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.policy.windows import Window

_WINDOW: TypeAdapter[Window] = TypeAdapter(Window)
MINUTE = timedelta(minutes=1)


def window(**said: object) -> Window:
    return _WINDOW.validate_python({"zone": "Europe/Vienna", **said})


def local(text: str, zone: str = "Europe/Vienna", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def test_it_is_open_from_the_first_minute_to_before_the_last() -> None:
    office = window(opens="08:00", closes="18:00", days=["mon", "tue", "wed", "thu", "fri"])
    monday = local("2026-03-02T08:00")
    assert not office.open_at(monday - timedelta(microseconds=1))
    assert office.open_at(monday)
    assert office.open_at(local("2026-03-02T18:00") - timedelta(microseconds=1))
    assert not office.open_at(local("2026-03-02T18:00"))
    assert not office.open_at(local("2026-03-01T12:00"))  # a Sunday
    assert office.next_edge(monday) == local("2026-03-02T18:00")


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    night = window(opens="22:00", closes="06:00", days=["fri"], until="2026-03-06")
    assert night.open_at(local("2026-03-06T23:00"))
    assert night.open_at(local("2026-03-07T05:59"))
    assert not night.open_at(local("2026-03-07T06:00"))
    assert not night.open_at(local("2026-03-06T05:00"))
    assert not night.open_at(local("2026-03-13T23:00"))


def test_a_window_that_closes_when_it_opens_is_open_all_day() -> None:
    assert window().open_at(local("2026-03-06T00:00"))
    day = window(since="2026-03-06", until="2026-03-06")
    assert day.open_at(local("2026-03-06T23:59"))
    assert not day.open_at(local("2026-03-07T00:00"))


def test_on_a_holiday_it_stays_closed() -> None:
    assert not window(never=["2026-12-25"]).open_at(local("2026-12-25T12:00"))


def test_what_opens_in_the_hour_that_summer_time_skips_opens_when_the_clock_has_jumped() -> None:
    early = window(opens="02:30", closes="04:00")
    assert early.next_edge(local("2026-03-29T01:00")) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert early.open_at(datetime(2026, 3, 29, 1, 0, tzinfo=UTC))


def test_what_is_open_in_the_hour_that_comes_twice_is_open_twice() -> None:
    twice = window(opens="02:10", closes="02:40")
    edges = []
    at = local("2026-10-25T01:00")
    for _ in range(4):
        at = twice.next_edge(at)
        edges.append(at)
    assert edges == [local(f"2026-10-25T02:{minute}", fold=fold) for fold in (0, 1) for minute in (10, 40)]


@pytest.mark.parametrize(
    ("zone", "begin"),
    [
        ("Europe/Vienna", "2026-03-28T00:00"), ("Europe/Vienna", "2026-10-24T00:00"), ("America/New_York", "2026-11-01T00:00"),
        ("Australia/Lord_Howe", "2026-04-04T00:00"), ("America/Havana", "2026-03-07T12:00"), ("Pacific/Apia", "2026-02-01T00:00"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("opens", "closes"), [("00:00", "00:00"), ("02:30", "03:15"), ("23:30", "01:30"), ("00:30", "00:15")]
)
def test_between_one_edge_and_the_next_nothing_changes_minute_by_minute(
    zone: str, begin: str, opens: str, closes: str
) -> None:
    made = window(zone=zone, opens=opens, closes=closes, days=["sat", "sun", "mon"])
    at = local(begin, zone)
    end = at + timedelta(days=3)
    while at < end:
        until, state = made.next_edge(at), made.open_at(at)
        assert until > at
        minute = at.replace(second=0) + MINUTE
        while minute < min(until, end):
            assert made.open_at(minute) == state, (minute, until)
            minute += MINUTE
        at = until


def test_the_next_edge_is_the_same_from_wherever_it_is_looked_for() -> None:
    always = window()
    at = local("2026-03-02T00:00")
    until = always.next_edge(at)
    assert all(always.next_edge(at + (until - at) * part / 100) == until for part in range(100))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"zone": "Vienna"}, "is not a time zone"),
        ({"zone": "Europe/Wien"}, "is no time zone that is known here"),
        ({"zone": "../../etc/passwd"}, "is not a time zone"),
        ({"opens": "8:00"}, "is not a time of day"),
        ({"opens": "24:00"}, "is not a time of day"),
        ({"closes": 480}, "is not a time of day"),
        ({"since": "2026-02-30"}, "is not a day"),
        ({"days": ["monday"]}, "'mon', 'tue'"),
        ({"days": []}, "at least 1"),
    ],
)
def test_what_is_no_window_says_what_is_allowed(said: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told.replace("[", r"\[")):
        window(**said)
