"""Data as scripts: no text ends the script that it is in, and what is packed comes out as it was."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from rsitr.site.scripts import Folder, as_script_json

NASTY = '</script><!-- & \u2028 \u2029 " \\ \u202eabc'


def test_no_character_is_left_that_a_page_or_a_script_takes_for_its_own() -> None:
    text = as_script_json({NASTY: NASTY})
    assert not {*"<>&\u2028\u2029"} & {*text}
    assert json.loads(text) == {NASTY: NASTY}


def test_a_number_that_json_lacks_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_script_json(float("nan"))


def test_a_script_puts_its_value_under_its_key(tmp_path: Path) -> None:
    assert Folder(tmp_path).write("site", {"a": 1}) == "data/site.js"
    assert (tmp_path / "data/site.js").read_text() == 'RSITR.put("site",{"a":1});\n'


def test_what_is_packed_is_the_same_text_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    file = Folder(tmp_path).pack("cells/ucm/vse++@a", [NASTY])
    assert file == "data/cells/ucm/vse++@a.js"
    text = (tmp_path / file).read_text()
    head, packed = text[: -len('");\n')].split(',"')
    assert head == 'RSITR.put("cells/ucm/vse++@a"'
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == [NASTY]
    Folder(tmp_path).pack("cells/ucm/vse++@a", [NASTY])
    assert (tmp_path / file).read_text() == text
