"""From settings to a running daemon: the only place that wires things together."""

from __future__ import annotations

import random
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.python.threadpool import ThreadPool

from aosd.assembly import Assembly
from aosd.collecting import collect_seldom
from aosd.descriptors import allow_many, for_clients
from aosd.discovery.providers import context_of, make_provider
from aosd.doors.express.factory import ExpressSite
from aosd.doors.express.routes import Routes
from aosd.doors.load import Load
from aosd.doors.operations.acts import Acts
from aosd.doors.operations.doctor import Doctor
from aosd.doors.operations.door import OperationsDoor
from aosd.doors.operations.explaining import Explaining
from aosd.doors.operations.report import Oversight
from aosd.doors.operations.token import OperatorToken
from aosd.doors.plain import PlainDoor
from aosd.doors.root import Doors
from aosd.doors.s3.door import S3Door
from aosd.doors.s3.identities import Identities
from aosd.doors.s3.identities_file import IdentitiesFile
from aosd.doors.site import HeadFirstSite
from aosd.model.check import Check
from aosd.model.errors import ConfigurationError
from aosd.model.marker import Introduction
from aosd.model.node import Address, Credentials
from aosd.nodes.cleaning import clean
from aosd.nodes.examine import examine
from aosd.nodes.express.node import ExpressNode
from aosd.nodes.provision import equip, introduce
from aosd.nodes.s3 import S3Node
from aosd.nodes.space import space_of
from aosd.nodes.wiring import Deadlines, Wiring
from aosd.observe.access import AccessLog
from aosd.observe.logs import json_observer
from aosd.observe.metrics import Metrics
from aosd.options import Options
from aosd.ports import IHealth, INode
from aosd.settings import Settings
from aosd.streams.deadlines import within

_THREADS = 8
_LAST_ACTS_S = 3.0  # for what has a turn, and for aborting uploads, after the grace


