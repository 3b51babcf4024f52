"""The machine's TPM 2.0, by tpm2-pytss: what proves that the agent's reports come from this very machine.

The attestation key is a primary key of the owner hierarchy: the TPM makes the same one again whenever it is asked, so that
nothing has to be kept. Without the extra `sallyport[tpm]`, or without a chip, there is none of this.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from agent.errors import AgentError
from agent.wire import Quote

KEY: Final = "ecc:ecdsa-sha256:null"
ATTRIBUTES: Final = "restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
DEVICE: Final = "/dev/tpmrm0"


def of_this_machine() -> str | None:
    """Where the kernel's TPM is; None when the machine has none, or the extra is not installed."""
    there = os.path.exists(DEVICE) and importlib.util.find_spec("tpm2_pytss") is not None
    return f"device:{DEVICE}" if there else None


class Tpm:
    """One TPM. Every method opens it and lets it go: other programs use it too. Raises AgentError."""

    def __init__(self, tcti: str) -> None:
        os.environ.setdefault("TSS2_LOG", "all+NONE")  # what goes wrong is told once, by us
        try:
            import tpm2_pytss  # noqa: PLC0415
        except ImportError:
            raise AgentError("the TPM needs the extra: pip install 'sallyport[tpm]'") from None
        self._tss: Any = tpm2_pytss
        self._tcti = tcti

    def identity(self) -> tuple[bytes, bytes]:
        """The endorsement certificate (DER) that the maker has put into the TPM, and the attestation key's public area."""
        with self._open() as esapi, self._keys(esapi) as (_, certificate, _, area):
            return certificate, area

    def activate(self, credential: bytes, encrypted_seed: bytes) -> bytes:
        """Read the secret of a challenge, which only this TPM can."""
        tss = self._tss
        with self._open() as esapi, self._keys(esapi) as (endorsement, _, key, _):
            policy = esapi.start_auth_session(
                tss.ESYS_TR.NONE,
                tss.ESYS_TR.NONE,
                tss.TPM2_SE.POLICY,
                tss.TPMT_SYM_DEF(algorithm=tss.TPM2_ALG.NULL),
                tss.TPM2_ALG.SHA256,
            )
            try:
                esapi.policy_secret(tss.ESYS_TR.ENDORSEMENT, policy, b"", b"", b"", 0)
                identity, _ = tss.TPM2B_ID_OBJECT.unmarshal(credential)
                seed, _ = tss.TPM2B_ENCRYPTED_SECRET.unmarshal(encrypted_seed)
                return bytes(esapi.activate_credential(key, endorsement, identity, seed, session2=policy))
            finally:
                esapi.flush_context(policy)

    def quote(self, pcrs: Sequence[int], nonce: bytes) -> Quote:
        """Have the TPM state its PCRs in answer to `nonce`."""
        tss = self._tss
        selection = "sha256:" + ",".join(str(number) for number in sorted(pcrs))
        with self._open() as esapi, self._keys(esapi, endorsement=False) as (_, _, key, _):
            chosen = tss.TPML_PCR_SELECTION.parse(selection)
            scheme = tss.TPMT_SIG_SCHEME(scheme=tss.TPM2_ALG.NULL)
            quoted, signature = esapi.quote(key, chosen, tss.TPM2B_DATA(nonce), scheme)
            values = {number: self._pcr(esapi, number) for number in sorted(pcrs)}
            halves = (signature.signature.ecdsa.signatureR, signature.signature.ecdsa.signatureS)
            return Quote(bytes(quoted), b"".join(bytes(half).rjust(32, b"\0") for half in halves), values)

    def _pcr(self, esapi: Any, number: int) -> bytes:
        _, _, digests = esapi.pcr_read(self._tss.TPML_PCR_SELECTION.parse(f"sha256:{number}"))
        return bytes(digests[0])

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            esapi = self._tss.ESAPI(self._tcti)
        except self._tss.TSS2_Exception as error:
            raise AgentError(f"the TPM at {self._tcti} cannot be used ({error})") from None
        try:
            yield esapi
        except self._tss.TSS2_Exception as error:
            raise AgentError(f"the TPM at {self._tcti} refused ({error})") from None
        finally:
            esapi.close()

    @contextmanager
    def _keys(self, esapi: Any, *, endorsement: bool = True) -> Iterator[tuple[Any, bytes, Any, bytes]]:
        """The endorsement key with its certificate, and the attestation key with its public area; let go at the end, because
        a TPM has room for three."""
        from tpm2_pytss.utils import NVReadEK, create_ek_template  # noqa: PLC0415

        tss, handles = self._tss, []
        try:
            endorsed, certificate = None, b""
            if endorsement:
                der, template = create_ek_template("EK-RSA2048", NVReadEK(esapi))
                if der is None:
                    raise AgentError("the TPM has no endorsement certificate of its maker")
                endorsed, *_ = esapi.create_primary(tss.TPM2B_SENSITIVE_CREATE(), template, tss.ESYS_TR.ENDORSEMENT)
                handles.append(endorsed)
                certificate = bytes(der)
            wanted = tss.TPM2B_PUBLIC.parse(KEY, objectAttributes=ATTRIBUTES)
            key, public, *_ = esapi.create_primary(tss.TPM2B_SENSITIVE_CREATE(), wanted, tss.ESYS_TR.OWNER)
            handles.append(key)
            yield endorsed, certificate, key, public.publicArea.marshal()
        finally:
            for handle in handles:
                esapi.flush_context(handle)
