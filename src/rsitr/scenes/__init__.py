"""Priors: scene classifiers whose backbones methods start from, with or without images of the retrieval test sets."""
