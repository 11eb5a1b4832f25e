"""The processes of a multi-worker training find and watch each other, since TensorFlow itself waits for a missing worker for hours.

Each worker has a process that trains and one that watches it; the watching ones meet here, before TensorFlow starts. Worker 0
listens at its address until all others have connected, and then leaves the address to TensorFlow. The connections stay: whatever
happens to a worker, its process tells worker 0, which tells all others. A machine that vanishes is noticed by its silence.

A message is a JSON object on one line: {"worker", "agreement"} from a new worker, {"go"} as the answer when all are there, {} as a
sign of life, {"lost": reason} for an end that ends all, {"done"} for a normal end. Whatever else connects to the port gets a few
seconds and does not delay the workers. Does not import TensorFlow.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from el_larq.errors import ElLarqError
from el_larq.printable import printable
from el_larq.training.cluster import Cluster
from el_larq.training.peers import Introductions, Peer, open_listener

BEAT, SILENCE = 5.0, 60.0
"""Seconds between two heartbeats, and seconds without a heartbeat after which a worker counts as lost."""

_RETRY = 0.2

WorkerSettings = Mapping[str, Any]
"""What must be equal in all workers, by its name: plain values."""


class Meeting:
    """All workers of a cluster, connected; a context manager. Made by `meet`."""

    def __init__(self, cluster: Cluster, peers: dict[int, Peer]):
        self._cluster, self._peers = cluster, peers
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._on_loss: Callable[[], None] = lambda: None
        self._reported = False
        self.lost: str | None = None

    def __enter__(self) -> "Meeting":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The end of this worker: a normal one, or, if an error or an interruption ends it, one that ends the training of all."""
        if kind is not None and self.lost is None and not self._reported:
            how = "was interrupted" if issubclass(kind, KeyboardInterrupt) else "has ended"
            self._tell({"lost": f"{self._cluster.name} {how}"})
        self._ended.set()
        self._tell({"done": True})
        for peer in self._peers.values():
            peer.close()

    def watch(self, on_loss: Callable[[], None]) -> None:
        """Watch the others from now on. If one is lost, ``lost`` says so in one line, and ``on_loss`` is called."""
        self._on_loss = on_loss
        for index, peer in self._peers.items():
            threading.Thread(target=self._listen, args=(index, peer), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def report(self, reason: str) -> None:
        """Tell the others that this worker ends the training."""
        self._reported = True
        self._tell({"lost": f"{self._cluster.name}: {reason}"})

    def wait_for_loss(self, seconds: float) -> str | None:
        """The reason why the training ended in another worker, which may arrive later than its effect on this one."""
        end = time.monotonic() + seconds
        while self.lost is None and time.monotonic() < end:
            time.sleep(0.05)
        return self.lost

    def _tell(self, message: dict[str, Any], but: int | None = None) -> None:
        for index, peer in self._peers.items():
            if index != but:
                with contextlib.suppress(OSError):
                    peer.send(message)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            self._tell({})

    def _listen(self, index: int, peer: Peer) -> None:
        while True:
            try:
                message = peer.receive(SILENCE)
            except TimeoutError:
                message = {"lost": f"{self._cluster.name_of(index)} has not answered for {SILENCE:g} seconds"}
            except OSError:
                message = {"lost": f"{self._cluster.name_of(index)} has ended"}
            if "done" in message:
                return
            if "lost" in message:
                self._lose(printable(str(message["lost"])), index)
                return

    def _lose(self, reason: str, told_by: int) -> None:
        with self._lock:
            if self.lost is not None or self._ended.is_set():
                return
            self.lost = reason
        self._tell({"lost": reason}, but=told_by)
        self._on_loss()


def meet(cluster: Cluster, agreement: WorkerSettings, seconds: float) -> Meeting:
    """Wait until all workers are there, at most ``seconds``.

    Raises:
        ElLarqError: a worker is missing, runs with other settings, or is there twice; or the port of this one is in use.
    """
    end = time.monotonic() + seconds
    if cluster.index == 0:
        return Meeting(cluster, _gather(cluster, agreement, end, seconds))
    open_listener(cluster).close()  # TensorFlow's message about a port that is in use would not say so
    return Meeting(cluster, {0: _join(cluster, agreement, end, seconds)})


def _gather(cluster: Cluster, agreement: WorkerSettings, end: float, seconds: float) -> dict[int, Peer]:
    peers: dict[int, Peer] = {}
    with open_listener(cluster) as listener, Introductions(listener) as introductions:
        try:
            while len(peers) < len(cluster.workers) - 1:
                if (found := introductions.next(end)) is None:
                    missing = [cluster.name_of(index) for index in range(1, len(cluster.workers)) if index not in peers]
                    raise ElLarqError(
                        f"{' and '.join(missing)} did not come within {seconds:g} seconds; start {_them(missing)} there"
                    )
                peer, message = found
                try:
                    index = message["worker"]
                    problem = _problem(cluster, index, message["agreement"], agreement, peers)
                except (ValueError, KeyError, TypeError, AttributeError):
                    peer.close()  # something else that connected to the port
                    continue
                if problem is not None:
                    _refuse([peer], problem)
                    raise ElLarqError(problem)
                peers[index] = peer
        except BaseException as error:
            _refuse(peers.values(), str(error) if isinstance(error, ElLarqError) else f"{cluster.name} was interrupted")
            raise
    for peer in peers.values():
        with contextlib.suppress(OSError):  # a worker that has left meanwhile is noticed by the watch
            peer.send({"go": True})
    return peers


def _problem(cluster: Cluster, index: Any, theirs: Any, agreement: WorkerSettings, peers: Mapping[int, Any]) -> str | None:
    if not isinstance(index, int) or not 1 <= index < len(cluster.workers):
        raise ValueError(index)
    if index in peers:
        return f"two processes say that they are {cluster.name_of(index)}; give each its own --worker-index"
    ours = json.loads(json.dumps(agreement))
    for name in ours | theirs:
        if ours.get(name) != theirs.get(name):
            return (
                f"{cluster.name_of(index)} has another {name.replace('_', ' ')} than {cluster.name}; "
                "start all workers with the same command and the same files, apart from --worker-index"
            )
    return None


def _join(cluster: Cluster, agreement: WorkerSettings, end: float, seconds: float) -> Peer:
    host, _, port = cluster.workers[0].rpartition(":")
    first = cluster.name_of(0)
    while (left := end - time.monotonic()) > 0:
        with contextlib.ExitStack() as stack:
            try:
                peer = Peer(socket.create_connection((host.strip("[]"), int(port)), timeout=min(left, 5)))
                stack.callback(peer.close)
                peer.send({"worker": cluster.index, "agreement": dict(agreement)})
                answer = peer.receive(left + BEAT)
            except OSError:
                time.sleep(_RETRY)
                continue
            if "lost" in answer:
                raise ElLarqError(printable(str(answer["lost"])))
            if "go" not in answer:
                raise ElLarqError(f"{first}: what answers at its address is not el-larq; choose another port")
            stack.pop_all()  # it stays open
            return peer
    raise ElLarqError(f"{first} did not answer within {seconds:g} seconds; start {_them([first])} there")


def _them(missing: list[str]) -> str:
    return "it" if len(missing) == 1 else "them"


def _refuse(peers: Any, message: str) -> None:
    for peer in peers:
        with contextlib.suppress(OSError):
            peer.send({"lost": message})
        peer.close()
