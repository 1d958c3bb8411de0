"""Files, written and read piece by piece in constant memory."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from promptmill.domain.errors import Unavailable
from promptmill.domain.openai import Purpose, StoredFile
from promptmill.observability.audit import Change, audit
from promptmill.services import admission
from promptmill.services.resources import Resources
from promptmill.store.db.database import Database, Transaction
from promptmill.store.openai import files

_LEVEL: Final = 1
"""Fastest level of deflate, which still reduces lines of JSON to a fifth."""


@dataclass(frozen=True, slots=True)
class FilePage:
    """Page of files in the requested order."""

    files: Sequence[StoredFile]
    has_more: bool


class FileWriter:
    """Writer of one file, which is hidden until `finish`."""

    def __init__(
        self, database: Database, *, purpose: Purpose, filename: str, batch_id: str | None = None
    ) -> None:
        self.size = 0
        self.lines = 0
        self.filename = filename
        self._database = database
        self._purpose = purpose
        self._batch_id = batch_id
        self._digest = hashlib.sha256()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._ends_line = True
        self._key: int | None = None
        self._chunks = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes written, hexadecimal."""
        return self._digest.hexdigest()

    async def write(self, block: bytes) -> None:
        """Store the next bytes, some of them later.

        Raises:
            Unavailable: The database cannot take them, or the file was given up meanwhile.
        """
        if not block:
            return
        self._digest.update(block)
        self.size += len(block)
        self.lines += block.count(b"\n")
        self._ends_line = block.endswith(b"\n")
        self._held.append(block)
        self._held_bytes += len(block)
        if self._held_bytes >= files.CHUNK_BYTES:
            held = b"".join(self._held)
            whole = len(held) - len(held) % files.CHUNK_BYTES
            for start in range(0, whole, files.CHUNK_BYTES):
                await self._store(held[start : start + files.CHUNK_BYTES])
            self._held = [held[whole:]]
            self._held_bytes = len(held) - whole

    async def close(self) -> None:
        """Store the remaining bytes, so that `finish` only makes the file visible."""
        if self._held_bytes or self._key is None:
            await self._store(b"".join(self._held))
        self._held, self._held_bytes = [], 0
        if not self._ends_line:
            self.lines += 1

    async def discard(self) -> None:
        """Remove the hidden file."""
        if self._key is not None:
            # If the database has failed, the purger later removes the abandoned file.
            with suppress(Unavailable):
                await self._database.write(files.discard, self._key)

    def finish(
        self, tx: Transaction, *, expires_in_s: int | None, idempotency_key: str | None = None
    ) -> StoredFile:
        """Make the file visible, in the caller's transaction."""
        if self._key is None:
            raise RuntimeError("A file is to be closed before it is finished.")
        file_id = admission.new_file_id()
        files.finish(
            tx,
            self._key,
            file_id=file_id,
            filename=self.filename,
            size=self.size,
            lines=self.lines,
            sha256=self.sha256,
            expires_in_s=expires_in_s,
            idempotency_key=idempotency_key,
        )
        return files.get(tx, file_id)

    def drop(self, tx: Transaction) -> None:
        """Remove the hidden file, in the caller's transaction."""
        if self._key is not None:
            files.discard(tx, self._key)

    async def _store(self, chunk: bytes) -> None:
        deflated = await asyncio.to_thread(zlib.compress, chunk, _LEVEL)
        self._key = await self._database.write(self._add, deflated)
        self._chunks += 1

    def _add(self, tx: Transaction, deflated: bytes) -> int:
        key = self._key
        if key is None:
            key = files.begin(
                tx,
                file_id=admission.new_file_id(),
                purpose=self._purpose,
                filename=self.filename,
                batch_id=self._batch_id,
            )
        files.add_chunk(tx, key, self._chunks, deflated)
        return key


def ttl_s(resources: Resources) -> int | None:
    """Seconds for which a file is kept by default; None: for ever."""
    return resources.settings.file_ttl_s or None


async def get(resources: Resources, file_id: str) -> StoredFile:
    """Read the record of a file.

    Raises:
        NotFound: There is none.
    """
    return await resources.database.read(files.get, file_id)


async def list_files(
    resources: Resources,
    *,
    limit: int,
    after: str | None,
    purpose: Purpose | None,
    newest_first: bool,
) -> FilePage:
    """List files by the time of creation, after the file of the id `after`."""
    found = await resources.database.read(
        files.page, limit=limit + 1, after=after, purpose=purpose, newest_first=newest_first
    )
    return FilePage(found[:limit], len(found) > limit)


async def delete(resources: Resources, file_id: str) -> None:
    """Delete a file.

    Raises:
        NotFound: There is none of that id.
    """
    await resources.database.write(files.mark_deleted, file_id)
    audit(Change.FILE_DELETED, file_id)
    resources.signals.purge_requested.set()


async def content(
    database: Database, stored: StoredFile, first: int = 0, last: int | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of a file from `first` to `last`, both included, in blocks.

    Raises:
        NotFound: It was removed meanwhile.
    """
    end = stored.bytes if last is None else last + 1
    for number in range(first // files.CHUNK_BYTES, -(-end // files.CHUNK_BYTES)):
        deflated = await database.read(files.chunk, stored.key, number)
        block = await asyncio.to_thread(zlib.decompress, deflated)
        start = number * files.CHUNK_BYTES
        yield block[max(first - start, 0) : end - start]


async def blocks(database: Database, file_key: int) -> AsyncGenerator[bytes, None]:
    """Yield all bytes of a file that a batch reads, even if it was deleted meanwhile.

    Raises:
        NotFound: It is gone.
    """
    size = await database.read(files.number_of_chunks, file_key)
    for number in range(size):
        deflated = await database.read(files.chunk, file_key, number)
        yield await asyncio.to_thread(zlib.decompress, deflated)
