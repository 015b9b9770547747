"""A body of unknown length on its way: a multipart upload to several nodes at once."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from aosd.gateway.sent import Sent
from aosd.gateway.store import Store, ask
from aosd.model.objects import Headers
from aosd.ports import Candidate, INode
from aosd.streams.bodies import HeldBody
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

        def send(node: INode) -> Deferred[str]:
            return node.put_part(
                self._bucket,
                self._key,
                self._ids[node],
                len(self._etags[node]) + 1,
                HeldBody(pieces),
            )

        answers = await ask(self._nodes, send)
        for candidate in self._nodes:
            answer = answers[candidate.name]
            if isinstance(answer, str) and candidate.node is not None:
                self._etags[candidate.node].append(answer)
        self._out(answers)
        self.size_bytes += size_of(pieces)

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
            raise next(iter(failed.values()))
        # Nothing of an upload takes effect before its Complete: no need of a mark for silence.
        self._nodes = staying

    async def _end(self) -> None:
        """On all nodes on which it hasn't ended."""
        for node in self._ids:
            await self._store.uploads.abort(self._id, node)
        await self._store.uploads.over(self._id)
