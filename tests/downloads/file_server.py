"""A server of files on loopback that resumes downloads, and that can be made to misbehave."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    state: dict[str, Any]

    def do_GET(self) -> None:
        self.state["asked"].append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        if "to" in self.state and self.path not in ("/file", "/missing"):
            self.send_response(302)
            self.send_header("Location", self.state["to"])
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        if "endless" in self.state:
            self._send_without_end()
            return
        content, start = self.state["content"], 0
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        if (wanted := self.headers.get("Range")) and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(self.state.get("length", len(content) - start)))
        self.end_headers()
        stop = self.state.pop("stop", len(content))
        self.wfile.write(content[start:stop])

    def _send_without_end(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):  # the client closes the connection
            while True:
                self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The server's address, and its state, which a test may change.

    content: what it sends for every path, except /missing. length: a Content-Length that is not the content's. stop: the number of
    bytes after which the next answer ends. to: where every path except /file redirects. endless: a body without end. asked: the
    requests so far: path, Range, If-Range.
    """
    state: dict[str, Any] = {"asked": [], "content": content}
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"state": state}))
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}", state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
