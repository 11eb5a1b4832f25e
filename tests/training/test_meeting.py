"""How workers find and watch each other, in threads of one process."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from loopback import cluster_of

from el_larq.errors import ElLarqError
from el_larq.training import meeting, peers
from el_larq.training.cluster import Cluster
from el_larq.training.meeting import Meeting, meet
from el_larq.training.peers import Peer

SAME = {"seed": 0, "recipe": {"epochs": 2}}
LONG = 30.0


def meet_all(workers: list[Cluster], seconds: float = LONG, agreements: list[Any] | None = None) -> list[Meeting | str]:
    """What `meet` returned in each worker, or the message of its error."""

    def one(cluster: Cluster, agreement: Any) -> Meeting | str:
        try:
            return meet(cluster, agreement, seconds)
        except ElLarqError as error:
            return str(error)

    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(one, workers, agreements or [SAME] * len(workers)))


@contextlib.contextmanager
def all_met(count: int) -> Iterator[tuple[list[Cluster], list[Meeting], list[threading.Event]]]:
    workers = cluster_of(count)
    met = meet_all(workers)
    told = [threading.Event() for _ in workers]
    with contextlib.ExitStack() as stack:
        meetings = [stack.enter_context(one) for one in met if isinstance(one, Meeting)]
        assert len(meetings) == count, met
        for one, event in zip(meetings, told, strict=True):
            one.watch(event.set)
        yield workers, meetings, told


def test_after_a_meeting_the_address_is_free_for_tensorflow() -> None:
    with all_met(3) as (workers, _, _):
        host, port = workers[0].workers[0].split(":")
        socket.create_server((host, int(port))).close()


def test_all_hear_of_what_one_reports() -> None:
    with all_met(3) as (workers, meetings, told):
        meetings[2].report("the disk is full")
        for index in (0, 1):
            assert told[index].wait(LONG)
            assert meetings[index].wait_for_loss(0) == f"{workers[2].name}: the disk is full"
        assert not told[2].is_set()


def test_a_worker_whose_process_ends_is_lost() -> None:
    with all_met(3) as (workers, meetings, told):
        for peer in meetings[1]._peers.values():
            peer.connection.shutdown(socket.SHUT_RDWR)  # what the system does for a process that is killed
        for index in (0, 2):
            assert told[index].wait(LONG)
            assert meetings[index].lost == f"{workers[1].name} has ended"


def test_a_silent_worker_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "SILENCE", 0.1)
    with all_met(2) as (workers, meetings, told):
        assert told[0].wait(LONG)
        assert meetings[0].lost in (f"{workers[1].name} has not answered for 0.1 seconds", f"{workers[1].name} has ended")


def test_signs_of_life_keep_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "BEAT", 0.01)
    monkeypatch.setattr(meeting, "SILENCE", 5.0)
    with all_met(2) as (_, meetings, _):
        assert meetings[0].wait_for_loss(0.2) is None


def two_met() -> tuple[list[Cluster], Meeting, Meeting]:
    workers = cluster_of(2)
    first, second = meet_all(workers)
    assert isinstance(first, Meeting)
    assert isinstance(second, Meeting)
    return workers, first, second


def test_a_worker_that_is_done_is_not_lost() -> None:
    _, first, second = two_met()
    with first:
        first.watch(lambda: None)
        with second:
            pass
        assert first.wait_for_loss(0.2) is None


@pytest.mark.parametrize(("error", "how"), [(KeyboardInterrupt(), "was interrupted"), (ValueError(), "has ended")])
def test_a_worker_that_ends_otherwise_is_not_done(error: BaseException, how: str) -> None:
    workers, first, second = two_met()
    with first:
        first.watch(lambda: None)
        with pytest.raises(type(error)), second:
            raise error
        assert first.wait_for_loss(LONG) == f"{workers[1].name} {how}"


def test_what_was_reported_is_the_reason_of_an_end() -> None:
    workers, first, second = two_met()
    with first:
        first.watch(lambda: None)
        with pytest.raises(ElLarqError), second:
            _report_and_raise(second, "the disk is full")
        assert first.wait_for_loss(LONG) == f"{workers[1].name}: the disk is full"


def _report_and_raise(one: Meeting, reason: str) -> None:
    one.report(reason)
    raise ElLarqError(reason)


def test_a_missing_worker_is_named_in_all_others() -> None:
    workers = cluster_of(4)
    found = meet_all([workers[0], workers[2]], seconds=1.0)
    assert found[0] == f"{workers[1].name} and {workers[3].name} did not come within 1 seconds; start them there"
    assert found[1] == found[0]


def test_a_missing_first_worker_is_named() -> None:
    workers = cluster_of(2)
    assert meet_all([workers[1]], seconds=0.5) == [f"{workers[0].name} did not answer within 0.5 seconds; start it there"]


def test_other_settings_are_refused_in_all_workers() -> None:
    workers = cluster_of(2)
    found = meet_all(workers, agreements=[SAME, SAME | {"recipe": {"epochs": 3}}])
    assert found[0] == found[1]
    assert f"{workers[1].name} has another recipe than {workers[0].name}" in str(found[0])


def test_two_workers_with_one_index_are_refused() -> None:
    workers = cluster_of(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meeting, "open_listener", _listening_only_at(0, meeting.open_listener))
        found = meet_all([workers[0], workers[1], workers[1]])
    assert any("two processes say that they are worker 1" in str(one) for one in found)


def _listening_only_at(index: int, real: Any) -> Any:
    """On one machine, the second process would fail earlier, since the port of the first one is in use."""
    return lambda cluster: real(cluster) if cluster.index == index else socket.socket()


def test_a_port_in_use_is_named() -> None:
    workers = cluster_of(2)
    host, port = workers[1].workers[1].split(":")
    with socket.create_server((host, int(port))):
        (found,) = meet_all([workers[1]])
    assert f"{workers[1].name}: cannot listen at port {port}" in str(found)
    assert "choose another port" in str(found)


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.0\r\n\r\n", b"[]\n", b"[" * 100_000 + b"\n", b'{"worker": 7, "agreement": {}}\n', b""]
)
def test_strangers_at_the_port_do_not_disturb(sent: bytes) -> None:
    workers = cluster_of(2)
    host, port = workers[0].workers[0].split(":")

    def stranger() -> None:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(sent)
                return
            threading.Event().wait(0.05)

    thread = threading.Thread(target=stranger)
    thread.start()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(meet, workers[0], SAME, LONG)
        thread.join()
        second = meet(workers[1], SAME, LONG)
        with first.result(), second:
            pass


def test_who_connects_and_says_nothing_or_too_much_does_not_delay_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_INTRODUCTION", 10 * LONG)
    workers = cluster_of(2)
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        first = pool.submit(meet, workers[0], SAME, LONG)
        for _ in range(3):
            stack.enter_context(_connected(workers[0])).sendall(b'{"worker":')
        threading.Thread(target=_send_without_end, args=(stack.enter_context(_connected(workers[0])),), daemon=True).start()
        with meet(workers[1], SAME, LONG), first.result():
            pass


def _connected(worker: Cluster) -> socket.socket:
    host, port = worker.workers[0].split(":")
    for _ in range(100):
        with contextlib.suppress(OSError):
            return socket.create_connection((host, int(port)), timeout=LONG)
        threading.Event().wait(0.05)
    raise AssertionError("nobody listens")


def _send_without_end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"x" * (1 << 16))


def test_who_says_nothing_is_disconnected_after_a_while_or_if_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_STRANGERS", 2)
    (worker, _) = cluster_of(2)
    with peers.open_listener(worker) as listener, peers.Introductions(listener) as introductions, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(_connected(worker)) for _ in range(3)]
        assert introductions.next(time.monotonic() + 0.3) is None
        assert silent[0].recv(1) == b""
        silent[2].sendall(b'{"worker": 1}\n')
        found = introductions.next(time.monotonic() + LONG)
        assert found is not None
        assert found[1] == {"worker": 1}
        found[0].close()
        monkeypatch.setattr(peers, "_INTRODUCTION", 0.0)
        late = stack.enter_context(_connected(worker))
        assert introductions.next(time.monotonic() + 0.3) is None
        assert late.recv(1) == b""


def test_a_message_in_small_parts_must_be_complete_in_time() -> None:
    ours, theirs = socket.socketpair()
    ended = threading.Event()

    def dribble() -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(0.02):
                theirs.sendall(b" ")

    thread = threading.Thread(target=dribble)
    thread.start()
    with ours, theirs:
        with pytest.raises(TimeoutError):
            Peer(ours).receive(0.2)
        ended.set()
        thread.join()


def test_a_worker_listens_where_the_others_can_reach_it() -> None:
    """This machine's name may stand for a loopback address here, as on Debian, and for another one elsewhere."""
    places = {"127.0.0.1": ("127.0.0.1",), "localhost": ("127.0.0.1",), socket.gethostname(): ("::", "0.0.0.0")}
    if socket.has_dualstack_ipv6():
        places["[::1]"] = ("::1",)
    for host, expected in places.items():
        with peers.open_listener(Cluster((f"{host}:0", "other:1"), 0)) as listener:
            assert listener.getsockname()[0] in expected


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6")
def test_workers_meet_at_addresses_of_ipv6() -> None:
    workers = tuple(address.replace("127.0.0.1", "[::1]") for address in cluster_of(2)[0].workers)
    for one in meet_all([Cluster(workers, index) for index in (0, 1)]):
        assert isinstance(one, Meeting)
        with one:
            pass


def test_a_message_is_a_line_of_json() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = Peer(ours)
        theirs.sendall(json.dumps({"a": 1}).encode() + b'\n{"b"')
        assert peer.receive(LONG) == {"a": 1}
        theirs.sendall(b": 2}\n")
        assert peer.receive(LONG) == {"b": 2}
        theirs.sendall(b"no json\n")
        with pytest.raises(ConnectionError, match="not JSON"):
            peer.receive(LONG)
