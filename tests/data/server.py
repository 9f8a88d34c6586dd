"""A web server on this machine that behaves as badly as it is told to, one answer after the other."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers with the next of the server's answers, or as a good server where none is left."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append((self.path, dict(self.headers.items())))
        answer = self.server.answers.pop(0) if self.server.answers else good
        answer(self)

    def log_message(self, *given: object) -> None:
        pass

    def start(self, status: int, length: int | None, **more: str) -> None:
        """Status and headers; `Content_Range` is Content-Range."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


class Server(ThreadingHTTPServer):
    """Attributes: files by path, their version as an ETag (empty: none is sent), what comes next, what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.etag = '"1"'
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, dict[str, str]]] = []

    def handle_error(self, *given: object) -> None:
        pass  # a client that was killed

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    @property
    def ranges(self) -> list[str | None]:
        """The Range of every request."""
        return [headers.get("Range") for _, headers in self.asked]


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def span_of(handler: Handler) -> int:
    """Where the answer begins: what is asked for, if it is still of this version."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    condition = handler.headers.get("If-Range")
    return int(asked[1]) if asked and condition in (None, handler.server.etag) else 0


def good(handler: Handler) -> None:
    send(handler, len(handler.server.files.get(handler.path, b"")))


def breaks_off(after: int) -> Answer:
    """Promises all and sends so many bytes of the file, counted from its beginning."""
    return lambda handler: send(handler, after)


def send(handler: Handler, up_to: int) -> None:
    if handler.path not in handler.server.files:
        handler.send_error(404)
        return
    content, start = handler.server.files[handler.path], span_of(handler)
    more = {"ETag": handler.server.etag} if handler.server.etag else {}
    if start >= len(content) > 0 and start:
        handler.start(416, 0, Content_Range=f"bytes */{len(content)}", **more)
        return
    if start:
        more["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    handler.start(206 if start else 200, len(content) - start, **more)
    handler.wfile.write(content[start:up_to])


def without_ranges(handler: Handler) -> None:
    content = handler.server.files[handler.path]
    handler.start(200, len(content), ETag=handler.server.etag)
    handler.wfile.write(content)


def status(code: int, **more: str) -> Answer:
    return lambda handler: handler.start(code, 0, **more)


def redirect(location: str, code: int = 302) -> Answer:
    return status(code, Location=location)


def silent(seconds_over: threading.Event) -> Answer:
    """Promises and sends nothing until the event is set."""

    def answer(handler: Handler) -> None:
        handler.start(200, 100)
        seconds_over.wait(20)

    return answer


def endless(handler: Handler) -> None:
    """Chunks without an end, and no promise of a length; stops when the client has gone."""
    handler.start(200, None, Transfer_Encoding="chunked")
    chunk = b"%x\r\n%s\r\n" % (1 << 16, bytes(1 << 16))
    for _ in range(1 << 14):
        handler.wfile.write(chunk)
