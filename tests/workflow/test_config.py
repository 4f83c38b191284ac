"""What `--config` may say to Snakemake: jobs read params.yaml, so that it must not say anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.project_copy import TINY, Project, copy_sources


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project without any result, and a second experiment."""
    project = copy_sources(tmp_path_factory.mktemp("fresh"))
    other = TINY["experiments"]["tiny"] | {"matrix": [{"datasets": ["scenes-b"], "methods": ["vse"], "seeds": [7]}]}
    project.params(TINY | {"experiments": TINY["experiments"] | {"other": other}})
    return project


@pytest.mark.parametrize(
    "change",
    [
        'experiments={"tiny": {"settings": {"all": {"augment": "crop-flip"}}}}',
        'experiments={"tiny": {"dedup": "none"}}',
        'experiments={"other": {"dedup": "none"}}',
    ],
)
def test_settings_that_differ_from_params_yaml_are_refused(change: str, fresh: Project) -> None:
    output = fresh.snakemake("-n", "--config", change, check=False)
    assert "--config may set experiment, strict and base alone: edit params.yaml, which every job reads" in output
    assert "rule " not in output


def test_a_key_that_params_yaml_does_not_know_is_refused(fresh: Project) -> None:
    output = fresh.snakemake("-n", "--config", "settings={}", check=False)
    assert "settings: Extra inputs are not permitted" in output
    assert "rule " not in output


def test_the_experiment_and_strict_may_be_set(fresh: Project) -> None:
    assert fresh.planned("--config", "experiment=other") == {"scenes-b/vse/7"}
    same = 'experiments={"tiny": {"dedup": "remoteclip"}}'
    plan = fresh.snakemake("-n", "-p", "--config", "strict=True", same)
    assert "rsitr tables tiny --only records --strict" in plan
    assert Path(fresh.path, "results").exists() is False
