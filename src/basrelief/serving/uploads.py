"""The body of a request, taken in with a limit on bytes and time, whatever its header promises."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from basrelief.serving.limits import Limits, RequestError

FIELDS = ("image", "background")
EXTRA_BYTES = 64 << 10  # of a form around its files
PATIENCE = 10.0  # seconds that an upload may take, and
PACE = 32 << 10  # bytes a second that it has to bring beyond them


class Uploads:
    """What takes bodies in, and counts what all of them hold together."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held = 0

    @contextlib.contextmanager
    def account(self) -> Iterator[list[int]]:
        """Yield the count of bytes taken in for one request; they are held until the block ends."""
        taken = [0]
        try:
            yield taken
        finally:
            self.held -= taken[0]

    async def read(self, request: Request, taken: list[int], fields: Sequence[str] = FIELDS) -> dict[str, bytes]:
        """Return the files of a request: of a form its fields, of any other body the body itself as the first field.

        Raises
        ------
        RequestError
            400 a broken form; 408 too slow; 413 too many bytes; 503 when too many bytes are held already.
        """
        most = self.limits.max_bytes
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return await self._form(request, self._chunks(request, taken, len(fields) * most + EXTRA_BYTES), fields)
        return {fields[0]: b"".join([chunk async for chunk in self._chunks(request, taken, most)])}

    async def _chunks(self, request: Request, taken: list[int], most: int) -> AsyncGenerator[bytes, None]:
        promised = request.headers.get("content-length", "")
        if promised.isdecimal() and int(promised[:20]) > most:
            raise self._too_large(most)
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        chunks = request.stream()
        while True:
            try:
                async with asyncio.timeout_at(end):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise RequestError(408, "The upload was too slow.", {"Connection": "close"}) from None
            if chunk is None:
                return
            if taken[0] + len(chunk) > most:
                raise self._too_large(most)
            if self.held + len(chunk) > self.limits.memory:
                raise RequestError(
                    503, "Too much is being uploaded already. Try again in a moment.", {"Retry-After": "5"}
                )
            self.held += len(chunk)
            taken[0] += len(chunk)
            end += len(chunk) / PACE
            yield chunk

    async def _form(
        self, request: Request, chunks: AsyncGenerator[bytes, None], fields: Sequence[str]
    ) -> dict[str, bytes]:
        parser = MultiPartParser(request.headers, chunks, max_files=len(fields), max_fields=4, max_part_size=1024)
        try:
            form = await parser.parse()
        except (MultiPartException, ValueError) as error:
            text = error.message if isinstance(error, MultiPartException) else "it cannot be read as one"
            raise RequestError(400, f"The form is broken: {text.rstrip('.')}.") from None
        try:
            found = {}
            for name, value in form.multi_items():
                if name not in fields or isinstance(value, str):
                    raise RequestError(
                        422, f"The form has a field {name[:40]!a}; expected are files: {' and '.join(fields)}."
                    )
                found[name] = await value.read()
            return found
        finally:
            await form.close()

    def _too_large(self, most: int) -> RequestError:
        return RequestError(
            413, f"The upload has more than {most:,} bytes; at most {self.limits.max_bytes:,} a file are taken."
        )
