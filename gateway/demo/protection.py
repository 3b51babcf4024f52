"""What protects the laptop, for real: an nftables firewall in its namespace and a clamd with one signature of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from gateway.demo.namespaces import Host
from gateway.programs import Program

RULES: Final = """\
flush ruleset
table inet laptop {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
    ip protocol icmp accept
    ip6 nexthdr ipv6-icmp accept
  }
}
"""

EICAR: Final = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The harmless file that every antivirus must detect; in two parts, so that none detects this source."""

CLAMD: Final = """\
LocalSocket {folder}/clamd.sock
DatabaseDirectory {folder}/signatures
LogFile {folder}/clamd.log
TemporaryDirectory {folder}
Foreground yes
User root
ConcurrentDatabaseReload no
MaxThreads 2
"""


class Firewall:
    """The nftables rules of one host, in a file that can be loaded again."""

    def __init__(self, host: Host, folder: Path) -> None:
        """Write the rules; nothing is loaded yet."""
        self._host = host
        self.rules = folder / "firewall.nft"
        self.rules.write_text(RULES)

    def load(self) -> None:
        """Put the rules into force."""
        self._host.run("nft", "-f", str(self.rules))

    def flush(self) -> None:
        """Take every rule away: the host accepts everything."""
        self._host.run("nft", "flush", "ruleset")


def start_antivirus(host: Host, folder: Path) -> tuple[Program, Path]:
    """A clamd on `host`. Returns it and the path of its socket once it scans; raises HostError when it does not."""
    signatures = folder / "signatures"
    signatures.mkdir()
    (signatures / "local.hsb").write_text(f"{hashlib.sha256(EICAR).hexdigest()}:{len(EICAR)}:Sallyport.Demo.Eicar\n")
    configuration = folder / "clamd.conf"
    configuration.write_text(CLAMD.format(folder=folder))
    clamd = Program("clamd", ["clamd", "--config-file", str(configuration)], within=host.command())
    clamd.wait_for("Self checking|Listening daemon|SelfCheck", timeout=20.0)
    return clamd, folder / "clamd.sock"
