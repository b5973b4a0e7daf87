#!/usr/bin/env bash
# Fetches skills that other agents ship, so that the reader of SKILL.md meets files from the wild.
# They come to tests/tools/corpora/{openclaw,hermes-agent,nanobot-ai}/ and are only ever read: nothing
# of these packages is installed or run. Needs npm, pip and tar; run it again at any time.
set -euo pipefail

openclaw=2026.9.6
hermes=0.19.0
nanobot=0.3.5
# pip would run the package's own build to look at a source archive, so this one is fetched as a file.
hermes_url=https://files.pythonhosted.org/packages/c1/2c/5eca471374c1b48555a8f0b988c06b19a93ae33a6c0e67845e47fc3a5628/hermes_agent-$hermes.tar.gz
hermes_sha256=ac986bede64a2785436676c0ea084ec586574f8cb00a9d047e095b435d3e21c0

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
corpora=$here/corpora
python=$here/.venv/bin/python
[[ -x $python ]] || python=python3
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# Every folder below $1 that has a SKILL.md, with its files, into corpora/$2 of version $3.
keep() {
  local from=$1 name=$2 version=$3 new=$corpora/$2.new file folder
  rm -rf -- "$new"
  mkdir -p -- "$new"
  while IFS= read -r -d '' file; do
    folder=${file%/SKILL.md}
    folder=${folder#"$from"/}
    mkdir -p -- "$new/$folder"
    cp -R -- "$from/$folder/." "$new/$folder/"
  done < <(find "$from" -name SKILL.md -type f -print0)
  # Read only: nothing here is executable, nothing leads elsewhere.
  find "$new" -type l -delete
  find "$new" -type f -exec chmod a-x {} +
  printf '%s\n' "$version" >"$new/.version"
  rm -rf -- "${corpora:?}/$name"
  mv -- "$new" "$corpora/$name"
}

there() {
  [[ -f $corpora/$1/.version && $(<"$corpora/$1/.version") == "$2" ]]
}

mkdir -p -- "$corpora"

if ! there openclaw "$openclaw"; then
  mkdir -- "$work/openclaw"
  (cd -- "$work" && npm pack --silent --ignore-scripts "openclaw@$openclaw" >/dev/null)
  tar -xzf "$work/openclaw-$openclaw.tgz" -C "$work/openclaw" --strip-components=1 --no-same-owner
  keep "$work/openclaw" openclaw "$openclaw"
fi

if ! there hermes-agent "$hermes"; then
  mkdir -- "$work/hermes"
  "$python" -c 'import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])' \
    "$hermes_url" "$work/hermes.tar.gz"
  printf '%s  %s\n' "$hermes_sha256" "$work/hermes.tar.gz" | sha256sum --check --quiet
  tar -xzf "$work/hermes.tar.gz" -C "$work/hermes" --strip-components=1 --no-same-owner
  keep "$work/hermes" hermes-agent "$hermes"
fi

if ! there nanobot-ai "$nanobot"; then
  mkdir -- "$work/nanobot"
  # A wheel is unpacked, never built; the one for this Python version and kind of machine need not fit ours.
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --python-version 3.12 --platform manylinux_2_17_x86_64 --dest "$work" "nanobot-ai==$nanobot"
  "$python" -m zipfile -e "$work"/nanobot_ai-"$nanobot"-*.whl "$work/nanobot"
  keep "$work/nanobot" nanobot-ai "$nanobot"
fi

for name in openclaw hermes-agent nanobot-ai; do
  printf '%-13s %-10s %4d skills\n' "$name" "$(<"$corpora/$name/.version")" \
    "$(find "$corpora/$name" -name SKILL.md -type f | wc -l)"
done
