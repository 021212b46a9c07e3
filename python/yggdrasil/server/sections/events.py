"""What is told of keys: events that clients subscribe to."""

from typing import Annotated

from yggdrasil.server.option import EventLetters, Option, Section


class Events(Section):
    """What is told of keys: events that clients subscribe to."""

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
