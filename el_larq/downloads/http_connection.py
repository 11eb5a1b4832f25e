"""HTTP connections to a few allowed hosts, with a limit on their total time."""

import contextlib
import http.client
import socket
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from el_larq.errors import ElLarqError
from el_larq.printable import printable

HOSTS = frozenset({"github.com", "objects.githubusercontent.com", "release-assets.githubusercontent.com"})
"""The code host and its domains for the files of releases."""

_MAX_REDIRECTS = 5


@dataclass(frozen=True)
class AllowedHosts:
    """The addresses that may be requested. ``loopback`` is for tests only: it also allows plain http to 127.0.0.1."""

    hosts: frozenset[str] = HOSTS
    loopback: bool = False

    def check(self, address: str) -> None:
        try:
            parts = urllib.parse.urlsplit(address)
            scheme, host, port = parts.scheme, parts.hostname, parts.port
        except ValueError as error:
            raise ElLarqError(f"refused {printable(address)[:200]}: not a valid address") from error
        if self.loopback and scheme == "http" and host == "127.0.0.1":
            return
        if scheme != "https":
            raise ElLarqError(f"refused {without_query(address)}: files are only downloaded over https")
        if host not in self.hosts or port not in (None, 443) or parts.username is not None:
            raise ElLarqError(f"refused {without_query(address)}: files are only downloaded from {', '.join(sorted(self.hosts))}")


class Deadline:
    """A context that shuts down the connections opened in it after ``seconds`` and then sets ``expired``.

    The timeout of a socket is not enough: it restarts with each byte, also in the handshake and the headers.
    """

    def __init__(self, seconds: float):
        self.seconds, self.expired = seconds, False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    def watch(self, connection: socket.socket) -> None:
        with self._lock:
            # A duplicate, since the original is wrapped in TLS and closed elsewhere.
            self._sockets.append(connection.dup())
            if self.expired:
                self._end()

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            self._end()

    def _end(self) -> None:
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _WatchedConnection(http.client.HTTPConnection):
    deadline: Deadline

    def connect(self) -> None:
        super().connect()
        self.deadline.watch(self.sock)


class _WatchedTlsConnection(http.client.HTTPSConnection, _WatchedConnection):
    """Watched before the handshake begins: HTTPSConnection.connect calls _WatchedConnection.connect first."""


class _WatchedHandler(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    def __init__(self, deadline: Deadline):
        super().__init__()
        self.deadline = deadline

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._make(_WatchedConnection), req)  # pyright: ignore[reportArgumentType]

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._make(_WatchedTlsConnection), req, context=ssl.create_default_context())  # pyright: ignore[reportArgumentType]

    def _make(self, kind: type[_WatchedConnection]) -> Callable[..., _WatchedConnection]:
        def make(host: str, **more: Any) -> _WatchedConnection:
            connection = kind(host, **more)
            connection.deadline = self.deadline
            return connection

        return make


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    max_redirections = _MAX_REDIRECTS

    def __init__(self, allowed: AllowedHosts):
        self.allowed = allowed

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except (ElLarqError, ValueError):  # refused, or not an address
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302  # pyright: ignore[reportAssignmentType]

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        self.allowed.check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def build_opener(allowed: AllowedHosts, deadline: Deadline) -> urllib.request.OpenerDirector:
    """An opener for http and https only, which follows redirects to allowed hosts."""
    made = urllib.request.OpenerDirector()
    handlers: tuple[urllib.request.BaseHandler, ...] = (
        urllib.request.ProxyHandler(),
        _WatchedHandler(deadline),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _RedirectHandler(allowed),
    )
    for handler in handlers:
        made.add_handler(handler)
    return made


def without_query(address: str) -> str:
    """An address to print: without the query, in which the code host puts a long signature."""
    return printable(urllib.parse.urlsplit(address)._replace(query="", fragment="").geturl())[:200]
