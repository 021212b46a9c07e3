"""Publishing is counted: nobody of the test before may be among those who hear."""

import pytest
from tests.targets import Target
from tests.wire import Wire, eventually


@pytest.fixture(autouse=True)
def nobody_subscribed(target: Target) -> None:
    """Once the server has noticed that the subscribers of the test before have left."""
    counts = [("PUBSUB", "CHANNELS"), ("PUBSUB", "NUMPAT"), ("PUBSUB", "SHARDCHANNELS")]
    with Wire(target.host, target.port) as admin:
        eventually(lambda: admin.pipeline(counts) == [[], 0, []])
