"""A software TPM (swtpm) with an endorsement certificate of an authority of its own, in a folder, on a port of loopback."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from cryptography import x509

WITHIN = 30.0


class Chip:
    """One TPM. `roots` is what its maker's certificates are checked by."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder / "state"
        state.mkdir()
        self._configure(folder)
        subprocess.run(
            ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--create-ek-cert", "--overwrite",
             "--config", str(folder / "setup.conf")],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        port = self._free_pair()
        self._process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
             "--server", f"type=tcp,port={port},bindaddr=127.0.0.1",
             "--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1", "--flags", "not-need-init,startup-clear"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.tcti = f"swtpm:host=127.0.0.1,port={port}"
        self._await(port + 1)
        pem = b"".join(file.read_bytes() for file in sorted((folder / "ca").glob("*cert.pem")))
        self.roots = tuple(x509.load_pem_x509_certificates(pem))

    def _configure(self, folder: Path) -> None:
        """An authority for this chip alone: nothing of the machine is touched."""
        (folder / "ca").mkdir()
        (folder / "localca.conf").write_text(
            f"statedir = {folder}/ca\nsigningkey = {folder}/ca/signkey.pem\nissuercert = {folder}/ca/issuercert.pem\n"
            f"certserial = {folder}/ca/certserial\n"
        )
        (folder / "localca.options").write_text(
            "--tpm-manufacturer id:00001014\n--tpm-model swtpm\n--tpm-version 20191023\n"
        )
        (folder / "setup.conf").write_text(
            "create_certs_tool = /usr/bin/swtpm_localca\n"
            f"create_certs_tool_config = {folder}/localca.conf\n"
            f"create_certs_tool_options = {folder}/localca.options\n"
        )

    @staticmethod
    def _free_pair() -> int:
        for _ in range(50):
            with socket.socket() as first, socket.socket() as second:
                first.bind(("127.0.0.1", 0))
                port = int(first.getsockname()[1])
                try:
                    second.bind(("127.0.0.1", port + 1))
                except (OSError, OverflowError):
                    continue
                return port
        raise AssertionError("no two free ports beside each other")

    def _await(self, port: int) -> None:
        deadline = time.monotonic() + WITHIN
        while True:
            assert self._process.poll() is None, "swtpm ended"
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return

    def extend(self, pcr: int) -> None:
        """Measure something into a PCR, as whoever changes the boot does."""
        digest = "11" * 32
        subprocess.run(
            ["tpm2_pcrextend", "-T", self.tcti, f"{pcr}:sha256={digest}"], check=True, capture_output=True, timeout=30
        )

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
