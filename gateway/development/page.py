"""The login page of the development provider: plain HTML, one button for each user."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Development login</title></head>
<body>
<h1>Development provider</h1>
<p><strong>Anybody may log in here, without a password. Never use it for real work.</strong></p>
<form method="post" action="/login">
<input type="hidden" name="request" value="{request}">
{buttons}
</form>
</body>
</html>
"""

BUTTON = '<p><button type="submit" name="user" value="{user}">{user}</button> {groups}</p>'


def login_page(request: str, users: Mapping[str, tuple[str, ...]]) -> str:
    """Make the page for a pending authorization request."""
    buttons = (BUTTON.format(user=escape(user), groups=escape(", ".join(groups))) for user, groups in users.items())
    return PAGE.format(request=escape(request), buttons="\n".join(buttons))
