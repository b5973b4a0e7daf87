#!/usr/bin/env bash
# The input is one JSON object on standard input; its plain values are in NEXFLOW_INPUT_* too.
set -euo pipefail

read -r -d '' -a words <<<"${NEXFLOW_INPUT_TEXT}" || true
printf '{"words": %d}\n' "${#words[@]}"
