"""Workers on this machine."""

import contextlib
import socket

from el_larq.training.cluster import Cluster


def cluster_of(count: int) -> list[Cluster]:
    """A cluster at free ports, as each of its workers sees it."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        workers = tuple(f"127.0.0.1:{s.getsockname()[1]}" for s in sockets)
    return [Cluster(workers, index) for index in range(count)]
