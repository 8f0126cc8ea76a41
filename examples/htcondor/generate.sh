#!/usr/bin/env bash
# generate.sh MODEL FOLDER EVENTS SEED SHARDS SHARD: run one job of a production; kerasgen is on PATH.
set -euo pipefail
model=$1 folder=$2 events=$3 seed=$4 shards=$5 shard=$6
exec kerasgen generate "$model" --events "$events" --seed "$seed" \
  --shards "$shards" --shard "$shard" --resume \
  --out "$folder/$(printf 'background-%s-%05d.h5' "$seed" "$shard")"
