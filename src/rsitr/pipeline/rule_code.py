"""Hashes of the code behind rules, since Snakemake sees no edit of what a command imports."""

from __future__ import annotations

from rsitr.datasets import known as datasets
from rsitr.records.identity import code_sha


def code(*modules: str) -> str:
    """Hash of the code behind these modules."""
    return code_sha(modules)[:16]


def dataset_code(dataset: str) -> str:
    """Hash of the code that builds one dataset; the files of the other datasets are not part of it."""
    return code("rsitr.datasets.acquire", datasets()[dataset].__module__)


def measure_code(measure: str) -> str:
    """Hash of the code of a measure of similarity and of what writes its matrix."""
    from rsitr.captions.similarity import module_of

    return code("rsitr.captions.similarity", module_of(measure))
