"""Asks the peer Redis for the replies of all transcripts, and remembers which it has seen."""

import sys
from contextlib import closing

from tests.peer import Peer, PeerMissingError
from tests.transcripts.recorded import remember, started
from tests.transcripts.replay import differences, name, record, sections, transcripts, written


def main() -> int:
    """Fills in replies that are missing, and reports those that differ."""
    try:
        peer = started()
    except PeerMissingError as missing:
        print(missing, file=sys.stderr)  # noqa: T201 - a command line
        return 1
    with closing(peer):
        found = _differences(peer)
    for line in found:
        print(line, file=sys.stderr)  # noqa: T201 - a command line
    if not found:
        remember()
    return 1 if found else 0


def _differences(peer: Peer) -> list[str]:
    found = []
    for path in transcripts():
        known = sections(path)
        for section in known:
            if any(not step.replies for step in section.steps):
                record(section, peer.connect)
        path.write_text(written(path.read_text(), known))
        for section in sections(path):
            for resp in (2, 3):
                found += [f"{name(path)}: {line}" for line in differences(section, resp, peer.connect)]
    return found


if __name__ == "__main__":
    sys.exit(main())
