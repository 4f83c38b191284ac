#!/bin/sh
# What only a GPU can show, in ten minutes at most on one of an H200's class: results/benchmarks/gpu.csv.
#
#     benchmarks/gpu.sh                       every step
#     benchmarks/gpu.sh resume mtgfe          some of them
#     benchmarks/gpu.sh --cpu                 the same code on tiny models; writes nothing
#
# It needs no data, no weights and no network: images are drawn, and weights made up. Each step (benchmarks/gpu.py) has
# a process and a limit of time of its own. One that fails is a row, and the others go on.
cd "$(dirname "$0")/.." || exit
export PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD/src"
exec python benchmarks/gpu.py "$@"
