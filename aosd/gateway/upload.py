"""A body of unknown length on its way: a multipart upload to several nodes at once."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer

from aosd.gateway.sent import Sent
from aosd.gateway.store import Store, ask
from aosd.model.objects import Headers
from aosd.model.parts import etag_of_parts
from aosd.ports import Candidate, IBodySource, INode
from aosd.streams.bodies import HeldBody
from aosd.streams.digests import Digests
from aosd.streams.fanout import Fanout, drop_when_over
from aosd.streams.reader import Pieces, size_of


class Upload:
    """The same parts to every node. One that misses a part is out; the last one never is.

    `id` names it in the cluster's memory, where it stands as long as it is open, so that
    it can be aborted when nobody completes it.
    """

    def __init__(
        self, store: Store, bucket: str, key: str, nodes: Sequence[Candidate], upload: str
    ) -> None:
        self.size_bytes = 0
        self.completing = False
        self._store = store
        self._bucket = bucket
        self._key = key
        self._nodes = list(nodes)
        self._id = upload
        self._sent = Sent()
        self._created: Deferred[None] | None = None
        self._ids: dict[INode, str] = {}
        self._etags: dict[INode, list[str]] = {}

    async def create(self, headers: Headers) -> None:
        """Begin it on every node; to its end, or nobody would know the id to abort."""
        created = self._created = Deferred()
        uploads = self._store.uploads

        async def create_all() -> None:
            try:
                names = [each.name for each in self._nodes]
                await uploads.begin(self._id, self._bucket, self._key, names)
                answers = await ask(
                    self._nodes,
                    lambda node: Deferred.fromCoroutine(uploads.create(self._id, node, headers)),
                )
                for candidate in self._nodes:
                    answer = answers[candidate.name]
                    if isinstance(answer, str) and candidate.node is not None:
                        self._ids[candidate.node] = answer
                        self._etags[candidate.node] = []
                self._out(answers)
            finally:
                created.callback(None)

        await self._store.to_the_end.run(create_all())

    async def put_part(self, pieces: Pieces) -> None:
        """The next part, to all that have all before it."""
        answers = await ask(self._nodes, lambda node: self._send_part(node, HeldBody(pieces)))
        self._part_sent(answers, size_of(pieces))

    async def flow_part(self, body: IBodySource) -> None:
        """As put_part, of a body of known length that isn't held.

        It goes at the pace of the slowest node. Raises what the body failed with.
        """
        assert body.length is not None
        fanout = Fanout(body, len(self._nodes), Digests({}))
        names = (each.name for each in self._nodes)
        branches = dict(zip(names, fanout.branches, strict=True))

        def send(node: INode) -> Deferred[str]:
            branch = branches[node.name]
            return drop_when_over(self._send_part(node, branch), fanout, branch, node.name)

        sending = Deferred.fromCoroutine(ask(self._nodes, send))
        try:
            await fanout.last_in_hand
        except BaseException as error:
            fanout.abort(Failure(error))
            await DeferredList([sending], consumeErrors=True)
            raise
        fanout.release()
        self._part_sent(await sending, body.length)

    def _send_part(self, node: INode, body: IBodyProducer) -> Deferred[str]:
        number = len(self._etags[node]) + 1
        return node.put_part(self._bucket, self._key, self._ids[node], number, body)

    def _part_sent(self, answers: dict[str, str | Exception], size_bytes: int) -> None:
        for candidate in self._nodes:
            answer = answers[candidate.name]
            if isinstance(answer, str) and candidate.node is not None:
                self._etags[candidate.node].append(answer)
        self._out(answers)
        self.size_bytes += size_bytes

    @property
    def etags(self) -> set[str | None]:
        """What the parts make of it on the nodes that have all: None where that isn't known."""
        nodes = (each.node for each in self._nodes)
        return {etag_of_parts(self._etags[node]) for node in nodes if node is not None}

    async def complete(self) -> Sent:
        """Make it the object on every node that has all parts."""
        self.completing = True
        answers = await ask(
            self._nodes,
            lambda node: node.complete_upload(
                self._bucket,
                self._key,
                self._ids[node],
                tuple(enumerate(self._etags[node], 1)),
            ),
        )
        for name, answer in answers.items():
            self._sent.answered(name, answer)
            if isinstance(answer, str):
                self._store.uploads.ended(self._id, name)
        await self._end()
        return self._sent

    async def abort(self) -> None:
        """Let the nodes forget it; who can't be told is told later, by who tends uploads."""
        if self._created is not None:
            await self._created
        await self._end()

    def _out(self, answers: dict[str, str | Exception]) -> None:
        """Go on without those that failed; with nobody left, fail as the last one did."""
        failed = {name: answer for name, answer in answers.items() if not isinstance(answer, str)}
        staying = [each for each in self._nodes if each.name not in failed]
        if not staying:
            # Who deletes the bucket aborts what is open in it.
            self._store.buckets.check(self._bucket, self._id)
            raise next(iter(failed.values()))
        # Nothing of an upload takes effect before its Complete: no need of a mark for silence.
        self._nodes = staying

    async def _end(self) -> None:
        """On all nodes on which it hasn't ended."""
        for node in self._ids:
            await self._store.uploads.abort(self._id, node)
        await self._store.uploads.over(self._id)
