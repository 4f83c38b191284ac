"""The result site of an experiment: static pages that open without a server and without a network."""
