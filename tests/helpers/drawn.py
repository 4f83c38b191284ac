"""Figures as they are saved, and the texts in them."""

from __future__ import annotations

import matplotlib.text
import pytest
from matplotlib.figure import Figure


def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved from now on."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    return figures


def texts_of(figure: Figure) -> list[str]:
    """Every text in a figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
