"""The pump: one thread, one epoll, one clock. Everything that flows through the tunnel flows through here."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

from gateway.packet.drop import Drop
from gateway.packet.offload import Parts
from gateway.tunnel.control import Client, ControlSocket
from gateway.tunnel.opener import Here, Opener
from gateway.tunnel.surroundings import Surroundings
from gateway.tunnel.tun import FRAME, Tun
from gateway.tunnel.udp import TRAIN, UdpSockets
from gateway.wireguard.config import InterfaceConfig, InterfaceStatus
from gateway.wireguard.interface import Interface
from gateway.wireguard.outbox import Transmit
from gateway.wireguard.timestamps import Timestamps
from gateway.wireguard.transforms import Transforms

BATCH = 32
"""Reads from one side before the other gets its turn."""
PACKED = 32_768
"""Bytes that are packed together into trains before they are sent."""
GATHERED = 4 * TRAIN
"""Bytes that are read from the network before they are opened."""
MAX_CLIENTS = 64
"""Connections to the control socket at a time: what comes beyond is closed at once, so that descriptors are never short."""
TICK = 1.0
"""Seconds between two looks at what sends no event: watchers' counters and whether the socket's file is still there."""


def boottime() -> float:
    """Seconds since the machine started, sleep included: a suspended laptop's lease goes on running."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Pump:
    """Moves trains between TUN and UDP until it is told to stop, the TUN is deleted or its socket removed."""

    def __init__(
        self,
        tun: Tun,
        control: ControlSocket,
        transforms: Transforms,
        *,
        port: int = 0,
        timestamps: Timestamps | None = None,
    ) -> None:
        """`port` is listened on until another one is asked for; 0 takes a free one."""
        self.opener: Opener = Here()
        self._tun = tun
        self._control = control
        self._timestamps = timestamps or Timestamps()
        self._interface = Interface(
            now=boottime(),
            unix_time=time.time(),
            entropy=os.urandom,
            transforms=transforms,
            timestamps=self._timestamps,
        )
        self._interface.set_offload(mtu=tun.mtu, udp=tun.udp_offload)
        self._udp = UdpSockets(port)
        self._dropped_before = 0
        self._fwmark = 0
        self._clients: dict[int, Client] = {}
        self._waiting: deque[Transmit] = deque()
        self._frame = bytearray(FRAME)
        self._trains = bytearray(GATHERED)
        self._poll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._now = boottime()
        self._burst = 1
        self._busy: set[int] = set()
        self._running = True
        self._watch(tun.fileno(), self._read_tun)
        self._watch(control.sock.fileno(), self._accept)
        self._watch_udp()
        self._surroundings = _surroundings(tun)
        if self._surroundings is not None:
            self._watch(self._surroundings.sock.fileno(), self._look_around)
        self._drops_told: dict[bytes, int] = {}

    def _look_around(self, _events: int) -> None:
        assert self._surroundings is not None
        self._surroundings.read()
        self._interface.guard(self._surroundings.guarded())
        self._interface.set_offload(mtu=self._surroundings.mtu, udp=self._tun.udp_offload)
        self._udp.remember_addresses(wanted=self._surroundings.several())

    def _watch(self, descriptor: int, ready: Callable[[int], None]) -> None:
        self._ready[descriptor] = ready
        self._poll.register(descriptor, select.EPOLLIN)

    def _unwatch(self, descriptor: int) -> None:
        del self._ready[descriptor]
        with contextlib.suppress(OSError):
            self._poll.unregister(descriptor)

    def _watch_udp(self) -> None:
        for each in self._udp.sockets:
            self._watch(each.fileno(), self._udp_ready(each))

    # the loop

    def run(self) -> None:
        """Pump until the end. Signals SIGTERM and SIGINT end it in order."""
        with _wakeup_on_signals(self.stop) as wakeup:
            self._watch(wakeup.fileno(), lambda _events: None)
            next_tick = self._now + TICK
            while self._running:
                if self._now >= next_tick:
                    next_tick = self._now + TICK
                    self._tick()
                self._turn(min(self._deadline(), next_tick))

    def stop(self) -> None:
        self._running = False

    def _deadline(self) -> float:
        deadline = self._interface.next_deadline()
        return float("inf") if deadline is None else deadline[0]

    def _turn(self, deadline: float) -> None:
        """Handle what is ready. What is still ready after its turn has more to read than one packet."""
        found = self._poll.poll(0)
        if not found:
            self._busy.clear()
            found = self._poll.poll(max(deadline - boottime(), 0.0))
        self._now = boottime()
        busy, self._busy = self._busy, set()
        for descriptor, events in found:
            ready = self._ready.get(descriptor)
            if ready is not None:
                self._burst = BATCH if descriptor in busy else 1
                self._busy.add(descriptor)
                ready(events)
        if self._now >= deadline:
            self._write(self._interface.handle_deadline(now=self._now))
        if self._interface.queued:
            self._flush()
        for event in self._interface.events():
            self._tell(f"{event}\n")

    def _tick(self) -> None:
        if not self._control.exists():
            self._running = False
        if any(client.watching for client in self._clients.values()):
            status = self._status()
            received, sent = sum(p.rx_bytes for p in status.peers), sum(p.tx_bytes for p in status.peers)
            drops = "".join(f" drop_{drop.value}={count}" for drop, count in status.drops.items())
            self._tell(f"event=counters peers={len(status.peers)} rx_bytes={received} tx_bytes={sent}{drops}\n")
            self._tell_drops(status)

    def _tell_drops(self, status: InterfaceStatus) -> None:
        """One line for every peer of which more was refused since the last look."""
        before, self._drops_told = self._drops_told, {}
        for peer in status.peers:
            total = self._drops_told[peer.public_key] = sum(peer.drops.values())
            if total != before.get(peer.public_key, 0):
                drops = "".join(f" drop_{drop.value}={count}" for drop, count in peer.drops.items())
                self._tell(f"event=drops public_key={peer.public_key.hex()}{drops}\n")

    # TUN and UDP

    def _read_tun(self, _events: int) -> None:
        view = memoryview(self._frame)
        for turn in range(self._burst):
            try:
                size = self._tun.read_into(self._frame)
            except OSError as error:
                if error.errno not in (errno.EBADFD, errno.EIO):
                    raise
                self._running = error.errno == errno.EIO  # EBADFD: the device was deleted
                break
            if size is None:
                break
            self._write(self._interface.send(view[:size], now=boottime()))  # we may have been stopped meanwhile
            if not turn or self._interface.queued >= PACKED:  # somebody may be waiting for the first
                self._flush()
                if self._waiting:
                    return
        self._flush()

    def _udp_ready(self, sock: socket.socket) -> Callable[[int], None]:
        def ready(events: int) -> None:
            if events & select.EPOLLOUT:
                self._flush()
            if events & ~select.EPOLLOUT:
                self._read_udp(sock)

        return ready

    def _read_udp(self, sock: socket.socket) -> None:
        for train, segment, source in self._udp.gather(sock, memoryview(self._trains), self._burst):
            self._write(self._interface.receive(train, segment, source, now=boottime()))
        self._flush()

    def _write(self, frames: list[Parts]) -> None:
        for frame in frames:
            if not self._tun.write(frame):
                self._interface.count_drop(Drop.TUN_REFUSED)

    def _flush(self) -> None:
        """Send what is queued. While the network does not take it, the TUN is not read: TCP inside slows down."""
        was_waiting = bool(self._waiting)
        if self._interface.queued:
            self._waiting.extend(self._interface.transmits())
        while self._waiting:
            try:
                if not self._udp.send(self._waiting[0]):
                    self._interface.count_drop(Drop.SEND_FAILED)
            except BlockingIOError:
                break
            self._waiting.popleft()
        if bool(self._waiting) != was_waiting:
            self._pause(paused=bool(self._waiting))

    def _pause(self, *, paused: bool) -> None:
        self._poll.modify(self._tun.fileno(), 0 if paused else select.EPOLLIN)
        for each in self._udp.sockets:
            self._poll.modify(each.fileno(), select.EPOLLIN | (select.EPOLLOUT if paused else 0))

    # control

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._control.sock.accept()
        except OSError:
            return
        if len(self._clients) >= MAX_CLIENTS:
            sock.close()
            return
        client = Client(sock, configure=self._configure, status=self._status)
        self._clients[sock.fileno()] = client
        self._watch(sock.fileno(), lambda events: self._serve(client, events))

    def _serve(self, client: Client, events: int) -> None:
        if events & select.EPOLLOUT:
            client.write()
        if events & ~select.EPOLLOUT:
            client.read()
        self._settle(client)

    def _settle(self, client: Client) -> None:
        descriptor = client.sock.fileno()
        if client.closed:
            self._unwatch(descriptor)
            self._clients.pop(descriptor, None)
            client.sock.close()
        else:
            self._poll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if client.wants_to_write else 0))

    def _tell(self, text: str) -> None:
        for client in [client for client in self._clients.values() if client.watching]:
            client.push(text)
            self._settle(client)

    def _configure(self, config: InterfaceConfig) -> None:
        if config.listen_port is not None and config.listen_port != self._udp.port:
            self._rebind(config.listen_port)
        if config.fwmark is not None:
            self.opener.mark(self._udp.sockets, config.fwmark)  # they may have been opened before the deputy was there
            self._fwmark = config.fwmark
        self._interface.configure(config, now=boottime())

    def _rebind(self, port: int) -> None:
        fresh = UdpSockets(port, self._fwmark, self.opener)  # raises before anything is changed
        self._dropped_before += self._udp.dropped
        for each in self._udp.sockets:
            self._unwatch(each.fileno())
        self._udp.close()
        self._udp = fresh
        if self._surroundings is not None:
            self._udp.remember_addresses(wanted=self._surroundings.several())
        self._watch_udp()

    def _status(self) -> InterfaceStatus:
        status = self._interface.status(now=self._now, listen_port=self._udp.port)
        by_kernel = self._dropped_before + self._udp.dropped
        return replace(status, drops={**status.drops, Drop.KERNEL: by_kernel}) if by_kernel else status

    def close(self) -> None:
        for client in self._clients.values():
            client.sock.close()
        self._udp.close()
        if self._surroundings is not None:
            self._surroundings.close()
        self._timestamps.close()
        self._poll.close()
        self._control.close()
        self._tun.close()


def _surroundings(tun: Tun) -> Surroundings | None:
    try:
        return Surroundings(tun.name, tun.mtu)
    except OSError as error:
        print(f"the host's addresses are not known, a wide permit means them: {error.strerror}", file=sys.stderr)
        return None


class _wakeup_on_signals(contextlib.AbstractContextManager[socket.socket]):  # noqa: N801  reads as a verb
    """Call `stop` on SIGTERM and SIGINT, and make the poll return: the socket it gives becomes readable."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)

    def __enter__(self) -> socket.socket:
        def handle(_number: int, _frame: FrameType | None) -> None:
            self._stop()

        self._before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        self._wakeup_before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        return self._read

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._read.close()
        self._write.close()
