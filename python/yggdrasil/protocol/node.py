"""The node as a command sees it: its worker, and the others through questions."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from yggdrasil._core import Context, ReplyError, Worker, YggdrasilError
from yggdrasil.protocol.capturing import Capturing
from yggdrasil.protocol.reply import raw
from yggdrasil.protocol.services import Services
from yggdrasil.protocol.table import Table

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

Raw = Annotated[
    bytes,
    PlainSerializer(lambda value: value.decode("latin-1"), return_type=str, when_used="json"),
    BeforeValidator(lambda value: value.encode("latin-1") if isinstance(value, str) else value),
]
"""Any bytes, inside of a question or an answer."""


@dataclass(frozen=True, slots=True)
class CommandModule:
    """A module of commands that was loaded."""

    file: str
    commands: tuple[str, ...]
    """Their names, subcommands included."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a client wants of SYNC, by REPLCONF."""

    is_alone: bool = False
    """The keys, and no changes behind them."""

    only_functions: bool = False


class Here:
    """The worker that a command runs on."""

    def __init__(self, worker: Worker, services: Services) -> None:
        self.worker = worker
        self.services = services
        self.waiting: dict[int, asyncio.Future[bool]] = {}
        """Clients that wait in a blocking command; the result says whether they get an error."""

        self.wishes: dict[int, Wishes] = {}
        """What clients have said by REPLCONF, those that said it last at the end."""

        self.capturing = Capturing(worker)
        """The capture that this worker writes."""

        self.modules: dict[str, CommandModule] = {}
        """Modules of commands that are not part of this package, by their names."""

        self.startup_bytes = worker.memory()["used"]
        """What the empty arena takes."""

    def end_waiting(self) -> None:
        """Lets clients in blocking commands go on as if their time was over."""
        for waiting in self.waiting.values():
            if not waiting.done():
                waiting.set_result(False)

    @cached_property
    def databases(self) -> int:
        """Logical databases."""
        return int(self.services.config_get(["databases"])["databases"])

    @property
    def keys(self) -> int:
        """Keys of the shard in all databases."""
        return sum(self.worker.database_len(db)[0] for db in range(self.databases))

    @cached_property
    def table(self) -> Table:
        """The command table, which does not change after the start."""
        return Table(self.worker.commands())

    @property
    def shard(self) -> int:
        """The shard of this worker."""
        return self.services.shard


@dataclass(frozen=True, slots=True)
class Question(Generic[Asked, Answered]):
    """What can be asked of every worker. Question and answer travel as JSON."""

    topic: str
    answer: Callable[[Here, Asked], Answered]
    asked: TypeAdapter[Asked]
    answered: TypeAdapter[Answered]

    def serve(self, here: Here) -> None:
        """Answers other workers from now on."""

        def answer(payload: bytes) -> bytes:
            return self.answered.dump_json(self.answer(here, self.asked.validate_json(payload)))

        here.worker.serve_call(self.topic, answer)


def question(answer: Callable[[Here, Asked], Answered]) -> Question[Asked, Answered]:
    """Makes a question of the function that answers it; its annotations say what travels."""
    hints: dict[str, Any] = get_type_hints(answer, include_extras=True)
    answered = TypeAdapter(hints.pop("return"))
    _, asked = hints.values()
    topic = f"{answer.__module__}.{answer.__name__}"
    return Question(topic, answer, TypeAdapter(asked), answered)


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command knows: who sent it, and where it runs."""

    caller: Context
    here: Here

    @property
    def client_id(self) -> int:
        """Id of the client."""
        return self.caller.client_id

    @property
    def db(self) -> int:
        """Its logical database."""
        return self.caller.db

    @property
    def worker(self) -> Worker:
        """The worker it is connected to."""
        return self.here.worker

    @property
    def services(self) -> Services:
        """What the node offers."""
        return self.here.services

    def send_raw(self, data: bytes) -> int | None:
        """Sends bytes that are no reply, before that of this command; how many are not sent yet.

        None while replies to earlier requests are still due: nothing is taken then. ConnectionError when the client has
        gone.
        """
        return self.caller.send_raw(data)

    async def execute(self, *request: bytes | str | float, as_node: bool = False) -> Any:
        """Executes a request on the keys of the client's database, whichever shards they are in.

        The reply comes as RESP3 has it: bytes for a bulk string, str for a simple one, int, float, bool, list, dict,
        Members, Verbatim, or None. An error raises ReplyError, which is the reply of this command unless it is caught.
        Each request is atomic by itself. In an atomic command, and inside of MULTI, they all belong to one transaction,
        and may use the keys that the row of this command declares.

        What the client's user may not do is refused (NOPERM); with `as_node`, its rules do not count.
        """
        return await self.caller.execute([_argument(part) for part in request], as_node=as_node)

    async def broadcast(self, question: Question[Asked, Answered], asked: Asked) -> dict[int, Answered]:
        """Asks all workers. One that dies meanwhile is left out."""
        payload = question.asked.dump_json(asked)
        others = [shard for shard in range(self.worker.shards) if shard != self.here.shard]
        calls = [self.worker.call(shard, question.topic, payload) for shard in others]
        answers = {self.here.shard: question.answer(self.here, asked)}
        for shard, answer in zip(others, await asyncio.gather(*calls, return_exceptions=True), strict=True):
            if isinstance(answer, bytes):
                answers[shard] = _decoded(question, shard, answer)
            elif not isinstance(answer, YggdrasilError):
                raise answer
        return dict(sorted(answers.items()))

    async def ask(self, shard: int, question: Question[Asked, Answered], asked: Asked) -> Answered:
        """Asks one worker."""
        if shard == self.here.shard:
            return question.answer(self.here, asked)
        try:
            answer = await self.worker.call(shard, question.topic, question.asked.dump_json(asked))
        except YggdrasilError as error:
            raise ReplyError(f"ERR {error}") from None
        return _decoded(question, shard, answer)


def _argument(part: bytes | str | float) -> bytes:
    match part:
        case bytes():
            return part
        case str():
            return raw(part)
        case int() | float() if not isinstance(part, bool):
            return repr(part).encode()
        case _:
            raise TypeError(f"an argument of a request is bytes, str, int or float, not {type(part).__name__}")


def _decoded(question: Question[Any, Answered], shard: int, answer: bytes) -> Answered:
    if not answer:
        raise YggdrasilError(f"shard {shard} could not answer {question.topic!r}; its log says why")
    return question.answered.validate_json(answer)
