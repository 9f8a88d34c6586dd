"""What a Zenodo record says of a file: where it is, its size, its MD5 (floor 5)."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Any

from medquanbench.data.connection import PATIENCE, Broken, Patience, connect, failure, shown
from medquanbench.dataset import Download
from medquanbench.values import RunError, not_found

RECORDS = "https://zenodo.org/api/records/"
_MAX_BYTES = 16 << 20  # of a record; the largest have a few thousand files


def locate(wanted: Download, records: str = RECORDS, patience: Patience = PATIENCE) -> Download:
    """The same download with what its record says: ``url``, ``bytes``, ``md5``.

    Args:
        wanted: with a record number in ``zenodo``.
        records: URL that a record number is added to.

    Raises:
        RunError: Zenodo cannot be reached, its answer cannot be read, or it contradicts the card.
        RequestError: the record has no such file.
    """
    url = f"{records}{wanted.zenodo}"
    files = _files(_ask(url, patience), url)
    if wanted.file not in files:
        raise not_found("file", wanted.file, shown(url), list(files), near=True)
    found = files[wanted.file]
    for key in ("bytes", "md5"):
        card, record = getattr(wanted, key), getattr(found, key)
        if card and card != record:
            raise RunError(f"{shown(url)} has {wanted.file} with the {key} {record}, and the card says {card}")
    return replace(wanted, url=found.url, bytes=found.bytes, md5=found.md5)


def _ask(url: str, patience: Patience) -> bytes:
    for failures in range(1, patience.tries + 1):
        try:
            with connect(url, {"Accept": "application/json"}, patience) as answer:
                return answer.read(_MAX_BYTES)
        except Broken as broken:
            why = broken
        except OSError as error:
            why = failure(error, url, patience.timeout_s)
        if failures < patience.tries:
            time.sleep(why.wait_s if why.wait_s is not None else patience.wait_s * 2 ** (failures - 1))
    raise RunError(f"{shown(url)}: {why}, {patience.tries} times")


def _files(raw: bytes, url: str) -> dict[str, Download]:
    try:
        record = json.loads(raw)
        return {row["key"]: _file(row) for row in record["files"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{shown(url)} lists no files that can be fetched (is the record restricted?)") from None


def _file(row: dict[str, Any]) -> Download:
    kind, _, value = row["checksum"].partition(":")
    size, link = row["size"], row["links"]["self"]
    if kind != "md5" or not re.fullmatch("[0-9a-f]{32}", value) or not isinstance(size, int) or not link.strip():
        raise ValueError
    return Download(file=row["key"], url=link, zenodo="", bytes=size, md5=value, sha256="")
