"""Dockerfile and apptainer.def: a pinned base, no root, no cache, no address, and one list of files and steps."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from tests.helpers.project_copy import ROOT


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """What the Dockerfile says, in order: instruction and arguments."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.MULTILINE))
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def sections() -> dict[str, list[str]]:
    """Section of apptainer.def -> its lines; the head is the section of no name."""
    found: dict[str, list[str]] = {"": []}
    for line in read("apptainer.def").splitlines():
        if line.startswith("%"):
            found[line[1:]] = lines = []
        elif line.strip() and not line.startswith("#"):
            (lines if len(found) > 1 else found[""]).append(line.strip())
    return found


def sent() -> list[str]:
    """What .dockerignore lets through."""
    lines = [line for line in read(".dockerignore").splitlines() if not line.startswith("#")]
    assert (lines[0], lines[-1]) == ("*", "**/__pycache__")
    assert all(line.startswith("!") for line in lines[1:-1])
    return [line.removeprefix("!") for line in lines[1:-1]]


def test_the_base_is_pinned_and_fits() -> None:
    (base,) = arguments("FROM")
    version = re.fullmatch(r"python:(3\.\d+)-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert version
    requires = tomllib.loads(read("pyproject.toml"))["project"]["requires-python"]
    assert requires == f">={version[1]}"  # what the lock file is compiled for
    assert sections()[""] == ["Bootstrap: docker", f"From: {base}"]


def test_nobody_is_root_when_it_runs() -> None:
    order = [name for name, _ in instructions()]
    (user,) = arguments("USER")
    assert f"useradd --uid {user} " in " ".join(arguments("RUN"))
    assert user.isdigit()  # Kubernetes cannot see who is behind a name
    assert user != "0"
    assert "RUN" not in order[order.index("USER") :]
    assert json.loads(arguments("ENTRYPOINT")[0]) == ["rsitr"]
    assert sections()["runscript"] == ['exec rsitr "$@"']


def test_no_cache_stays() -> None:
    variables = dict(pair.split("=", 1) for line in arguments("ENV") for pair in line.split())
    assert (variables["PIP_NO_CACHE_DIR"], variables["UV_NO_CACHE"]) == ("1", "1")
    for step in arguments("RUN"):
        if "apt-get" in step:
            assert "--no-install-recommends" in step
            assert step.endswith("rm -rf /var/lib/apt/lists/*")


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def", ".dockerignore"])
def test_no_address_and_no_download_besides_the_lock_file(name: str) -> None:
    assert not re.search(r"://|--(extra-)?index|--trusted-host|\b(pip|uv|curl|wget|conda|ADD)\s", read(name))


def test_what_is_sent_is_there_and_makes_a_project() -> None:
    assert [path for path in sent() if not (ROOT / path).exists()] == []
    stated = tomllib.loads(read("pyproject.toml"))
    parts = stated["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    built_from = {"LICENSE", "Makefile", "pyproject.toml", "requirements.lock", "src", stated["project"]["readme"]}
    assert {*sent()} == {*parts} | built_from
    for line in arguments("COPY"):
        *sources, _ = line.split()
        assert sources == ["."] or {*sources} <= {*sent()}


def test_apptainer_takes_the_same_files_and_steps() -> None:
    found = sections()
    assert found["files"] == [f"{path} /app/{path}" for path in sent()]
    # Apptainer runs an image as whoever calls it, and has no arguments of a build here.
    steps = [step.replace(" CPU=$CPU", "") for step in arguments("RUN") if "useradd" not in step]
    environment = next(line for line in arguments("ENV") if line.startswith("PATH="))
    commands = [line for line in found["post"] if not line.startswith(("set ", "cd "))]
    assert commands == [f"export {environment}", *steps]
    assert f"cd {arguments('WORKDIR')[0]}" in found["post"]
    assert found["environment"] == [f"export {environment.split()[0]}"]
