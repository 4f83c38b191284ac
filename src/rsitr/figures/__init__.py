"""Figures: one file each, drawn from the records that the tables are built from."""
