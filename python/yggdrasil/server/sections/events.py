"""What is told of keys: events that clients subscribe to, and the keys that clients keep."""

from typing import Annotated

from yggdrasil.server.option import Count, EventLetters, Option, Section


class Events(Section):
    """What is told of keys: events that clients subscribe to, and the keys that clients keep."""

    notify_keyspace_events: Annotated[
        EventLetters,
        Option(
            help="The events of keys that are published: K by key, E by event, and the classes g $ l s h z x e t d "
            "(A for all of these), m for reads of keys that are not there, n for new keys.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = ""
    tracking_table_max_keys: Annotated[
        Count,
        Option(
            help="Keys of which is remembered who has read them (CLIENT TRACKING), over all shards; 0 for no limit. "
            "Beyond it some are forgotten, and those who have read them are told.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 1_000_000
