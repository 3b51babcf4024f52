"""Is it alive, is it ready, how is it doing: for machines that start, route and watch."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from heapq import nlargest
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from sqlalchemy import func, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.store import tables
from gateway.store.engine import reading
from gateway.web.deployment import Deployment
from gateway.web.operations import Operation, Proof, answer_json
from gateway.wireguard.config import PeerStatus

WORST_PEERS: Final = 20


def healthz(_gateway: Deployment, _request: Request, _body: bytes) -> Response:
    """Say that the process answers."""
    return PlainTextResponse("ok\n")


def readyz(gateway: Deployment, _request: Request, _body: bytes) -> Response:
    """Say whether new sessions can be opened, and which part is missing if not."""
    checks = {
        "database": _database(gateway),
        "policy": True,
        "tunnel": gateway.enforcement.whole,
        "provider": gateway.provider_check.reached(),
        "clock": gateway.clock.right(),
    }
    return answer_json({"ready": all(checks.values()), "checks": checks}, 200 if all(checks.values()) else 503)


def metrics(gateway: Deployment, _request: Request, _body: bytes) -> Response:
    """Count, in Prometheus' text form. No user, device or session is named; a peer by the beginning of its public key."""
    registry = CollectorRegistry()
    registry.register(_Figures(gateway))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _database(gateway: Deployment) -> bool:
    try:
        with reading(gateway.engine) as db:
            db.connection().execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True


class _Figures(Collector):
    """Read when they are asked for, so that nothing is kept twice."""

    def __init__(self, gateway: Deployment) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        live = GaugeMetricFamily("sallyport_live_sessions", "Live sessions by tier.", labels=["tier"])
        counts = dict.fromkeys(self._gateway.in_force.policy.tiers[:-1], 0) | self._live()
        for tier, count in counts.items():
            live.add_metric([tier], count)
        yield live
        yield GaugeMetricFamily(
            "sallyport_tunnel_up", "1 while the tunnel follows.", value=float(self._gateway.enforcement.whole)
        )
        status = self._gateway.enforcement.status
        yield GaugeMetricFamily("sallyport_tunnel_peers", "Peers at the last full look.", value=len(status.peers))
        drops = CounterMetricFamily(
            "sallyport_tunnel_drops", "Datagrams and packets refused, at the last full look.", labels=["reason"]
        )
        for drop, count in status.drops.items():
            drops.add_metric([drop.value], count)
        yield drops
        yield _drops_by_peer(status.peers)

    def _live(self) -> dict[str, int]:
        rows = tables.Session
        with reading(self._gateway.engine) as db:
            found = db.exec(
                select(rows.tier, func.count()).where(col(rows.live_device).is_not(None)).group_by(rows.tier)
            )
            return dict(found.all())


def _drops_by_peer(peers: Iterable[PeerStatus]) -> Metric:
    """Those of which most is refused: a series for every peer would be a burden to whoever stores them."""
    drops = CounterMetricFamily(
        "sallyport_tunnel_peer_drops",
        f"Refused from or to one peer, at the last full look; the {WORST_PEERS} with most.",
        labels=["peer", "reason"],
    )
    worst = nlargest(WORST_PEERS, peers, key=lambda peer: sum(peer.drops.values()))
    for peer in worst:
        for drop, count in peer.drops.items():
            drops.add_metric([b64encode(peer.public_key).decode()[:8], drop.value], count)
    return drops


OPERATIONS = (
    Operation("GET", "/healthz", "Does the process answer", Proof.NOTHING, 200, healthz),
    Operation("GET", "/readyz", "Can new sessions be opened", Proof.NOTHING, 200, readyz),
    Operation("GET", "/metrics", "Figures for Prometheus", Proof.NOTHING, 200, metrics),
)
