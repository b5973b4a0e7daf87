#!/usr/bin/env bash
# Runs one command. Its output goes out as it comes; the daemon adds the exit code.
set -u

fail() {
  printf 'shell-run: %s\n' "$1" >&2
  exit 2
}

command=${NEXFLOW_INPUT_COMMAND-}
cwd=${NEXFLOW_INPUT_CWD-}

[[ -n ${command//[[:space:]]/} ]] || fail 'the command is empty, or too long for one call'
if [[ -n $cwd ]]; then
  [[ -d $cwd ]] || fail "there is no folder \"$cwd\" here; paths are relative to the workspace"
  cd -- "$cwd" 2>/dev/null || fail "the folder \"$cwd\" cannot be entered"
fi

# The input belongs to this script, not to the command: it gets neither the variables nor the JSON.
unset "${!NEXFLOW_INPUT_@}"
exec bash -c "$command" </dev/null
