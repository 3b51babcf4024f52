"""A replay as one page: numbers, a chart of the days, tables. No script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from html import escape
from math import ceil

from gateway.policy.policy import Policy
from gateway.policy.replay import Replay, Toll

WIDTH, HEIGHT = 860, 240
LEFT, BOTTOM, TOP = 64, 34, 12
ROWS = 25

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6675; --line: #d8dee7; --bar: #b3432b; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ecf2; --soft: #9aa5b5; --line: #333c49; --bar: #e0765c; --paper: #14181e; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; } p.when { color: var(--soft); margin-top: .25rem; }
dl { display: flex; flex-wrap: wrap; gap: .75rem; } dl div { border: 1px solid var(--line); border-radius: 6px; padding: .6rem 1rem; min-width: 8rem; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } svg rect { fill: var(--bar); }
svg line { stroke: var(--line); } table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } code { font-size: .9em; }
"""


def written(policy: Policy, done: Replay) -> str:
    """Write the page."""
    return "".join(_parts(policy, done))


def _parts(policy: Policy, done: Replay) -> Iterator[str]:
    name = escape(policy.name)
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Replay of {name}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
    yield f"<h1>Replay of {name} <code>{policy.version[:12]}</code></h1>\n"
    yield f'<p class="when">{done.since:%Y-%m-%d %H:%M} to {done.until:%Y-%m-%d %H:%M} UTC, '
    yield f"{done.sessions:,} sessions on {done.devices:,} devices</p>\n<dl>"
    figures = {
        "sessions killed": len(done.killed),
        "sessions downgraded": len(done.downgraded - done.killed),
        "minutes lost": _minutes(done.lost),
        "minutes gained": _minutes(done.gained),
    }
    yield from (f"<div><dt>{what}</dt><dd>{count:,}</dd></div>" for what, count in figures.items())
    yield "</dl>\n<h2>Minutes lost by day</h2>\n"
    yield from _chart(done)
    yield from _table("By check", "check", done.by_check)
    yield from _table("By user", "user", done.by_user)
    same, different = done.verdicts["reproduced"], done.verdicts["different"]
    if same or different:
        yield f"<p>Verdicts of this policy: {same:,} of {same + different:,} reproduced bit for bit.</p>\n"
    yield "</body></html>\n"


def _chart(done: Replay) -> Iterator[str]:
    days = _days(done)
    top = _round_up(max((_minutes(done.by_day[day].lost) for day in days if day in done.by_day), default=0))
    wide, high = WIDTH - LEFT, HEIGHT - BOTTOM - TOP
    step = wide / len(days)
    yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Minutes lost by day">\n'
    for part in range(5):
        y = TOP + high * part / 4
        yield f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_figure(top * (4 - part) / 4)}</text>\n'
    for number, day in enumerate(days):
        toll = done.by_day.get(day, Toll())
        tall = high * _minutes(toll.lost) / top
        x = LEFT + step * number
        told = f"{day}: {len(toll.sessions)} sessions, {_minutes(toll.lost)} minutes"
        yield f'<rect x="{x + step * 0.15:.1f}" y="{TOP + high - tall:.1f}" width="{step * 0.7:.1f}" height="{tall:.1f}">'
        yield f"<title>{told}</title></rect>\n"
        if number % ceil(len(days) / 10) == 0:
            yield f'<text x="{x + step / 2:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{day:%d %b}</text>\n'
    yield "</svg>\n"


def _days(done: Replay) -> list[date]:
    first = done.since.date()
    return [first + timedelta(days=number) for number in range((done.until.date() - first).days + 1)]


def _round_up(value: int) -> int:
    """The next 1, 2, 4 or 8 times a power of ten that four parts divide well."""
    if value <= 4:
        return 4
    power = int(10 ** (len(str(value)) - 1))
    return next(factor * power for factor in (1, 2, 4, 8, 10) if factor * power >= value)


def _table(title: str, of: str, tolls: Mapping[str, Toll]) -> Iterator[str]:
    ordered = sorted(tolls.items(), key=lambda item: (-item[1].lost, item[0]))
    if not ordered:
        return
    more = f", the {ROWS} of {len(ordered)} that lose most" if len(ordered) > ROWS else ""
    yield f"<h2>{title}{more}</h2>\n<table><tr><th>{of}</th><th class=n>sessions</th><th class=n>minutes lost</th></tr>\n"
    for name, toll in ordered[:ROWS]:
        yield f"<tr><td>{escape(name)}</td><td class=n>{len(toll.sessions):,}</td><td class=n>{_minutes(toll.lost):,}</td></tr>\n"
    yield "</table>\n"


def _minutes(span: timedelta) -> int:
    return round(span.total_seconds() / 60)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
