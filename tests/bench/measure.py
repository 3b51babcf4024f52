"""Single measurements through a tunnel. Each gives numbers; what they mean stands in `figures.py`."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from gateway.demo.namespaces import Host

SECONDS = 2
LOST = 0.001
"""Part of the packets that may be lost where a rate still counts as without loss: the machine itself loses that much."""
STEPS = 4
"""Halvings of the interval in which the highest rate without loss is looked for."""


class Iperf:
    """One run of iperf3, begun and waited for apart, so that several can run at a time."""

    def __init__(self, client: Host, server: Host, address: str, *options: str, port: int = 5201) -> None:
        listen = ["iperf3", "-s", "-1", "-J", "-B", address, "-p", str(port)]
        self._server = subprocess.Popen(server.command(*listen), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._listens(server, address, port)
        command = client.command("iperf3", "-c", address, "-p", str(port), "-J", *options)
        self._client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def _listens(server: Host, address: str, port: int) -> None:
        deadline = time.monotonic() + 10
        while f"{address}:{port}" not in server.run("ss", "-Hltn") and time.monotonic() < deadline:
            time.sleep(0.02)

    def end(self) -> dict[str, Any]:
        """Wait for the end; give everything that iperf3 tells."""
        try:
            out, _ = self._client.communicate(timeout=120)
            told: dict[str, Any] = json.loads(out)
            if "error" in told:
                raise RuntimeError(f"iperf3: {told['error']}")
            return told
        finally:
            for each in (self._client, self._server):
                each.kill()
                each.wait()

    def received(self) -> dict[str, float]:
        """The receiver's sums."""
        end = self.end()["end"]
        found: dict[str, float] = end.get("sum_received") or end["sum"]
        return found


def tcp(client: Host, server: Host, address: str, *options: str) -> float:
    """Goodput of TCP in Mbit/s."""
    return Iperf(client, server, address, "-t", str(SECONDS), *options).received()["bits_per_second"] / 1e6


def seconds_of_tcp(client: Host, server: Host, address: str, seconds: int, *options: str) -> list[float]:
    """Goodput of TCP in every second but the first, in Mbit/s, as the receiver saw it."""
    told = Iperf(client, server, address, "-t", str(seconds), "-i", "1", *options, "--get-server-output").end()
    if "-R" not in options:
        told = told["server_output_json"]
    return [each["sum"]["bits_per_second"] / 1e6 for each in told["intervals"] if each["sum"]["seconds"] > 0.9][1:]


def udp(client: Host, server: Host, address: str, size: int, rate: float) -> tuple[float, float]:
    """Offer so many packets a second for one second, 0 as many as can be. Give what arrived per second, and the part lost."""
    found = Iperf(client, server, address, "-t", "1", "-u", "-b", f"{rate * size * 8:.0f}", "-l", str(size)).received()
    lost = max(found["lost_percent"], 0.0) / 100
    return found["packets"] * (1 - lost) / found["seconds"], lost


def udp_without_loss(client: Host, server: Host, address: str, size: int) -> float:
    """The highest rate without loss in packets per second, by bisection below what arrives when everything is offered."""
    most, lost = udp(client, server, address, size, 0)
    if lost <= LOST:
        return most
    low, high = 0.0, most
    for _ in range(STEPS):
        tried = (low + high) / 2
        arrived, lost = udp(client, server, address, size, tried)
        low, high = (arrived, high) if lost <= LOST else (low, tried)
    return low


def round_trips(client: Host, address: str, *, count: int = 300) -> tuple[float, float]:
    """Median and 99th percentile of round-trip times in microseconds through an idle tunnel."""
    told = client.run("ping", "-i", "0.005", "-c", str(count), address)
    times = sorted(float(ms) * 1000 for ms in re.findall(r"time=([\d.]+) ms", told))
    return statistics.median(times), times[-(count // 100) - 1]


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
