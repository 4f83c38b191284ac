"""A site on this machine: what it answers, and whom it refuses."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import torch
from PIL import Image

from rsitr.errors import ParamsError
from rsitr.search.index import Index
from rsitr.search.pictures import pictures_at
from rsitr.search_page import own
from rsitr.search_page.searched import key
from rsitr.search_page.serve import LONGEST, server
from tests.helpers.tower_model import TowerModel


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "pictures").mkdir()
    Image.new("RGB", (20, 20), (9, 99, 9)).save(folder / "pictures/a.png")
    index = Index(folder / "index", pictures_at(folder / "pictures"), TowerModel()).update()
    return own.write(folder / "site", index, "rsitr search").parent


@pytest.fixture(scope="module")
def port(site: Path) -> Iterator[int]:
    with server(site, TowerModel()) as running:
        assert running.server_address[0] == "127.0.0.1"
        Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1]
        running.shutdown()


def asked(port: int, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def embed(port: int, body: object, **headers: str) -> tuple[int, bytes]:
    return asked(port, "POST", "/embed", json.dumps(body), **{"Content_Type": "application/json", **headers})


def test_it_gives_embeddings_of_texts(port: int) -> None:
    status, content = embed(port, {"text": "two planes, \u05e2\u05d9\u05e8"})
    assert status == 200
    expected = TowerModel().encode_texts(["two planes"])[0]
    torch.testing.assert_close(torch.tensor(json.loads(content)["embedding"]), expected)


@pytest.mark.parametrize(
    "body", [{}, [], {"text": " "}, {"text": 5}, {"text": "a" * (LONGEST + 1)}, "text", {"text": "a" * 9000}]
)
def test_what_is_no_text_is_refused_with_a_reason(port: int, body: object) -> None:
    status, content = embed(port, body)
    assert status == 400
    assert b"characters" in content


def test_other_sites_and_other_names_are_refused(port: int) -> None:
    assert embed(port, {"text": "a"}, Origin="http://evil.example")[0] == 403
    assert embed(port, {"text": "a"}, Host=f"evil.example:{port}")[0] == 403
    assert asked(port, "GET", "/", Host="evil.example")[0] == 403
    # A form of another page can send this without asking first.
    assert embed(port, {"text": "a"}, Content_Type="text/plain")[0] == 400
    assert embed(port, {"text": "a"}, Origin=f"http://127.0.0.1:{port}")[0] == 200
    assert asked(port, "POST", "/elsewhere", "{}", Content_Type="application/json")[0] == 400


def test_the_page_names_the_model_and_files_outside_are_not_there(port: int, site: Path) -> None:
    status, content = asked(port, "GET", "/")
    assert status == 200
    assert f'<meta name="rsitr-serve" data-model="{key(TowerModel().facts)}">' in content.decode()
    assert b"rsitr-serve" not in (site / "index.html").read_bytes()
    assert asked(port, "GET", "/pages/core.js") == (200, (site / "pages/core.js").read_bytes())
    for path in ("/data/", "/data", "/../index/index.json", "/%2e%2e/index/index.json"):
        assert asked(port, "GET", path)[0] in (301, 404), path


def test_a_folder_without_a_site_and_a_port_in_use_are_told(site: Path, port: int, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="is not a site: write one with `rsitr search FOLDER --site"):
        server(tmp_path, TowerModel())
    with pytest.raises(ParamsError, match=f"port {port} cannot be used"):
        server(site, TowerModel(), port)
