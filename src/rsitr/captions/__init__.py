"""Captions: words, vocabularies, similarities and checks."""
