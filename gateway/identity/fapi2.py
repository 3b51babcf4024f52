"""The FAPI 2.0 Security Profile: what it allows a provider, beyond what `discovery` has checked."""

from __future__ import annotations

from dataclasses import replace

from gateway.errors import ProviderError
from gateway.identity.discovery import Metadata

ALGORITHMS = frozenset({"PS256", "ES256", "EdDSA"})
"""Section 5.4.1."""

OURS = "ES256"
"""What the client key signs with."""


def narrowed(metadata: Metadata) -> Metadata:
    """Give the metadata as far as the profile believes it. Raises ProviderError that names what is missing.

    The authorization response must say its issuer, whether or not the provider announces that (section 5.3.3.2).
    """
    algorithms = metadata.algorithms & ALGORITHMS
    if not algorithms:
        raise ProviderError(
            f"FAPI 2 needs ID tokens signed with {', '.join(sorted(ALGORITHMS))}; the provider has none"
        )
    if metadata.par_endpoint is None:
        raise ProviderError("FAPI 2 needs a pushed_authorization_request_endpoint; the provider has none")
    if metadata.dpop_algorithms is not None and OURS not in metadata.dpop_algorithms:
        raise ProviderError(f"FAPI 2 needs DPoP proofs signed with {OURS}; the provider does not take them")
    return replace(metadata, algorithms=algorithms, iss_in_response=True)
