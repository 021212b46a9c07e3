"""What a worker's Python commands may ask of the node."""

import asyncio
import itertools
import ssl
import urllib.parse
from collections.abc import Iterable, Sequence

from yggdrasil.server.config import Config
from yggdrasil.server.config_live import changed, matching, settable
from yggdrasil.server.errors import ConfigSetError, ErrandError, SupervisorError, UsersChangeError
from yggdrasil.server.link import Link
from yggdrasil.server.messages import Answer, Ask, NodeInfo, NodeState, Request, Saving, ToChild, UsersChange
from yggdrasil.server.namespaces import Namespace, make_namespace, namespaces_text, parse_namespaces
from yggdrasil.server.tls import client_context

_ERRORS = {"config": ConfigSetError, "namespace": ConfigSetError, "snapshot": ErrandError, "users": UsersChangeError}
"""By the first word of what was asked for."""


class Services:
    """The node as one worker sees it. Whatever concerns all processes is asked of the supervisor."""

    def __init__(self, node: NodeInfo, shard: int, config: Config, link: Link[ToChild]) -> None:
        self.node = node
        self.shard = shard
        self.config = config
        """The configuration in force; replaced when options are set, also through other workers."""
        self._link = link
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    def config_get(self, patterns: Iterable[str]) -> dict[str, str]:
        """Options whose name fits a pattern, with their values as Redis prints them."""
        return matching(self.config, patterns)

    async def config_set(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Sets options on all workers, all of them or none. ConfigSetError has the text of the error reply."""
        changed(self.config, pairs)
        await self._ask("config-set", values=settable(pairs))

    @property
    def namespaces(self) -> dict[bytes, Namespace]:
        """Promises by the prefixes of the keys; that of all other keys has an empty one."""
        known = parse_namespaces(self.config.durability.namespaces)
        return {b"": Namespace(b"", self.config.ack, may_lower=True)} | known

    async def namespace_set(self, prefix: bytes, ack: str, *, may_lower: bool) -> None:
        """Makes a promise for keys with a prefix, or takes it back; ValueError says what is wrong with it."""
        one = None if ack == "default" else make_namespace(prefix, ack, may_lower)
        # Other workers may change the same list at this moment, so the supervisor puts it together.
        promise = "" if one is None else namespaces_text([one]).rpartition(" ")[2]
        await self._ask("namespace-set", values={"prefix": urllib.parse.quote(prefix), "promise": promise})

    async def log_moved(self) -> None:
        """Waits until all workers have the keys of the logs of another number of shards."""
        await self._ask("log-moved")

    async def config_rewrite(self) -> None:
        """Writes options that were set back to the configuration file. ConfigSetError as above."""
        await self._ask("config-rewrite")

    async def shutdown(self, *, now: bool = False, save: Saving = "auto") -> None:
        """Ends the node: drained as by SIGTERM, or at once; with a snapshot, without, or as it is configured."""
        await self._ask("shutdown", now=now, save=save)

    async def change_users(self, change: UsersChange) -> int:
        """Changes users on all workers; how many were removed. UsersChangeError has the text of the error reply."""
        return (await self._ask("users-change", users=change)).removed

    async def set_user(self, name: bytes, rules: Sequence[bytes], client_id: int) -> None:
        """Changes or makes a user; errors as above."""
        await self.change_users(UsersChange(name="set", arguments=(name, *rules), client_id=client_id))

    async def delete_users(self, names: Sequence[bytes], client_id: int) -> int:
        """Removes users; how many there were. Errors as above."""
        return await self.change_users(UsersChange(name="delete", arguments=tuple(names), client_id=client_id))

    async def load_users(self, client_id: int) -> None:
        """Reads the ACL file again; errors as above."""
        await self._ask("users-load", client_id=client_id)

    async def save_users(self) -> None:
        """Writes the ACL file; errors as above."""
        await self._ask("users-save")

    def migration_context(self) -> ssl.SSLContext | None:
        """The context of TLS for other nodes; None where they are reached without. ConfigError as for the option."""
        return client_context(self.config) if self.config.tls.cluster else None

    async def state(self) -> NodeState:
        """Processes and restarts, as they are now."""
        answer = await self._ask("state")
        assert answer.state is not None
        return answer.state

    async def snapshot(self, action: str, **values: str) -> str:
        """Has the steward do something about snapshots; ErrandError has the text of the error reply."""
        return (await self._ask("snapshot", values={"action": action, **values})).result

    def answered(self, answer: Answer) -> None:
        """Called with what the supervisor answers."""
        waiting = self._waiting.pop(answer.id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def _ask(
        self,
        ask: Ask,
        *,
        values: dict[str, str] | None = None,
        now: bool = False,
        save: Saving = "auto",
        users: UsersChange | None = None,
        client_id: int | None = None,
    ) -> Answer:
        request = Request(
            id=next(self._ids), ask=ask, values=values or {}, now=now, save=save, users=users, client_id=client_id
        )
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = waiting
        self._link.send(request)
        try:
            answer = await waiting
        finally:
            self._waiting.pop(request.id, None)
        if answer.error is not None:
            raise _ERRORS.get(ask.partition("-")[0], SupervisorError)(answer.error)
        return answer
