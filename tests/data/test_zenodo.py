"""A Zenodo record says where a file is, how long it is and what its MD5 is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from medquanbench.data.connection import Patience
from medquanbench.data.zenodo import RECORDS, locate
from medquanbench.dataset import Download
from medquanbench.values import RequestError, RunError
from tests.data import server as answers

MD5 = "0123456789abcdef" * 2
ROW = {"key": "a.zip", "size": 300, "checksum": f"md5:{MD5}", "links": {"self": "http://127.0.0.1/a/content"}}
WANTED = Download(file="a.zip", url="", zenodo="42", bytes=None, md5="", sha256="")
PATIENCE = Patience(tries=2, wait_s=0.0, timeout_s=5.0)


def ask(server, record: object, wanted: Download = WANTED) -> Download:
    server.files["/api/records/42"] = record if isinstance(record, bytes) else json.dumps(record).encode()
    return locate(wanted, f"{server.base}api/records/", PATIENCE)


def test_a_record(server):
    found = ask(server, {"id": 42, "files": [{**ROW, "key": "other"}, ROW]})
    assert found == replace(WANTED, url="http://127.0.0.1/a/content", bytes=300, md5=MD5)


def test_what_the_card_knows_beside_is_kept(server):
    known = replace(WANTED, bytes=300, md5=MD5, sha256="f" * 64)
    assert ask(server, {"files": [ROW]}, known) == replace(known, url="http://127.0.0.1/a/content")


def test_zenodo_itself_is_asked_over_https():
    assert RECORDS == "https://zenodo.org/api/records/"


@pytest.mark.parametrize("known", [{"bytes": 301}, {"md5": "f" * 32}])
def test_a_record_that_contradicts_the_card(server, known):
    with pytest.raises(RunError, match="records/42 has a.zip with the .*, and the card says"):
        ask(server, {"files": [ROW]}, replace(WANTED, **known))


def test_a_file_that_the_record_has_not(server):
    with pytest.raises(
        RequestError, match="no file 'a.zip' in .*records/42; there is: a_v2.zip, b.zip; '(a_v2|b).zip' is near"
    ):
        ask(server, {"files": [{**ROW, "key": "a_v2.zip"}, {**ROW, "key": "b.zip"}]})


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"<html>maintenance</html>",
        b"\xff",
        [],
        {},
        {"files": None},
        {"files": {}},
        {"files": ["a.zip"]},
        {"files": [{**ROW, "checksum": "crc:1"}]},
        {"files": [{**ROW, "size": "300"}]},
        {"files": [{**ROW, "links": {}}]},
        {"files": [{**ROW, "links": {"self": 1}}]},
    ],
    ids=str,
)
def test_an_answer_that_is_no_record(server, record):
    with pytest.raises((RunError, RequestError), match="lists no files that can be fetched|there is: none"):
        ask(server, record)


def test_a_record_that_is_not_there(server):
    with pytest.raises(RunError, match=r"127.0.0.1 answers 404 \(Not Found\) for .*/api/records/42"):
        locate(WANTED, f"{server.base}api/records/", PATIENCE)


def test_a_server_that_fails_once_or_always(server):
    server.answers = [answers.status(502)]
    assert ask(server, {"files": [ROW]}).bytes == 300
    server.answers = [answers.status(502)] * 2
    with pytest.raises(RunError, match=r"answers 502 \(Bad Gateway\), 2 times"):
        ask(server, {"files": [ROW]})


def test_a_record_without_an_end_is_read_to_a_bound(server):
    server.answers = [answers.endless]
    with pytest.raises(RunError, match="lists no files"):
        ask(server, {})
