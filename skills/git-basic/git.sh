#!/usr/bin/env bash
# One git action on a repository of the workspace.
set -u

fail() {
  printf 'git-basic: %s\n' "$1" >&2
  exit 2
}

action=${NEXFLOW_INPUT_ACTION-}
repo=${NEXFLOW_INPUT_REPO-}
url=${NEXFLOW_INPUT_URL-}
path=${NEXFLOW_INPUT_PATH-}
message=${NEXFLOW_INPUT_MESSAGE-}
author=${NEXFLOW_INPUT_AUTHOR-}
remote=${NEXFLOW_INPUT_REMOTE-origin}
ref=${NEXFLOW_INPUT_REF-}
staged=${NEXFLOW_INPUT_STAGED-false}
limit=${NEXFLOW_INPUT_LIMIT-}

root=$(realpath -e -- "${NEXFLOW_WORKSPACE:-.}") || fail 'there is no workspace'
cd -- "$root" || fail 'the workspace cannot be entered'

# Nothing of a machine's or a person's configuration, and nothing that would start another program or
# wait for an answer. A repository's own configuration cannot undo what is given on the command line.
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
export GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false SSH_ASKPASS=false GIT_EDITOR=false GIT_PAGER=cat
export GIT_ALLOW_PROTOCOL=https:http:file GIT_OPTIONAL_LOCKS=0 GIT_LFS_SKIP_SMUDGE=1
# A repository that this user does not own is still one of this workspace, and nothing above is looked at.
export GIT_CEILING_DIRECTORIES=${root%/*}
safe=(-c safe.directory='*' -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.sshCommand=false
  -c core.gitProxy=false -c core.alternateRefsCommand= -c credential.helper= -c commit.gpgSign=false
  -c tag.gpgSign=false -c push.gpgSign=false -c log.showSignature=false -c gc.auto=0
  -c maintenance.auto=false -c submodule.recurse=false -c push.recurseSubmodules=no -c uploadpack.packObjectsHook=
  -c diff.external= -c color.ui=false -c core.quotePath=false -c advice.detachedHead=false -c init.defaultBranch=main)

git() {
  command git "${safe[@]}" "$@" </dev/null
}

# The path of something in the workspace, whether it is there or not.
inside() {
  local real
  real=$(realpath -m -- "$1" 2>/dev/null) || return 1
  [[ $real == "$root" || $real == "$root"/* ]] || return 1
  printf '%s' "$real"
}

# A name that git could take for an option is no name.
plain() {
  [[ $1 != -* && $1 != *[[:cntrl:]]* ]] || fail "\"$1\" is not a $2"
}

enter() {
  local folder
  folder=$(inside "${repo:-.}") || fail "\"$repo\" is outside of the workspace"
  [[ -d $folder ]] || fail "there is no folder \"$repo\" in the workspace"
  cd -- "$folder" || fail "the folder \"$repo\" cannot be entered"
  git rev-parse --git-dir >/dev/null 2>&1 ||
    fail "there is no repository in \"${repo:-.}\"; clone one, or use init"
}

clone() {
  local target from=$url
  [[ -n $url ]] || fail 'clone needs a url'
  plain "$url" URL
  case $url in
    https://*@* | http://*@*) fail 'a URL holds no user and password' ;;
    https://* | http://*) ;;
    *://* | *::*) fail "\"$url\": only https://, http:// and paths in the workspace can be cloned" ;;
    *) from=$(inside "$url") && [[ -e $from ]] || fail "\"$url\" is neither a web address nor a path in the workspace" ;;
  esac
  if [[ -z $repo ]]; then
    repo=${url%/}
    repo=${repo##*/}
    repo=${repo%.git}
  fi
  plain "$repo" folder
  target=$(inside "${repo:-repository}") || fail "\"$repo\" is outside of the workspace"
  [[ ! -e $target || -z $(ls -A -- "$target" 2>/dev/null) ]] || fail "\"$repo\" is there already"
  local options=(--no-recurse-submodules --template= --no-hardlinks)
  [[ -z $limit ]] || options+=(--depth "$limit")
  if [[ -n $ref ]]; then
    plain "$ref" branch
    options+=(--branch "$ref")
  fi
  git clone "${options[@]}" -- "$from" "$target" && echo "cloned into ${target#"$root"/}"
}

init() {
  local target
  target=$(inside "${repo:-.}") || fail "\"$repo\" is outside of the workspace"
  git init --template= -- "$target"
}

add() {
  enter
  if [[ -z $path ]]; then
    git add --all
  else
    git --literal-pathspecs add --all -- "$path"
  fi && git status --short
}

commit() {
  enter
  [[ $message == *[![:space:]]* ]] || fail 'commit needs a message'
  local name mail
  name=$(git config user.name) || name=Nexflow
  mail=$(git config user.email) || mail=nexflow@localhost
  if [[ -n $author ]]; then
    [[ $author =~ ^([^\<\>[:cntrl:]]+)\ \<([^\<\>[:space:]]+)\>$ ]] || fail "\"$author\" is not an author; write Name <mail>"
    name=${BASH_REMATCH[1]} mail=${BASH_REMATCH[2]}
  fi
  git -c user.name="$name" -c user.email="$mail" commit --no-verify --message "$message"
}

push() {
  enter
  plain "$remote" remote
  plain "$ref" branch
  git remote get-url -- "$remote" >/dev/null 2>&1 || fail "the repository knows no remote \"$remote\""
  if [[ -z $ref ]]; then
    ref=$(git symbolic-ref --quiet --short HEAD) || fail 'no branch is checked out; say which ref to push'
  fi
  [[ $ref != +* && $ref != *:* ]] || fail "\"$ref\" is not a branch"
  git push --no-verify --set-upstream -- "$remote" "$ref"
}

log() {
  enter
  plain "$ref" range
  local options=(--max-count "${limit:-20}" --date=iso-strict --no-ext-diff --no-textconv
    --format='%h %ad %an%d%n    %s')
  git rev-parse --verify --quiet "${ref:-HEAD}" >/dev/null || [[ -n $ref ]] || {
    echo 'no commits yet'
    return 0
  }
  git --literal-pathspecs log "${options[@]}" ${ref:+"$ref"} -- ${path:+"$path"}
}

diff() {
  enter
  plain "$ref" range
  local options=(--no-ext-diff --no-textconv --stat --patch)
  [[ $staged != true ]] || options+=(--cached)
  git --literal-pathspecs diff "${options[@]}" ${ref:+"$ref"} -- ${path:+"$path"}
}

case $action in
  clone | init | add | commit | push | log | diff) "$action" ;;
  status)
    enter
    git status --short --branch
    ;;
  *) fail "there is no action \"$action\"" ;;
esac
