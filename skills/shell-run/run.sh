#!/usr/bin/env bash
# Becomes the command: its exit code and its output are the result.
set -euo pipefail

fail() {
  printf 'shell-run: %s\n' "$1" >&2
  exit 2
}

[[ -n ${NEXFLOW_INPUT_COMMAND:-} ]] || fail 'command is missing'
cwd=${NEXFLOW_INPUT_CWD:-.}

# The x keeps line breaks at the end of a name.
root=$(realpath -e -- "${NEXFLOW_WORKSPACE:-$PWD}" && printf x)
root=${root%$'\n'x}
cd -- "$root"
target=$(realpath -m -- "$cwd" && printf x)
target=${target%$'\n'x}
[[ $target == "$root" || $target == "${root%/}"/* ]] || fail "cwd \"$cwd\" is outside the workspace"
[[ -d $target ]] || fail "cwd \"$cwd\" is not a folder of the workspace"
cd -- "$target"

command=$NEXFLOW_INPUT_COMMAND
# What comes from the model is no part of the command's own environment.
unset "${!NEXFLOW_INPUT_@}"
exec bash -c "$command" </dev/null
