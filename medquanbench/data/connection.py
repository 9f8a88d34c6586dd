"""Ask a web server for something: http and https only, redirects watched, failures told in a sentence (floor 5)."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from medquanbench.values import RunError

_SCHEMES = ("http", "https")
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # failures that may be over in a moment
_ANSWERS = (200, 206, 416)  # 416: what is asked for lies behind the end
_MAX_WAIT_S = 60.0


@dataclass(frozen=True)
class Patience:
    """How long a server is borne with.

    Attributes:
        tries: failures in a row, without anything that came, after which it is given up.
        wait_s: before the second try; doubled before each more.
        timeout_s: without a byte.
        redirects: of one request.
    """

    tries: int = 5
    wait_s: float = 1.0
    timeout_s: float = 60.0
    redirects: int = 8


PATIENCE = Patience()


class Broken(Exception):
    """It failed in a way that may be over with the next try; ``wait_s`` where the server says when to come back."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


def shown(url: str) -> str:
    """A URL for a sentence: without names, passwords and whatever a query may hold."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        return "a URL that is none"


def connect(url: str, headers: Mapping[str, str], patience: Patience) -> http.client.HTTPResponse:
    """The server's answer of status 200, 206 or 416, to be closed by the caller.

    Raises:
        Broken: another try may help.
        RunError: none would: the server refuses, or leads where nobody should go.
    """
    asked = url
    for _ in range(patience.redirects + 1):
        _check(url, asked)
        answer = _open(url, headers, patience.timeout_s)
        if answer.status in _ANSWERS:
            return answer
        with answer:
            if answer.status not in _REDIRECTS:
                raise _refusal(answer, url)
            url = _next(url, answer.headers.get("Location"), asked)
    raise RunError(f"{shown(asked)} leads from redirect to redirect, more than {patience.redirects} times")


def _open(url: str, headers: Mapping[str, str], timeout_s: float) -> http.client.HTTPResponse:
    try:
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", **headers})
        return _opener().open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        return error  # type: ignore[return-value]  # it is the answer, too
    except (http.client.InvalidURL, ValueError):
        raise RunError(f"{shown(url)} is no URL that can be asked for") from None
    except (OSError, http.client.HTTPException) as error:
        raise failure(error, url, timeout_s) from error


def failure(error: OSError | http.client.HTTPException, url: str, timeout_s: float) -> Broken | RunError:
    """What to raise for an error of a connection."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    host = urlsplit(url).hostname
    if isinstance(reason, ssl.SSLCertVerificationError):
        return RunError(f"{host} cannot prove who it is ({reason.verify_message})")
    if isinstance(reason, TimeoutError):
        return Broken(f"{host} was silent for {timeout_s:g} s")
    why = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
    return Broken(f"the connection to {host} failed: {why}")


def _opener() -> urllib.request.OpenerDirector:
    # Not build_opener: that one also opens files, FTP and data URLs, and follows redirects by itself.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "medquanbench")]
    return opener


def _check(url: str, asked: str) -> None:
    parts = _split(url)
    how = f"{shown(asked)} leads to {shown(url)}" if url != asked else shown(url)
    if parts is None or parts.scheme not in _SCHEMES or not parts.hostname:
        raise RunError(f"{how}: only http and https are fetched")
    if parts.username is not None or parts.password is not None:
        raise RunError(f"{how} with a name or a password in it, which is not sent")
    if re.search(r"[\x00-\x20\x7f]", url):
        raise RunError(f"{how}: a URL holds no spaces")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.port is None or parts.port else None  # a port that is none raises
    except ValueError:
        return None


def _next(url: str, location: str | None, asked: str) -> str:
    if not location:
        raise RunError(f"{shown(url)} redirects, and does not say where to")
    target = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http":
        raise RunError(f"{shown(asked)} leads from https to {shown(target)}, which anyone could have changed")
    return target


def _refusal(answer: http.client.HTTPResponse, url: str) -> Broken | RunError:
    meaning = http.client.responses.get(answer.status, "unknown")
    what = f"{urlsplit(url).hostname} answers {answer.status} ({meaning})"
    if answer.status not in _PASSING:
        return RunError(f"{what} for {shown(url)}")
    wait = answer.headers.get("Retry-After") or ""
    return Broken(what, min(float(wait), _MAX_WAIT_S) if re.fullmatch(r"\d{1,9}", wait) else None)
