"""A local HTTP server that plays a script of replies, good and bad, and keeps the requests it got."""

from __future__ import annotations

import hashlib
import socket
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


@dataclass(frozen=True)
class Reply:
    """What the server does with one request."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    """Whether a Range is honoured, as far as an If-Range allows."""
    shift: int = 0
    """Bytes by which a broken server misses the start of a range."""
    length: bool = True
    """Whether the length of the body is stated."""
    cut: int | None = None
    """Bytes of the body after which the connection is closed; -1: before the status line."""


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    method: str = "GET"


class Server:
    """Replies to each path with its script, in order; the last reply repeats. Unknown paths get 404."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Reply]] = {}
        self.requests: list[Request] = []
        handler = type("Handler", (_Handler,), {"script": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def serve(self, path: str, *replies: Reply | bytes) -> str:
        """Script ``path`` and return its URL."""
        self.scripts[path] = [Reply(reply) if isinstance(reply, bytes) else reply for reply in replies]
        return self.url + path

    def ranges(self) -> list[str | None]:
        """The Range header of every request for a body."""
        return [request.headers.get("Range") for request in self.requests if request.method == "GET"]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class Hub(Server):
    """Has the headers of the Hugging Face hub, at one commit."""

    def __init__(self, commit: str) -> None:
        super().__init__()
        self.commit = commit

    def serve(self, path: str, *replies: Reply | bytes) -> str:
        """Script a file."""
        every = [Reply(reply) if isinstance(reply, bytes) else reply for reply in replies]
        found = []
        for reply in every:
            etag = f'"{hashlib.sha256(reply.body).hexdigest()}"'
            found.append(replace(reply, headers={"X-Repo-Commit": self.commit, "ETag": etag} | reply.headers))
        return super().serve(path, *found)


def unused_address() -> str:
    """A host and port at which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unused.getsockname()[1]}"


class _Handler(BaseHTTPRequestHandler):
    script: Server

    def do_GET(self) -> None:
        self.script.requests.append(Request(self.path, dict(self.headers)))
        replies = self.script.scripts.get(self.path, [Reply(status=404)])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply.cut == -1:
            return
        status, body, headers = reply.status, reply.body, dict(reply.headers)
        start = self._start(reply)
        if start is not None:
            status, start = 206, start + reply.shift
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body = body[start:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if reply.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: reply.cut])

    def do_HEAD(self) -> None:
        """What the next GET will get, without the body."""
        self.script.requests.append(Request(self.path, dict(self.headers), "HEAD"))
        reply = self.script.scripts.get(self.path, [Reply(status=404)])[0]
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _start(self, reply: Reply) -> int | None:
        """First byte of the range to send, None for the whole body."""
        condition = self.headers.get("If-Range")
        if "Range" not in self.headers or not reply.ranges or reply.status != 200:
            return None
        if condition is not None and condition != reply.headers.get("ETag"):
            return None
        return int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""
