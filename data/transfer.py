"""One file from the network to the disk: resumed by Range and ETag, with progress.

What has come is kept next to the file as ``.NAME.part``, and ``.NAME.part.json`` says of which
address and version it is. A later call asks for the rest alone (RFC 9110, 14 and 13.1.5), and
begins anew where the server has another version, or can't send a part.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from common.base.errors import UserError
from common.base.files import read_json, write_json
from common.base.progress import progress
from data.room import require_room

_BLOCK = 1 << 16
# Seconds to wait for a connection, and for the next bytes.
_TIMEOUT = (15, 60)
_TEMPORARY = {429, 500, 502, 503, 504}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass
class Transfer:
    """A downloader for pooch: ``transfer(url, output_file, pooch)``.

    Attributes:
        file: What the download is to become; the part lies next to it.
        size: In bytes, 0 if unknown: another size is refused.
        more: The bytes that unpacking will need, counted with the free room.
        tries: How often to go on by itself after the connection was cut.
        pause_s: Seconds before going on, once more with each try.
    """

    file: Path
    size: int = 0
    more: int = 0
    tries: int = 5
    pause_s: float = 2.0

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        """Download, then rename the part to the output file.

        Raises:
            UserError: No network, no room, no such file, or cut off too often: what has come is
                kept, and the same command goes on.
        """
        for number in range(self.tries):
            before = self._size()
            try:
                self._receive(url)
                break
            except requests.exceptions.RequestException as error:
                gained = self._size() - before
                if number + 1 == self.tries or (number and not gained and not before):
                    raise UserError(f"{url}: {self._why(error)}") from None
                time.sleep(self.pause_s * (number + 1))
        os.replace(self.part, output_file)
        self._note.unlink(missing_ok=True)

    @property
    def part(self) -> Path:
        """What has come so far."""
        return self.file.with_name(f".{self.file.name}.part")

    @property
    def _note(self) -> Path:
        return self.part.with_name(f"{self.part.name}.json")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _why(self, error: requests.exceptions.RequestException) -> str:
        kept = self._size()
        again = f"{kept:,} bytes are kept, and the same command goes on from there"
        if not kept:
            again = "look at the network and the proxy (HTTPS_PROXY), or fetch the file in a"
            again += " browser and give it with --archive FILE"
        reason = "the connection was cut off" if kept else "cannot be reached"
        return f"{reason} ({type(error).__name__}); {again}"

    def _receive(self, url: str) -> None:
        known = _validators(self._note, url)
        start = self._size() if known else 0
        # As it is stored, so that positions are those of the file.
        headers = {"Accept-Encoding": "identity", "User-Agent": "keras-medical-imaging"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if condition := known.get("etag") or known.get("last_modified"):
                headers["If-Range"] = condition
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416:
                # There is nothing after what has come: it is whole, or of another version.
                if start != _total(answer.headers, 0):
                    self.part.unlink()
                    raise requests.exceptions.ConnectionError("the file has changed")
                return
            _check(answer, url)
            version = _version(url, answer.headers)
            place = _place(answer.headers) if answer.status_code == 206 else 0
            if place != start or (start and _is_other(known, version)):
                if start and answer.status_code == 206:
                    self.part.unlink()
                    raise requests.exceptions.ConnectionError("the file has changed")
                if start:
                    print(f"{url}: is another version now, or its server sends no parts: anew")
                start = 0
            total = _total(answer.headers, start)
            if self.size and total and total != self.size:
                raise UserError(
                    f"{url}: has {total:,} bytes, and {self.size:,} are expected; it is another "
                    "file, or another version: compare with the dataset's page"
                )
            require_room(self.file.parent, (total or self.size) - start + self.more)
            if not start:
                # First the old part goes, so that no note is ever of another version than its part.
                self.part.unlink(missing_ok=True)
                write_json(self._note, version)
            self._append(answer, start, total)

    def _append(self, answer: requests.Response, start: int, total: int) -> None:
        bar = progress(
            total=total or None,
            initial=start,
            desc=self.file.name,
            unit="B",
            unit_scale=True,
        )
        with open(self.part, "ab" if start else "wb") as file, bar:
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
        if total and self._size() < total:
            raise requests.exceptions.ConnectionError("the connection was cut off")


def _validators(note: Path, url: str) -> dict[str, str]:
    """What tells the version of which a part is; {} where the part is of no use.

    A part without any is of use too: the hash decides.
    """
    try:
        known = read_json(note)
    except UserError:
        return {}
    is_ours = isinstance(known, dict) and known.get("url") == url
    return {key: str(value) for key, value in known.items()} if is_ours else {}


def _version(url: str, headers: Mapping[str, str]) -> dict[str, str]:
    # A weak ETag (W/) says that two versions are alike, not that their bytes are equal.
    etag = headers.get("ETag", "")
    strong = "" if etag.startswith("W/") else etag
    return {"url": url, "etag": strong, "last_modified": headers.get("Last-Modified", "")}


def _is_other(known: Mapping[str, str], version: Mapping[str, str]) -> bool:
    return any(
        known.get(key) and version[key] and known[key] != version[key]
        for key in ("etag", "last_modified")
    )


def _place(headers: Mapping[str, str]) -> int:
    """Where the bytes of a partial answer begin; -1 where it does not say."""
    match = _RANGE.fullmatch(headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _total(headers: Mapping[str, str], start: int) -> int:
    """The size of the whole file in bytes, 0 where the server does not say."""
    whole = headers.get("Content-Range", "").rpartition("/")[2]
    if whole.isdigit():
        return int(whole)
    length = headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else 0


def _check(answer: requests.Response, url: str) -> None:
    """Refuse what is no file.

    Raises:
        UserError: There is none, or it may not be had.
        requests.exceptions.HTTPError: The server can't at the moment.
    """
    code = answer.status_code
    if code in _TEMPORARY:
        answer.raise_for_status()
    if code not in (200, 206):
        meaning = {404: "there is no such file", 410: "there is no such file"}.get(
            code, "it may not be had"
        )
        raise UserError(
            f"{url}: {meaning} (status {code}); see the dataset's page for its address of today, "
            "and give that with --from, or the file itself with --archive"
        )
    if "text/html" in answer.headers.get("Content-Type", ""):
        raise UserError(
            f"{url}: sends a web page, not the file; it may want an account: fetch the file in a "
            "browser and give it with --archive FILE"
        )
