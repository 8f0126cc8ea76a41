#!/usr/bin/env bash
# train.sh [HITS [FOLDER [OPTIONS OF kerasgen train]]]: train a model on own hits and make a report.
# HITS is a basf2 ROOT file, NPZ hit lists or kerasgen HDF5; without HITS the script simulates 100
# events as a test. It writes into FOLDER (own_hits) and takes 15 minutes on two cores with --quick.
set -euo pipefail
hits=${1:-} folder=${2:-own_hits}
options=("${@:3}")
mkdir -p "$folder"
if [ -z "$hits" ]; then
  hits=$folder/simulated.h5
  [ -e "$hits" ] || kerasgen simulate pxd --events 100 --seed 1 --out "$hits"
fi
case $hits in
  *.h5) data=$hits ;;
  *)
    data=$folder/hits.h5
    [ -e "$data" ] || kerasgen convert "$hits" "$data"
    ;;
esac

# Hold out a quarter of the events or more: `--set data.held_out=N` in OPTIONS.
kerasgen train pxd_biggan --quick --data "$data" --run "$folder/run" \
  --set data.events=0 --set data.held_out=25 "${options[@]}"

# The run has its own report; this one has another seed.
kerasgen evaluate "$folder/run" --seed 7 --out "$folder/report"
echo "open $folder/report/report.html"
