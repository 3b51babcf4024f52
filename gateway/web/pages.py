"""The few pages that people see in a browser: plain HTML without script or style, so that the strictest CSP fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from starlette.responses import HTMLResponse, Response

SHELL = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, *body: str, status: int = 200) -> Response:
    """Make a page. `body` is HTML already: what comes from outside was escaped by `text` or `form`."""
    return HTMLResponse(SHELL.format(title=escape(title), body="\n".join(body)), status)


def text(*words: str) -> str:
    """One paragraph."""
    return f"<p>{escape(' '.join(words))}</p>"


def facts(rows: Mapping[str, str]) -> str:
    """What a person has to compare, one fact in each line."""
    lines = (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f"<dl>{''.join(lines)}</dl>"


def form(method: str, action: str, *fields: str) -> str:
    """A form of these fields."""
    return f'<form method="{method}" action="{escape(action)}">{"".join(fields)}</form>'


def hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'


def field(name: str, label: str, kind: str = "text") -> str:
    return f'<p><label>{escape(label)} <input type="{kind}" name="{escape(name)}" required autofocus></label></p>'


def buttons(name: str, choices: Iterable[tuple[str, str]]) -> str:
    """One button for each (value, label)."""
    made = (
        f'<p><button type="submit" name="{escape(name)}" value="{escape(value)}">{escape(label)}</button></p>'
        for value, label in choices
    )
    return "".join(made)


def button(label: str) -> str:
    return f'<p><button type="submit">{escape(label)}</button></p>'
