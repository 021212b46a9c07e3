"""Objects in S3, Google Cloud Storage and Azure, by obstore."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

import obstore
from obstore import exceptions
from obstore.store import from_url

from mithril.core.config import CoreSettings
from mithril.core.errors import (
    AccessError,
    ChangedError,
    ConfigError,
    ExistsError,
    FullError,
    NotFoundError,
    StoreError,
    UnavailableError,
    UnsupportedError,
)
from mithril.core.store import Condition, Data, ObjectInfo, SpooledWriter, Store, Writer

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta, PutMode

_MESSAGE_MAX = 300
_QUOTA = ("QuotaExceeded", "507 Insufficient", "Status: 507")
_BEYOND_THE_END = ("status code: 416", "Range started at")


class ObjectStore(Store):
    """A store in a bucket: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX.

    Credentials are those of the environment. Objects have no expiry of their own: rules of the bucket do that.
    """

    schemes = ("s3", "gs", "az")

    def __init__(self, url: str, settings: CoreSettings) -> None:
        super().__init__(url, settings)
        options: Any = {}
        if url.startswith("s3://") and settings.s3_endpoint:
            options["config"] = {"endpoint": settings.s3_endpoint}
        client: Any = {
            "timeout": timedelta(seconds=settings.timeout_s),
            "connect_timeout": timedelta(seconds=settings.connect_timeout_s),
        }
        if settings.s3_allow_http:
            client["allow_http"] = True
        try:
            self._store: Any = from_url(
                url,
                client_options=client,
                retry_config={
                    "max_retries": settings.retries,
                    "retry_timeout": timedelta(seconds=settings.timeout_s),
                },
                **options,
            )
        except (exceptions.BaseError, ValueError) as error:
            raise ConfigError(f"{url}: {_short(error)}") from error

    def _get(self, key: str) -> bytes:
        with self._errors(key):
            return bytes(obstore.get(self._store, key).bytes())

    def _get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], version: str | None) -> list[bytes]:
        found = []
        for start, length in ranges:
            part, version = self._get_part(key, start, length, version)
            found.append(part)
        return found

    def _get_part(self, key: str, start: int, length: int, version: str | None) -> tuple[bytes, str | None]:
        if length == 0:
            return b"", version or self._head(key).version
        options: GetOptions = {"range": (start, start + length)}
        if version is not None:
            options["if_match"] = version
        with self._errors(key):
            try:
                result = obstore.get(self._store, key, options=options)
            except exceptions.GenericError as error:
                if any(sign in str(error) for sign in _BEYOND_THE_END):
                    return b"", version
                raise
            return bytes(result.bytes()), result.meta["e_tag"]

    def _put(self, key: str, data: Data, condition: Condition, ttl: float | None) -> ObjectInfo:
        # Only a whole put takes a condition.
        with self._errors(key):
            obstore.put(self._store, key, data, mode=_mode(condition), use_multipart=not condition and None)
        return self._head(key)

    def _put_file(self, key: str, file: IO[bytes], size: int, condition: Condition, ttl: float | None) -> ObjectInfo:
        if condition:
            return self._put(key, file.read(), condition, ttl)
        with self._errors(key):
            obstore.put(self._store, key, file)
        return self._head(key)

    def _head(self, key: str) -> ObjectInfo:
        with self._errors(key):
            return _info(key, obstore.head(self._store, key))

    def _list(self, folder: str) -> Iterator[ObjectInfo]:
        with self._errors(folder or "."):
            for batch in obstore.list(self._store, prefix=folder or None):
                yield from (_info(meta["path"], meta) for meta in batch)

    def _delete(self, keys: Sequence[str]) -> None:
        with contextlib.suppress(NotFoundError), self._errors(keys[0] if keys else "."):
            obstore.delete(self._store, list(keys))

    def _open_writer(self, key: str, condition: Condition, ttl: float | None) -> Writer:
        return SpooledWriter(self, key, condition, ttl)

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except exceptions.BaseError as error:
            raise _mapped(error, self.url_of(key)) from error
        except FileNotFoundError as error:
            raise NotFoundError("there is no such object", self.url_of(key)) from error


def _mode(condition: Condition) -> "PutMode":
    if condition.absent:
        return "create"
    if condition.version is not None:
        return {"e_tag": condition.version}
    return "overwrite"


def _info(key: str, meta: "ObjectMeta") -> ObjectInfo:
    version = meta["e_tag"] or meta["version"] or str(meta["last_modified"])
    return ObjectInfo(key, meta["size"], version, meta["last_modified"].timestamp())


def _mapped(error: Exception, url: str) -> StoreError:
    text = str(error)
    if isinstance(error, exceptions.NotFoundError):
        return NotFoundError("there is no such object", url)
    if isinstance(error, exceptions.AlreadyExistsError):
        return ExistsError("there is such an object already", url)
    if isinstance(error, exceptions.PreconditionError):
        return ChangedError("the object is not of the expected version", url)
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return AccessError(f"{_short(error)}; check the credentials and the bucket's policy", url)
    if isinstance(error, exceptions.NotSupportedError):
        return UnsupportedError(_short(error), url)
    if any(sign in text for sign in _QUOTA):
        return FullError(_short(error), url)
    return UnavailableError(_short(error), url)


def _short(error: Exception) -> str:
    """The first line: obstore's others are a dump of what it holds."""
    return str(error).strip().split("\n", 1)[0][:_MESSAGE_MAX]
