#!/usr/bin/env bash
# Where a worker spends its time:  benches/profile.sh [get|set|mixed] [depth] [seconds] [keys]
# Starts a node with one worker on core 0, loads it from core 1, samples the worker by perf's cpu-clock (hardware
# counters are often missing in virtual machines) and prints the top symbols.
#   PROFILE_PID=PID PROFILE_PORT=PORT   profile that process of a server that runs already, loaded at that port
#   PROFILE_DATA=FILE                   keep perf's recording, with call chains (perf report -i FILE)
set -euo pipefail
cd "$(dirname "$0")/.."

operation=${1:-get} depth=${2:-16} seconds=${3:-5} keys=${4:-100000}
case $operation in
get) share=100 ;;
set) share=0 ;;
mixed) share=80 ;;
*) sed -n '2,6p' "$0" >&2; exit 2 ;;
esac
command -v perf >/dev/null || { echo "profile.sh: perf is not installed" >&2; exit 1; }

scratch=$(mktemp -d)
node=
finish() {
  [[ -z $node ]] || { kill "$node" 2>/dev/null && wait "$node" || true; }
  rm -rf "$scratch"
}
trap finish EXIT

port=${PROFILE_PORT:-7990}
if [[ -z ${PROFILE_PID:-} ]]; then
  yggdrasil=$PWD/.venv/bin/yggdrasil
  (cd "$scratch" && exec taskset -c 0 "$yggdrasil" serve --port "$port" --shards 1 --dir "$scratch" --admin-port 0) \
    >"$scratch/log" 2>&1 &
  node=$!
  for _ in $(seq 300); do
    grep -q '^ready' "$scratch/log" && break
    kill -0 "$node" 2>/dev/null || break
    sleep 0.1
  done
  grep -q '^ready' "$scratch/log" || { cat "$scratch/log" >&2; exit 1; }
fi

cargo build --quiet --release --locked --workspace --bin loadgen
loadgen=(taskset -c 1 target/release/loadgen)
target=(--address "127.0.0.1:$port" --keys "$keys")
"${loadgen[@]}" load "${target[@]}" >"$scratch/result" || { cat "$scratch/result" >&2; exit 1; }
run=("${loadgen[@]}" run "${target[@]}" --depth "$depth" --get-share "$share")

# The worker is the process of the node that the load keeps busy.
busiest() {
  local ticks=-1 best=$1 pid used
  for pid in "$1" $(pgrep -P "$1"); do
    used=$(awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$pid/stat")
    ((used > ticks)) && { ticks=$used best=$pid; }
  done
  echo "$best"
}
"${run[@]}" --seconds 1 >/dev/null
worker=${PROFILE_PID:-$(busiest "$node")}

recording=${PROFILE_DATA:-$scratch/perf.data}
chains=()
[[ -z ${PROFILE_DATA:-} ]] || chains=(--call-graph fp)
"${run[@]}" --seconds "$((seconds + 1))" >"$scratch/result" &
load=$!
perf record --quiet -e cpu-clock -F 4999 "${chains[@]}" -p "$worker" -o "$recording" -- sleep "$seconds" >/dev/null
wait "$load"
echo "# $operation, depth $depth, $keys keys: $(grep -oE '"operations_per_second":[0-9]+' "$scratch/result") (with perf)"
perf report --stdio --no-children -i "$recording" -g none --sort dso,symbol --percent-limit 0.5 2>/dev/null |
  grep -vE '^(#|$)' | sed -E 's/( +-)+ *$//' | head -60
