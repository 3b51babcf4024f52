"""The TUN device: made by python-pytun, then read and written as frames with virtio headers.

pytun's own read and write copy and take only bytes, so the descriptor is used directly (python-pytun 2.4).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct

from pytun import IFF_NO_PI, IFF_TUN, IFF_VNET_HDR, TunTapDevice
from pytun import Error as PytunError

from gateway.errors import HostError
from gateway.packet.offload import VIRTIO, Parts
from gateway.tunnel.link import limit_segments
from gateway.wireguard.outbox import segments_per_train

TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
CSUM, TSO4, TSO6, USO4, USO6 = 1, 2, 4, 0x20, 0x40
"""TUN_F_ flags of linux/if_tun.h."""
DEFAULT_MTU = 1420
FRAME = VIRTIO.size + 65_535


class Tun:
    """A TUN of this process; one that was made for its user stays after `close`, any other goes away with it."""

    def __init__(self, name: str, mtu: int = DEFAULT_MTU) -> None:
        """Make the device. Raises HostError that says what the machine lacks."""
        try:
            self._device = TunTapDevice(name=name, flags=IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)
        except (PytunError, OSError) as error:
            raise HostError(_explain(name, error)) from None
        self.name: str = self._device.name
        self.mtu = mtu
        self._set_mtu(mtu)
        self._descriptor: int = self._device.fileno()
        os.set_blocking(self._descriptor, False)
        os.set_inheritable(self._descriptor, False)
        fcntl.ioctl(self._descriptor, TUNSETVNETHDRSZ, struct.pack("i", VIRTIO.size))
        self.udp_offload = self._offload()
        with contextlib.suppress(OSError):  # somebody else's TUN was made with it; without it, trains are less even
            limit_segments(self.name, segments_per_train(mtu))

    def _set_mtu(self, mtu: int) -> None:
        """Somebody else's TUN has its MTU already, which may not be changed without privilege."""
        if self._device.mtu == mtu:
            return
        try:
            self._device.mtu = mtu
        except (PytunError, OSError):
            self._device.close()
            raise HostError(
                f"{self.name} has another MTU than {mtu}: run `sallyport setup-host` again, as root"
            ) from None

    def _offload(self) -> bool:
        """Take super-packets of both protocols, or of TCP alone before Linux 6.2. Say whether UDP is among them."""
        for flags in (CSUM | TSO4 | TSO6 | USO4 | USO6, CSUM | TSO4 | TSO6, CSUM):
            try:
                fcntl.ioctl(self._descriptor, TUNSETOFFLOAD, flags)
            except OSError:
                continue
            return bool(flags & USO4)
        return False

    def fileno(self) -> int:
        return self._descriptor

    def read_into(self, buffer: bytearray) -> int | None:
        """Read one frame; None when there is none. Raises OSError when the device is gone."""
        try:
            return os.readv(self._descriptor, [buffer])
        except BlockingIOError:
            return None

    def write(self, parts: Parts) -> bool:
        """Write one frame. False when the kernel refuses it: the device is down, or the packet unsound."""
        try:
            os.writev(self._descriptor, parts)
        except OSError as error:
            if error.errno == errno.EBADFD:
                raise
            return False
        return True

    def close(self) -> None:
        self._device.close()


def _explain(name: str, error: Exception) -> str:
    number = error.args[0] if error.args else None
    reasons = {
        errno.ENOENT: "there is no /dev/net/tun; load the tun module, or give the container the device",
        errno.ENXIO: "there is no TUN driver in this kernel",
        errno.EPERM: "making a TUN needs root or CAP_NET_ADMIN, or a TUN that `sallyport setup-host` made for this user",
        errno.EACCES: "/dev/net/tun may not be opened; run as root or with CAP_NET_ADMIN",
        errno.EBUSY: "the interface is in use by another process",
    }
    return f"cannot make the TUN {name}: {reasons.get(number, str(error))}"  # type: ignore[arg-type]
