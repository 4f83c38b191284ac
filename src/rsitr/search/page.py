"""A page of results: one file with the pictures inside, which needs no server and no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

from jinja2 import Environment
from PIL import Image

from rsitr.search.index import Hit
from rsitr.search.pictures import Pictures

SIDE = 224
"""Pixels of the longest side of a picture on the page."""
PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Search in {{ place }}</title>
<style>
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem; }
h1 { font-size: 1.25rem; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
ol { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); padding: 0; }
li { list-style: none; }
img { aspect-ratio: 1; border-radius: .25rem; object-fit: cover; width: 100%; }
.asked { max-width: 10rem; }
figure { margin: 0; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>{{ pictures }} in {{ place }}</h1>
<p>By {{ model }}. The number is the cosine of query and picture.</p>
{% for found in results %}
<h2>{{ found.query }}</h2>
{% if found.asked %}
<img class="asked" src="{{ found.asked }}" alt="the query">
{% endif %}
<ol>
{% for hit in found.hits %}
<li><figure><img src="{{ hit.image }}" alt="{{ hit.name }}"><figcaption>{{ loop.index }}. {{ hit.name }} \
({{ '%.3f' | format(hit.score) }})</figcaption></figure></li>
{% endfor %}
</ol>
{% endfor %}
</body>
</html>
"""
)


class Result(NamedTuple):
    """A query and what was found for it."""

    query: str
    hits: Sequence[Hit]
    asked: Image.Image | None = None
    """The query, if it is a picture."""


def page(pictures: Pictures, count: int, model: str, results: Sequence[Result]) -> str:
    """The page of some results among ``count`` pictures."""
    with pictures.opened():
        shown = [
            {
                "query": result.query,
                "asked": _source(result.asked) if result.asked else "",
                "hits": [hit._asdict() | {"image": _source(pictures.picture(hit.name))} for hit in result.hits],
            }
            for result in results
        ]
    what = f"{count:,} picture{'s' if count != 1 else ''}"
    return PAGE.render(place=pictures.place.name, pictures=what, model=model, results=shown)


def _source(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((SIDE, SIDE))
    content = BytesIO()
    small.convert("RGB").save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
