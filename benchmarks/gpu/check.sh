#!/bin/sh
# The GPU path on one GPU, in the order in which a failure tells most. Steps of about 40 minutes in all on an H100;
# 60 GB of disk under $GPU_CHECK. Every step runs whatever became of those before it; the last line says what failed.
cd "$(dirname "$0")/../.." || exit 2
python=${PYTHON:-.venv/bin/python}
check=${GPU_CHECK:-/tmp/gpu-check}
export GPU_CHECK="$check" PYTHONPATH=.
failed=""
step() {
    name=$1; shift
    echo "== $name"
    "$@" || failed="$failed; $name"
}
step "a cell's process gets the GPU (3 minutes)" $python benchmarks/gpu/fork.py
step "1B: all methods; peaks beside the plan (7 minutes)" \
    $python benchmarks/gpu/cells.py cuda 1B lora,ia3,adalora,ptuning,adapterh,adapterp,parallel,fft 3
step "1B without checkpointing: what it frees at 8 bits (3)" \
    env GPU_CHECK="$check" $python benchmarks/gpu/cells.py cuda 1B lora,adapterh 3 false
step "autocast's cache: 2 bytes a parameter, then 0 (4)" \
    $python -m torch.distributed.run --nproc-per-node 1 benchmarks/gpu/autocast_cache.py 1B
step "3B, full: peak, and seconds of a checkpoint of 36 GB (6)" $python benchmarks/gpu/cells.py cuda 3B fft 2
rm -rf "$check/base-3B" "$check/runs"
step "16B, LoRA: peak and seconds a micro-batch (8)" $python benchmarks/gpu/cells.py cuda 16B lora 1
rm -rf "$check/base-16B" "$check/runs"
echo "== 7B, full: must be refused or run out of memory in one line on 80 GB (4)"
$python benchmarks/gpu/cells.py cuda 7B fft 1
rm -rf "$check/base-7B" "$check/runs"
step "generation: rows at once, 8 bits and bfloat16 (6)" $python benchmarks/gpu/generation.py 1B
step "astraios beside the plain Trainer at 1B, compiled too (10)" \
    $python benchmarks/train.py --device cuda --rounds 1 --steps 3 --threads 4
[ -z "$failed" ] && echo "all steps ran" || { echo "failed$failed"; exit 1; }
