"""``python -m rsitr``: the command line."""

from rsitr.cli import app

app()
