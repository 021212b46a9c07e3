"""Store writers as binary files, which pyarrow writes to."""

import io

from mithril.core.store import Writer


class SinkFile(io.RawIOBase):
    """A file that passes on what is written. Closing it does not commit the object."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._at = 0
        self.dropped = False
        """Whatever is written from now on is dropped: the object will not be."""

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The number of bytes written."""
        return self._at

    def write(self, data: object) -> int:
        """Passes bytes on."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        if not self.dropped:
            self._writer.write(view)
        self._at += len(view)
        return len(view)
