"""A site on this machine alone, with a model that encodes texts for its search page.

A page that is opened as a file has a small text tower of its own. Served, it asks for embeddings by the model itself:
``POST /embed`` with ``{"text": ...}`` is answered by ``{"embedding": [...]}``, of unit length.
"""

from __future__ import annotations

import html
import json
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from rsitr.errors import ParamsError, RsitrError
from rsitr.external.encodings import directions
from rsitr.external.models import Encoder
from rsitr.search_page.searched import key
from rsitr.site.frame import INDEX, TYPED

HOST = "127.0.0.1"
LONGEST = 1000
"""Characters of a text, at most."""
BODY = 8 * LONGEST
"""Bytes of a request, at most."""


class Handler(SimpleHTTPRequestHandler):
    """The files of a folder, ``index.html`` with the name of the model, and embeddings."""

    def __init__(self, *args: Any, model: Encoder, lock: Lock, **kwargs: Any):
        self.model, self.lock = model, lock
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        """A file; there are no lists of folders."""
        if self._refused():
            return
        if self.path.partition("?")[0] in ("/", f"/{INDEX}"):
            text = Path(self.directory, INDEX).read_text(encoding="utf-8")
            named = f'<meta name="rsitr-serve" data-model="{html.escape(key(self.model.facts))}">\n</head>'
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", text.replace("</head>", named, 1).encode())
        elif self.path.endswith("/"):
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            super().do_GET()

    def do_POST(self) -> None:
        """The embedding of a text."""
        if self._refused():
            return
        try:
            text = self._text()
            with self.lock:
                embedding = directions(self.model.encode_texts([text]), "text", lambda _: "the query")[0]
        except (ValueError, RsitrError) as error:
            self._send(HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", str(error).encode())
            return
        self._send(HTTPStatus.OK, "application/json", json.dumps({"embedding": embedding.tolist()}).encode())

    def _refused(self) -> bool:
        """Another page in the same browser may name this server in requests, or be read under a name of its own."""
        here = {f"{name}:{self.connection.getsockname()[1]}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        wrong = self.headers.get("Host") not in here or (origin and origin.removeprefix("http://") not in here)
        if wrong:
            self.send_error(HTTPStatus.FORBIDDEN)
        return bool(wrong)

    def _text(self) -> str:
        if self.path != "/embed" or self.headers.get_content_type() != "application/json":
            raise ValueError('POST {"text": ...} to /embed, as application/json')
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY:
            raise ValueError(f"a text has {LONGEST:,} characters at most")
        found = json.loads(self.rfile.read(length))
        text = found.get("text") if isinstance(found, dict) else None
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
            raise ValueError(f"give a text of 1 to {LONGEST:,} characters")
        return text

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is searched for is nobody's business."""


def site_at(folder: Path) -> Path:
    """The folder; raises ``ParamsError`` where it is not a site."""
    if not (folder / TYPED).is_file():
        raise ParamsError(f"{folder} is not a site: write one with `rsitr search FOLDER --site {folder}`")
    return folder


def server(folder: Path, model: Encoder, port: int = 0) -> ThreadingHTTPServer:
    """A server of a site on 127.0.0.1, by default at a free port; the caller starts and closes it.

    Raises ``ParamsError`` where there is no site, the model has no embeddings, or the port is taken.
    """
    if model.scorer.interacts:
        raise ParamsError("this model scores pairs and has no embeddings to search: name a dual encoder")
    handler = partial(Handler, model=model, lock=Lock(), directory=str(site_at(folder)))
    try:
        return ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        raise ParamsError(f"port {port} cannot be used ({error}): choose another with --port") from None
