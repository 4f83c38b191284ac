"""Captions: words, vocabularies and what is known about them."""
