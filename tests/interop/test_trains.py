"""Super-packets of the TUN are as long as one train carries, so that neither end takes them apart and together again."""

from __future__ import annotations

import json

from tests.interop.ends import pair


def test_the_kernel_gives_super_packets_that_one_train_carries() -> None:
    with pair("sallyport", "wireguard-go") as (ours, _):
        (shown,) = json.loads(ours.host.run("ip", "-d", "-j", "link", "show", "dev", ours.interface))
        assert shown["gso_max_segs"] == 45  # of 1,452 bytes; IPv4 carries 65,507
