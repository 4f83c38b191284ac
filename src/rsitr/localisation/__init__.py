"""Semantic localisation: where in a large scene a text is true (AMFMN, section V-H)."""
