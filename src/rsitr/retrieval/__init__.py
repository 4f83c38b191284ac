"""Ranks, recall and their statistics: what this project exists for."""
