"""HTML as a reader of it sees it."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """The rows of the tables of a page, and every tag that was opened and not closed."""

    VOID = ("meta",)

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.ids, self.links = [], [], set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open += [tag] if tag not in self.VOID else []
        self.ids |= {value for name, value in attrs if name == "id"}
        self.links |= {value.removeprefix("#") for name, value in attrs if name == "href"}
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
