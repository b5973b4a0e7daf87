#!/usr/bin/env bash
# Writes one file below the workspace.
set -euo pipefail
export LC_ALL=C # lengths are bytes
umask 022

# A text as a JSON string.
quoted() {
  local text=$1 code char
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  for code in {1..31} 127; do
    printf -v char '\\x%02x' "$code"
    printf -v char '%b' "$char"
    [[ $text == *"$char"* ]] || continue
    printf -v code '\\u%04x' "$code"
    text=${text//"$char"/"$code"}
  done
  printf '"%s"' "$text"
}

fail() {
  printf '{"error":%s}\n' "$(quoted "$1")"
  exit 1
}

# Runs a command; its complaint becomes ours.
try() {
  local said
  said=$("$@" 2>&1) || fail "$path: ${said:-$1 failed}"
}

path=${NEXFLOW_INPUT_PATH:-}
mode=${NEXFLOW_INPUT_MODE:-create}
[[ -n $path ]] || fail 'path is missing'
[[ -n ${NEXFLOW_INPUT_CONTENT+there} ]] || fail 'content is missing, too long for one call, or holds a NUL character'
content=$NEXFLOW_INPUT_CONTENT
[[ $path != */ ]] || fail "$path names a folder, not a file"

# The x keeps line breaks at the end of a name.
root=$(realpath -e -- "${NEXFLOW_WORKSPACE:-$PWD}" && printf x)
root=${root%$'\n'x}
cd -- "$root"
target=$(realpath -m -- "$path" 2>/dev/null && printf x) || fail "$path cannot be resolved"
target=${target%$'\n'x}
[[ $target == "${root%/}"/* ]] || fail "$path is outside the workspace"
[[ ! -d $target ]] || fail "$path is a folder"
[[ ! -e $target || -f $target ]] || fail "$path is not an ordinary file"

folder=${target%/*}
try mkdir -p -- "$folder"
created=true
[[ ! -e $target ]] || created=false

# The text in a file of its own beside the target.
prepare() {
  new=$(mktemp -- "$folder/.file-write.XXXXXXXX" 2>&1) || fail "$path: $new"
  trap 'rm -f -- "$new"' EXIT
  { printf '%s' "$content" >"$new"; } 2>/dev/null || fail "$path: no room, or the file is too large"
}

case $mode in
  create)
    [[ $created == true ]] || fail "$path exists; use mode overwrite or append"
    prepare
    try chmod 644 -- "$new"
    # Unlike a rename this never replaces what somebody else made meanwhile.
    try ln -T -- "$new" "$target"
    ;;
  overwrite)
    prepare
    if [[ $created == true ]]; then
      try chmod 644 -- "$new"
    else
      try chmod --reference="$target" -- "$new"
    fi
    try mv -fT -- "$new" "$target"
    ;;
  append)
    { printf '%s' "$content" >>"$target"; } 2>/dev/null || fail "$path: cannot be written, or there is no room"
    ;;
  *) fail "mode \"$mode\" is none of create, overwrite, append" ;;
esac

size=$(stat -c %s -- "$target")
printf '{"path":%s,"mode":"%s","bytes":%d,"size":%d,"created":%s}\n' \
  "$(quoted "${target#"${root%/}/"}")" "$mode" "${#content}" "$size" "$created"
