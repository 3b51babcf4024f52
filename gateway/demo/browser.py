"""A browser for the demo and the tests: follows real redirects with cookies and submits the provider's form.

It does what a person's browser does and no more: it knows no secret of the gateway and no shortcut past the provider.
"""

from __future__ import annotations

import html.parser
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

import httpx2

from gateway.errors import ProviderError

MAX_STEPS = 20  # a login takes six or seven; more is a redirect loop


class Browser:
    """One browser profile: its cookies last as long as the object."""

    def __init__(self, authority: Path | None) -> None:
        """`authority`: the certificate to pin for https; None trusts what the machine trusts."""
        trust = ssl.create_default_context(cafile=str(authority) if authority else None)
        self.client = httpx2.Client(verify=trust, timeout=10.0, follow_redirects=False, trust_env=False)
        self.visited: list[str] = []

    def log_in(self, url: str, user: str) -> httpx2.Response:
        """Open `url`, go where it leads, and say `user` to the provider's form. Returns the last page.

        Raises ProviderError when a page is an error, when no form asks for a user, or after too many redirects.
        """
        response = self._get(url)
        for _ in range(MAX_STEPS):
            if response.is_redirect:
                response = self._get(urljoin(str(response.url), response.headers["location"]))
            elif response.is_error:
                raise ProviderError(f"{response.url} answered {response.status_code}: {response.text[:300].strip()}")
            elif (form := find_form(response.text)) is not None and "user" in form.choices:
                response = self._submit(str(response.url), form, user)
            else:
                return response
        raise ProviderError(f"no end to the redirects that began at {url}")

    def close(self) -> None:
        """Forget the cookies and close the connections."""
        self.client.close()

    def _get(self, url: str) -> httpx2.Response:
        self.visited.append(url)
        return self.client.get(url)

    def _submit(self, page: str, form: Form, user: str) -> httpx2.Response:
        if user not in form.choices["user"]:
            raise ProviderError(f"the login page knows {', '.join(form.choices['user'])}, not {user!r}")
        target = urljoin(page, form.action)
        self.visited.append(target)
        return self.client.request(form.method, target, data={**form.hidden, "user": user})


@dataclass(slots=True)
class Form:
    """A form of a page: where it goes, its hidden fields, and the values that each visible field offers."""

    action: str
    method: str
    hidden: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)


class _Forms(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attributes}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").upper()))
        elif tag in ("input", "button", "option") and self.forms and given.get("name"):
            form, name, value = self.forms[-1], given["name"], given.get("value", "")
            if given.get("type") == "hidden":
                form.hidden[name] = value
            else:
                form.choices.setdefault(name, []).append(value)


def find_form(page: str) -> Form | None:
    """The first form of an HTML page."""
    forms = _Forms()
    forms.feed(page)
    return forms.forms[0] if forms.forms else None
