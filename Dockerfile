# The package in the environment of the lock file: docs/how-to/container.md. apptainer.def has the same steps.
FROM python:3.11-slim-bookworm

RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
# Whoever runs it, as `docker run --user` says, has a home and a name.
RUN useradd --uid 1000 --create-home rsitr && chmod 1777 /home/rsitr
ENV HOME=/home/rsitr USER=rsitr

ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
WORKDIR /app
# 1 leaves out what only a GPU uses.
ARG CPU=
COPY Makefile requirements.lock ./
RUN make libraries VENV=/venv CPU=$CPU
COPY . .
RUN make env VENV=/venv && python -m compileall -q src

USER 1000
WORKDIR /project
ENTRYPOINT ["rsitr"]
