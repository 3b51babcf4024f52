"""Single measurements through a tunnel. Each returns one number; what it means stands in `figures.py`."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

from gateway.demo.namespaces import Host

SECONDS = 3


def iperf(client: Host, server: Host, address: str, *options: str) -> dict[str, float]:
    """One run of iperf3. Gives the receiver's sums."""
    listening = subprocess.Popen(
        server.command("iperf3", "-s", "-1", "-B", address), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(0.3)
        told = json.loads(client.run("iperf3", "-c", address, "-t", str(SECONDS), "-J", *options))
    finally:
        listening.wait(15)
    found: dict[str, float] = told["end"].get("sum_received") or told["end"]["sum"]
    return found


def tcp(client: Host, server: Host, address: str, *options: str) -> float:
    """Goodput of TCP in Mbit/s."""
    return iperf(client, server, address, *options)["bits_per_second"] / 1e6


def udp_packets(client: Host, server: Host, address: str, size: int) -> float:
    """Packets per second that arrive when the sender offers what it can; iperf3 paces with 0 as unlimited."""
    found = iperf(client, server, address, "-u", "-b", "0", "-l", str(size))
    return found["packets"] * (1 - found["lost_percent"] / 100) / found["seconds"]


def round_trips(client: Host, address: str, *, count: int = 300) -> list[float]:
    """Round-trip times in microseconds through an idle tunnel, sorted."""
    told = client.run("ping", "-i", "0.005", "-c", str(count), address)
    return sorted(float(ms) * 1000 for ms in re.findall(r"time=([\d.]+) ms", told))


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
