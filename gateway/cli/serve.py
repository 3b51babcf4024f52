"""`sallyport serve`: the gateway itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gateway.cli import shipped
from gateway.errors import SettingsError
from gateway.settings import Settings
from gateway.web import journal
from gateway.web.serve import serve


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--development",
        action="store_true",
        help="what is not set is filled in: the development provider, the demo's policy, a certificate of its own",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    settings = Settings.from_environment()
    journal.configure(for_person=sys.stderr.isatty())
    development = bool(arguments.development)
    return serve(
        settings,
        policy_dir=settings.policy_dir or _policy(development=development),
        issuer=settings.oidc_issuer or _development_issuer(settings, development=development),
        self_signed=development,
    )


def _policy(*, development: bool) -> Path:
    if not development:
        raise SettingsError("SALLYPORT_POLICY_DIR is not set: it must be the folder with your policy")
    return demo_policy()


def demo_policy() -> Path:
    """The folder of the policy for machines that only look around."""
    return shipped.policies() / "demo"


def _development_issuer(settings: Settings, *, development: bool) -> str:
    if not development:
        raise SettingsError("SALLYPORT_OIDC_ISSUER is not set: it must be your provider's issuer URL")
    host, port = settings.development_provider
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
