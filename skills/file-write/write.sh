#!/usr/bin/env bash
# Writes one file of the workspace.
set -u
# Bytes, not characters: lengths and patterns must not depend on a locale.
LC_ALL=C

# The text as a JSON string; there are no control characters in it.
quote() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

fail() {
  printf '{"error":%s}\n' "$(quote "$1")"
  exit 1
}

path=${NEXFLOW_INPUT_PATH-}
mode=${NEXFLOW_INPUT_MODE-replace}
encoding=${NEXFLOW_INPUT_ENCODING-text}

[[ $path == *[![:space:]]* ]] || fail 'the path is empty'
[[ $path != *[[:cntrl:]]* ]] || fail 'the path holds a control character'
[[ $path != */ ]] || fail 'the path ends in /; it must name a file'
# A variable cannot be longer than that, and holds no NUL.
[[ -n ${NEXFLOW_INPUT_CONTENT+set} ]] ||
  fail 'the content is longer than 120 kB, or holds a NUL: write it in parts with mode append, or as base64'

root=$(realpath -e -- "${NEXFLOW_WORKSPACE:-.}") || fail 'there is no workspace'
cd -- "$root" || fail 'the workspace cannot be entered'
target=$(realpath -m -- "$path" 2>/dev/null) || fail "\"$path\" is not a path"
[[ $target == "$root"/* ]] || fail "\"$path\" is outside of the workspace; only files in it can be written"
shown=${target#"$root"/}

[[ ! -d $target ]] || fail "\"$shown\" is a folder"
created=false
if [[ ! -e $target ]]; then
  created=true
elif [[ $mode == create ]]; then
  fail "\"$shown\" is there already; use mode replace or append"
elif [[ ! -f $target ]]; then
  fail "\"$shown\" is no regular file"
fi

folder=${target%/*}
mkdir -p -- "$folder" 2>/dev/null || fail "the folder \"${folder#"$root"/}\" cannot be made"
part=$(mktemp -- "$folder/.nexflow-XXXXXXXX" 2>/dev/null) || fail 'the folder cannot be written'
trap 'rm -f -- "$part"' EXIT

if [[ $mode == append && $created == false ]]; then
  cat -- "$target" >"$part" || fail 'the file cannot be read, or the disk is full'
fi
if [[ $encoding == base64 ]]; then
  printf '%s' "$NEXFLOW_INPUT_CONTENT" | base64 -di >>"$part" 2>/dev/null ||
    fail 'the content is not base64, or the disk is full'
else
  printf '%s' "$NEXFLOW_INPUT_CONTENT" 2>/dev/null >>"$part" || fail 'the disk is full'
fi

if [[ $created == true ]]; then
  chmod 644 -- "$part"
else
  chmod --reference="$target" -- "$part"
fi
size=$(stat -c %s -- "$part")
if [[ $mode == create ]]; then
  # Fails where another one was quicker.
  ln -T -- "$part" "$target" 2>/dev/null || fail "\"$shown\" is there already; use mode replace or append"
else
  mv -fT -- "$part" "$target" 2>/dev/null || fail "\"$shown\" cannot be replaced"
fi
printf '{"path":%s,"size":%s,"created":%s}\n' "$(quote "$shown")" "$size" "$created"
