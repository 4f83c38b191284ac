"""Jobs that run on other machines than Snakemake: what they ask for comes from params.yaml, not from the login node."""

from __future__ import annotations

import copy
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser

from tests.helpers.project_copy import ROOT, TINY, Project, copy_sources

EXECUTORS = Path(__file__).parents[1] / "helpers" / "executors"
AS_ELSEWHERE = ("--executor", "elsewhere", "--jobs", "4", "--cores", "10000")
PROFILE = "workflow/profiles/slurm"
METHODS = ("chance", "vse")


def snakemake(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake with the executor of the tests, which it finds on the path."""
    environment = project.environment
    environment["PYTHONPATH"] += f":{EXECUTORS}"
    command = ("snakemake", *AS_ELSEWHERE, *arguments)
    return subprocess.run(command, cwd=project.path, env=environment, capture_output=True, text=True)


def asked(project: Project) -> dict[str, dict[str, str]]:
    """Method of each cell -> the threads and resources that its job would ask a cluster for."""
    plan = snakemake(project, "-n", *(f"results/cells/tiny/scenes-b/{method}/0/cell.json" for method in METHODS))
    assert plan.returncode == 0, plan.stderr[-3000:]
    found = {}
    for block in re.split(r"\nrule ", plan.stdout + plan.stderr):
        if place := re.search(r"wildcards: place=tiny/scenes-b/(\w+)/0\n", block):
            resources = re.search(r"resources: (.*)\n", block)
            threads = re.search(r"threads: (\d+)\n", block)
            assert resources
            found[place[1]] = {"threads": threads[1] if threads else "1"}
            found[place[1]] |= dict(pair.split("=") for pair in resources[1].split(", "))
    assert {*found} == {*METHODS}
    return found


@pytest.fixture
def plain(tmp_path: Path) -> Project:
    """A project without results."""
    return copy_sources(tmp_path)


def change(project: Project, **fields: object) -> None:
    """Set fields of its experiment."""
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"] |= fields
    project.params(params)


@pytest.mark.slow
def test_jobs_of_a_cluster_are_not_cut_to_the_login_node(plain: Project) -> None:
    change(plain, threads=1000, mem_mb=10**8)
    for wanted in asked(plain).values():
        assert (wanted["threads"], wanted["cpu"], wanted["mem_mb"]) == ("1000", "1000", "100000000")


@pytest.mark.slow
def test_who_asks_a_cluster_for_a_gpu_is_said_in_params_yaml(plain: Project) -> None:
    change(plain, needs_gpu=True)
    assert {method: wanted["gpu"] for method, wanted in asked(plain).items()} == {"chance": "0", "vse": "1"}
    change(plain, needs_gpu=False)
    assert {method: wanted["gpu"] for method, wanted in asked(plain).items()} == {"chance": "0", "vse": "0"}


def test_the_profile_of_slurm_has_options_of_snakemake_and_limits_what_trains() -> None:
    profile = yaml.safe_load((ROOT / PROFILE / "config.yaml").read_text(encoding="utf-8"))
    options = get_argument_parser()._option_string_actions
    assert [name for name in profile if f"--{name}" not in options] == []
    rules = re.split(r"(?m)^rule ", (ROOT / "workflow/rules/artefacts.smk").read_text(encoding="utf-8"))
    assert {*profile["set-resources"]} == {rule.partition(":")[0] for rule in rules if "gpu=gpu_of(" in rule}


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("snakemake_executor_plugin_slurm"), reason="the plugin is not installed")
def test_snakemake_reads_the_profile_of_slurm(plain: Project) -> None:
    change(plain, needs_gpu=True, mem_mb=24000)
    plan = plain.run("snakemake", "--profile", PROFILE, "-n", "results/cells/tiny/scenes-b/vse/0/cell.json")
    asked_for = re.search(r"place=tiny/scenes-b/vse/0\n\s+resources: (.*)\n", plan)
    assert asked_for
    assert {"mem_mb=24000", "runtime=1440", "gpu=1"} <= {*asked_for[1].split(", ")}
