#!/usr/bin/env bash
# train.sh [HITS [FOLDER [OPTIONS OF kerasgen train]]]: own hits -> trained model -> report.
# HITS is a basf2 ROOT file, NPZ hit lists or kerasgen HDF5; without it 100 events are simulated, to
# see how it goes. Everything comes into FOLDER (own_hits): 15 minutes on two cores in the quick form.
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

# A quarter of the events or more should be held out; `--set data.held_out=N` in OPTIONS says so.
kerasgen train pxd_biggan --quick --data "$data" --run "$folder/run" \
  --set data.events=0 --set data.held_out=25 "${options[@]}"

# The run has a report of its own; this one has another seed.
kerasgen evaluate "$folder/run" --seed 7 --out "$folder/report"
echo "open $folder/report/report.html"