class Daemon(Service):
    """The daemon: started and stopped by twistd.

    `now` gives seconds since 1970; `reactor` everything else. `unknown_environment` are
    variables that look like settings and are none: they are warned of. `twistd_options` say
    where twistd logs.
    """

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        now: Callable[[], float],
        unknown_environment: Sequence[str] = (),
        twistd_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._twistd_options = twistd_options
        self._unknown_environment = unknown_environment
        self._settings = settings
        self._reactor = reactor
        self._now = now
        self._random = random.Random()
        self._metrics = metrics = Metrics()
        self._load = Load(
            settings.max_requests,
            settings.most_requests_of_one,
            lambda door: metrics.refused.labels(door).inc(),
        )
        self._threads = ThreadPool(0, _THREADS, "aosd-blocking")
        self._deadlines = Deadlines(
            first_byte_s=settings.first_byte_timeout_s,
            stall_s=settings.node_idle_timeout_s,
            answer_s=settings.first_byte_timeout_s,
            complete_s=settings.complete_timeout_s,
            client_stall_s=settings.client_stall_timeout_s,
        )
        discovery = context_of(settings, reactor, self._threads)
        self._assembly = Assembly(
            settings,
            reactor,
            now,
            [make_provider(each, discovery) for each in settings.nodes],
            self._make_node,
            self._introduce,
            self._equip,
            self._random,
            self._metrics,
            lambda: secrets.token_hex(8),
            self._clean,
            self._space,
        )
        self._identities = Identities(self._root_pair, settings.identities)
        self._identities_file: IdentitiesFile | None = None
        if settings.identities_file is not None:
            self._identities_file = IdentitiesFile(
                settings.identities_file, self._identities, reactor
            )
        self._oversight = Oversight(self._assembly, settings.replicas)
        store = self._assembly.store
        plain = PlainDoor(store) if settings.plain_door == "open" else None
        operations = self._operations()
        s3 = S3Door(store, self._identities, settings.s3_domain, now)
        self._sites: list[tuple[str, HeadFirstSite | ExpressSite]] = []
        if settings.operations is None:
            public = Doors(plain, operations, s3, settings.s3_domain)
        else:
            public = Doors(plain, None, s3, settings.s3_domain)
            self._sites.append((settings.operations, self._site(Doors(None, operations, None))))
        site = self._site(public)
        public_site: HeadFirstSite | ExpressSite = site
        if settings.express:
            routes = Routes(public, plain, s3, settings.s3_domain)
            public_site = ExpressSite(site, routes, self._metrics)
        self._sites.extend((endpoint, public_site) for endpoint in settings.http)
        self._ports: list[IListeningPort] = []

    # -- life -----------------------------------------------------------------------------------

    def setServiceParent(self, parent: Any) -> None:
        """Join twistd's application, which takes its log observer from a component of it."""
        super().setServiceParent(parent)
        if self._settings.log_format == "json":
            observer = json_observer(self._twistd_options)
            parent.setComponent(ILogObserver, observer)

    def privilegedStartService(self) -> None:
        """Listen, while we may still have the rights to; a port that is taken is fatal."""
        super().privilegedStartService()
        collect_seldom()
        settings = self._settings
        most = for_clients(allow_many(), settings.max_requests, settings.replicas)
        for endpoint, site in self._sites:
            site.most_channels = most
            self._listen(endpoint, site)

    def startService(self) -> None:
        """Start discovery and the watch over nodes."""
        super().startService()
        self._threads.start()
        self._warn()
        if self._identities_file is not None:
            self._identities_file.start()
        self._assembly.start()

    def stopService(self) -> Deferred[None]:
        """Not ready, stop listening, finish what is in flight, stop the rest."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._oversight.stopping = True
        self._log.info("stopping")
        await DeferredList([maybeDeferred(port.stopListening) for port in self._ports])
        sites = {site for _, site in self._sites}
        grace_s = self._settings.shutdown_grace_s
        draining = DeferredList([site.drain() for site in sites], consumeErrors=True)
        try:
            await within(self._reactor, grace_s, draining, lambda: TimeoutError())
        except TimeoutError:
            self._log.warn("requests cut off after {grace_s} s", grace_s=grace_s)
            for site in sites:
                site.abort()
            # Connections end a turn of the reactor later, and their requests with them.
            await DeferredList([site.drain() for site in sites], consumeErrors=True)
        idle = Deferred.fromCoroutine(self._assembly.to_the_end.idle())
        with suppress(TimeoutError):
            await within(self._reactor, _LAST_ACTS_S, idle, lambda: TimeoutError())
        if self._identities_file is not None:
            self._identities_file.stop()
        await self._assembly.stop()
        self._threads.stop()
        self._log.info("stopped")

    # -- wiring ---------------------------------------------------------------------------------

    def _listen(self, description: str, site: HeadFirstSite | ExpressSite) -> None:
        listening = serverFromString(self._reactor, description).listen(site)
        failures: list[Any] = []
        listening.addCallbacks(self._ports.append, failures.append)
        if failures:
            error = failures[0].value
            reason = error.socketError if isinstance(error, CannotListenError) else error
            told = f"aosd: can't listen on {description}: {reason}"
            if not (self._twistd_options or {}).get("nodaemon", True):
                # The process that was started waits to be told, and knows Exception only.
                raise ConfigurationError(told)
            # Here twistd would print a traceback; the reason is all that helps.
            sys.exit(told)
        self._log.info("listening on {endpoint}", endpoint=description)

    def _site(self, doors: Doors) -> HeadFirstSite:
        return HeadFirstSite(
            doors,
            clock=self._reactor,
            observer=AccessLog(self._reactor, self._metrics, self._settings.access_log),
            make_request_id=lambda: f"{self._random.getrandbits(64):016X}",
            door_of=doors.door_of,
            client_idle_timeout_s=self._settings.client_idle_timeout_s,
            load=self._load,
        )

    def _operations(self) -> OperationsDoor:
        assembly, settings = self._assembly, self._settings
        given = settings.operator_token
        token = None if given is None else given.get_secret_value()
        return OperationsDoor(
            self._oversight,
            self._metrics,
            OperatorToken(token, lambda: assembly.keys.token),
            Acts(
                assembly.changes,
                assembly.forecasts,
                assembly.keeper,
                assembly.leaving,
                assembly.to_the_end,
                self._oversight.changes,
            ),
            Explaining(assembly),
            Doctor(assembly, self._examine, self._now, settings.sweep_interval_s),
        )

    def _root_pair(self) -> Credentials | None:
        """The settings', otherwise the one that was made for the cluster."""
        return self._settings.root_pair or self._assembly.keys.pair

    def _make_node(
        self, name: str, address: Address, credentials: Credentials, health: IHealth
    ) -> INode:
        make = ExpressNode if self._settings.express else S3Node
        return make(
            Wiring(
                name,
                address,
                credentials,
                reactor=self._reactor,
                now=self._now,
                health=health,
                metrics=self._metrics,
                deadlines=self._deadlines,
                connect_timeout_s=self._settings.connect_timeout_s,
                connections=self._settings.node_connections,
                most_waiting=self._settings.most_waiting_for_one,
            )
        )

    def _introduce(
        self,
        name: str,
        address: Address,
        credentials: Credentials,
        probe: bool,
        consented: bool,
    ) -> Deferred[Introduction]:
        ask = partial(introduce, name, address, credentials, probe=probe, consented=consented)
        return deferToThreadPool(self._reactor, self._threads, ask)

    def _examine(
        self,
        name: str,
        address: Address,
        credentials: Credentials,
        cluster: str,
        incarnation: str,
        member: bool,
    ) -> Deferred[tuple[Check, ...]]:
        return deferToThreadPool(
            self._reactor,
            self._threads,
            examine,
            name,
            address,
            credentials,
            cluster=cluster,
            incarnation=incarnation,
            member=member,
            now=self._now,
        )

    def _equip(
        self,
        name: str,
        address: Address,
        credentials: Credentials,
        marker: bytes,
        over: bytes | None,
        records: Mapping[str, bytes],
    ) -> Deferred[bytes]:
        asked = (name, address, credentials, marker, over, records)
        return deferToThreadPool(self._reactor, self._threads, equip, *asked)

    def _clean(
        self, name: str, address: Address, credentials: Credentials, cluster: str, buckets: bool
    ) -> Deferred[None]:
        asked = (name, address, credentials, cluster, buckets)
        return deferToThreadPool(self._reactor, self._threads, clean, *asked)

    def _space(self, address: Address, credentials: Credentials) -> Deferred[int | None]:
        def ask() -> int | None:
            space = space_of(address, credentials)
            return None if space is None else space.available_bytes

        return deferToThreadPool(self._reactor, self._threads, ask)

    def _warn(self) -> None:
        settings = self._settings
        for name in self._unknown_environment:
            self._log.warn("unknown setting in the environment: {name}", name=name)
        if settings.plain_door == "open":
            exposed = [each for each in settings.http if "127.0.0.1" not in each]
            if exposed:
                self._log.warn(
                    "the plain door is open to anyone who reaches {endpoints}; "
                    "AOSD_PLAIN_DOOR=off closes it",
                    endpoints=" ".join(exposed),
                )
        self._log.warn("this must be the only gateway of its nodes: several come later")


def makeService(options: Options) -> Service:
    """What twistd runs: see twisted.application.service.IServiceMaker."""
    # The one place that may know the global reactor (twistd has chosen it by now).
    import time

    from twisted.internet import reactor

    try:
        return _daemon(options, reactor, time.time)
    except ConfigurationError as error:
        sys.exit(f"aosd: {error}")


def _daemon(options: Options, reactor: Any, now: Callable[[], float]) -> Daemon:
    return Daemon(
        options.settings,
        reactor,
        now,
        options.unknown_environment,
        getattr(options, "parent", None),
    )
