"""Datasets written for other programs: their layouts, the images in them, and what describes them there."""
