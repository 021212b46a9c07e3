"""What the keys may take, and which of them stay."""

from typing import Annotated, Literal

from pydantic import Field

from yggdrasil.server.option import Choice, Count, Option, Section, Share, Shares, Size, Switch, Whole


class Memory(Section):
    """What the keys may take, and which of them stay."""

    maxmemory: Annotated[
        Size,
        Option(
            help="Memory for keys and values of all shards together, each of which has an equal part; 0 for no limit.",
            unit="bytes",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 0
    maxmemory_policy: Annotated[
        Literal[
            "tinylfu",
            "noeviction",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
        ],
        Choice,
        Option(
            help="Which keys are removed at maxmemory. tinylfu keeps what is used often for its size, and learns how "
            "much room new keys need to prove themselves; noeviction refuses writes with OOM instead; the others "
            "choose by samples as Redis does, those for volatile keys among keys with a time to live only. Pinned "
            "keys stay.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = "tinylfu"
    maxmemory_samples: Annotated[
        Whole,
        Field(ge=1, le=64),
        Option(
            help="Keys that are compared for each one that is removed, by the policies that choose by samples.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 5
    lfu_log_factor: Annotated[
        Count,
        Option(
            help="How many more uses the counter of the LFU policies needs for each step; 0 counts every use.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 10
    lfu_decay_time: Annotated[
        Count,
        Option(
            help="How long it takes that counter to shrink by one; 0 for ever.",
            unit="minutes",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 1
    maxpinned: Annotated[
        Share,
        Option(
            help="What pinned keys may take, over all shards; beyond it PIN is refused, and writes that make a pinned "
            "key larger are too. A percentage is one of maxmemory, and no limit where that has none.",
            unit="bytes",
            runtime=True,
            engine=True,
        ),
    ] = "25%"
    maxpinned_prefixes: Annotated[
        Shares,
        Option(
            help='What pinned keys whose names begin so may take of that, such as "model: 10% session: 64mb".',
            runtime=True,
            engine=True,
        ),
    ] = ""
    pin_default_ttl: Annotated[
        Whole,
        Field(ge=1, le=2**31 - 1),
        Option(help="How long a key is pinned by PIN without EX or PX.", unit="seconds", runtime=True, engine=True),
    ] = 3600
    huge_pages: Annotated[
        Switch,
        Option(
            help="Put full parts of the shared memory into huge pages (2 MiB). Reads get faster, by a third where there"
            " are millions of keys. While a part is moved, once, whoever touches it waits for some milliseconds. Linux "
            "6.1 or later.",
            runtime=True,
            engine=True,
        ),
    ] = False
