#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder of the project, whose lock file it then agrees with.
set -euo pipefail
make env VENV="$CONDA_PREFIX"
