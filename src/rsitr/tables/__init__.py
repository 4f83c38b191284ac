"""The published numbers, and every table of the benchmark: one spec each, rendered to csv, md, tex and html."""
