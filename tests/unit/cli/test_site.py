"""`rsitr site` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.helpers import made_site
from tests.helpers.commands import refused, run


def test_it_says_what_to_open_and_what_could_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = made_site.lay_out()
    Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")), encoding="utf-8")
    result = run("site", "lab", "--out", "pages", "--external")
    assert result.exit_code == 0
    first, last = result.stdout.splitlines()
    assert first.startswith(f"{made_site.CUT} cannot be read")
    assert last == "open pages/index.html"
    assert Path("pages/index.html").is_file()
    assert '"role": "external"' in Path("pages/site.json").read_text()
    assert "results is not a site" in refused("site", "lab", "--out", "results")
