"""Connections between the workers of a multi-worker training, which carry messages: JSON objects, one on a line.

Does not import TensorFlow.
"""

import contextlib
import errno
import json
import selectors
import socket
import threading
import time
from typing import Any

from el_larq.errors import ElLarqError
from el_larq.training.cluster import Cluster, ip_version

_MESSAGE_BYTES = 1 << 20

_INTRODUCTION, _STRANGERS = 5.0, 64
"""Seconds that whoever connects has to send a message, and how many connections may be waiting for that at once."""


class Peer:
    """A connection that carries messages. Raises OSError if it is lost, and its subclass TimeoutError if nothing comes in time."""

    def __init__(self, connection: socket.socket):
        self.connection, self._received = connection, b""
        self._sending = threading.Lock()

    def close(self) -> None:
        self.connection.close()

    def send(self, message: dict[str, Any]) -> None:
        with self._sending:
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next message, which has to be complete within this time."""
        end = time.monotonic() + seconds
        while (message := self._first_received()) is None:
            if (left := end - time.monotonic()) <= 0:
                raise TimeoutError
            self.connection.settimeout(left)
            self._receive_part()
        return message

    def read_some(self) -> dict[str, Any] | None:
        """Read what has arrived, without waiting; returns the next message if it is complete."""
        self.connection.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            self._receive_part()
        self.connection.settimeout(None)
        return self._first_received()

    def _receive_part(self) -> None:
        part = self.connection.recv(1 << 16)
        if not part or len(self._received) > _MESSAGE_BYTES:
            raise ConnectionError("closed")
        self._received += part

    def _first_received(self) -> dict[str, Any] | None:
        if b"\n" not in self._received:
            return None
        line, _, self._received = self._received.partition(b"\n")
        try:
            message = json.loads(line)
        except (RecursionError, ValueError) as error:
            raise ConnectionError("not JSON") from error
        if not isinstance(message, dict):
            raise ConnectionError("not a message")
        return message


class Introductions:
    """The first messages of all who connect to a listener, as they come; whoever is silent or slow does not delay the others."""

    def __init__(self, listener: socket.socket):
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        listener.setblocking(False)
        self._waiting: dict[Peer, float] = {}  # until when, the oldest first

    def __enter__(self) -> "Introductions":
        return self

    def __exit__(self, *_: object) -> None:
        for peer in list(self._waiting):
            self._drop(peer)
        self._selector.close()

    def next(self, end: float) -> tuple[Peer, dict[str, Any]] | None:
        """The next message and who sent it; None if there is none until ``end``."""
        while (now := time.monotonic()) < end:
            for peer in [peer for peer, until in self._waiting.items() if until <= now]:
                self._drop(peer)
            until = min(end, next(iter(self._waiting.values()), end))
            for key, _ in self._selector.select(until - now):
                if key.data is None:
                    self._accept()
                elif (message := self._read(key.data)) is not None:
                    return key.data, message
        return None

    def _accept(self) -> None:
        try:
            connection = self._listener.accept()[0]
        except OSError:  # the other side has left, or this process has too many files open
            return
        if len(self._waiting) == _STRANGERS:
            self._drop(next(iter(self._waiting)))
        peer = Peer(connection)
        self._waiting[peer] = time.monotonic() + _INTRODUCTION
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _read(self, peer: Peer) -> dict[str, Any] | None:
        try:
            message = peer.read_some()
        except OSError:
            self._drop(peer)
            return None
        if message is not None:
            self._selector.unregister(peer.connection)
            del self._waiting[peer]
        return message

    def _drop(self, peer: Peer) -> None:
        self._selector.unregister(peer.connection)
        del self._waiting[peer]
        peer.close()


def open_listener(cluster: Cluster) -> socket.socket:
    """A socket that listens at this worker's address if that is a number of this machine's, and else at all its addresses.

    What a machine's own name stands for there may not be what it stands for elsewhere: on Debian it is 127.0.1.1.
    """
    host, _, text = cluster.workers[cluster.index].rpartition(":")
    host, port, everywhere = host.strip("[]"), int(text), ("", int(text))
    attempts: list[tuple[tuple[str, int], dict[str, Any]]] = [(everywhere, {})]
    if socket.has_dualstack_ipv6():
        attempts.insert(0, (everywhere, {"family": socket.AF_INET6, "dualstack_ipv6": True}))
    if ip_version(host) is not None or host == "localhost":
        attempts.insert(0, ((host, port), {"family": socket.AF_INET6 if ":" in host else socket.AF_INET}))
    for number, (address, options) in enumerate(attempts, 1):
        try:
            return socket.create_server(address, **options)
        except OSError as error:
            if error.errno == errno.EADDRINUSE or number == len(attempts):
                raise ElLarqError(
                    f"{cluster.name}: cannot listen at port {text}: {error.strerror or error}; choose another port"
                ) from error
    raise AssertionError  # the last attempt returns or raises
