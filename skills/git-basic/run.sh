#!/usr/bin/env bash
# Git without the parts that start other programs: hooks, pagers, editors, helpers, other transports.
set -euo pipefail

fail() {
  printf 'git-basic: %s\n' "$1" >&2
  exit 2
}

# An input, empty if absent.
input() {
  local name=NEXFLOW_INPUT_${1^^}
  printf '%s' "${!name:-}"
}

# A path below the workspace, as the real one, in `found`. The x keeps line breaks at the end.
inside() {
  found=$(realpath -m -- "$1" 2>/dev/null && printf x) || fail "$1 cannot be resolved"
  found=${found%$'\n'x}
  [[ $found == "$root" || $found == "${root%/}"/* ]] || fail "$1 is outside the workspace"
}

# A value that git could take for an option, or that is no name.
name() {
  [[ $2 != -* && $2 != *[[:cntrl:]]* ]] || fail "$1 \"$2\" is not possible"
}

token=${GIT_TOKEN:-}
token_hosts=${NEXFLOW_SECRET_HOSTS_GIT_TOKEN:-}
root=$(realpath -e -- "${NEXFLOW_WORKSPACE:-$PWD}" && printf x)
root=${root%$'\n'x}
cd -- "$root"

while IFS= read -r variable; do
  [[ $variable == GIT_SSL_CAINFO ]] || unset "$variable"
done < <(compgen -v GIT_)
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
export GIT_TERMINAL_PROMPT=0 GIT_ASKPASS='' SSH_ASKPASS='' GIT_EDITOR=true GIT_PAGER=cat
export GIT_ALLOW_PROTOCOL=https:http:file GIT_LITERAL_PATHSPECS=1 GIT_OPTIONAL_LOCKS=0
export GIT_CEILING_DIRECTORIES=${root%/*}
# The proxy is known to git by its names in lower case.
export http_proxy=${http_proxy:-${HTTP_PROXY:-}} https_proxy=${https_proxy:-${HTTPS_PROXY:-}}

git() {
  command git --no-pager -c safe.directory='*' -c core.hooksPath=/dev/null -c core.fsmonitor=false \
    -c core.sshCommand=false -c core.askPass= -c credential.helper= -c core.attributesFile=/dev/null \
    -c protocol.ext.allow=never -c submodule.recurse=false -c commit.gpgSign=false \
    -c push.gpgSign=false -c log.showSignature=false -c gc.auto=0 -c maintenance.auto=false -c core.quotePath=false \
    -c color.ui=false -c advice.detachedHead=false -c init.defaultBranch=main "$@" </dev/null
}

# Addresses on the web, or folders of the workspace.
remote() {
  name url "$1"
  case $1 in
    https://* | http://*) ;;
    *://* | *::* | *@*:*) fail "url $1: only https:// and http:// are possible" ;;
    *) inside "$1" ;;
  esac
}

# Shows the token to this https server, if it is one that the token is for, and the address holds no
# login of its own. Nothing of it is written to the settings of a repository.
sign_in() {
  local server=${1#https://}
  server=${server%%[/?#]*}
  [[ -n $token && $1 == https://* && $server != *@* ]] || return 0
  if [[ " $token_hosts " != *" ${server%:*} "* ]]; then
    echo "git-basic: GIT_TOKEN is for ${token_hosts:-no server that is named (grant secret:GIT_TOKEN@HOST)} and was not shown to $server" >&2
    return 0
  fi
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="http.https://$server/.extraHeader"
  GIT_CONFIG_VALUE_0="Authorization: Basic $(printf 'x-access-token:%s' "$token" | base64 | tr -d '\n')"
  export GIT_CONFIG_VALUE_0
}

# A repository that is in the workspace, whose settings start nothing.
repository() {
  local top dir programs
  [[ -d $repo ]] || fail "repo \"$given\" is not a folder of the workspace"
  cd -- "$repo"
  dir=$(git rev-parse --absolute-git-dir 2>/dev/null) || fail "\"$given\" is not a git repository"
  inside "$dir"
  inside "$(git rev-parse --path-format=absolute --git-common-dir)"
  top=$(git rev-parse --show-toplevel 2>/dev/null) || top=$dir
  inside "$top"
  programs='^(filter\..*\.(clean|smudge|process)|diff\.external|diff\..*\.(command|textconv)|merge\..*\.driver'
  programs+='|remote\..*\.(vcs|uploadpack|receivepack|proxy)|credential\..*helper|core\.(gitproxy|alternaterefscommand)'
  programs+='|gpg\..*program|hook\..*|url\..*|https?\..*(proxy|sslcert|sslkey|cookiefile).*|uploadpack\.packobjectshook'
  programs+='|trailer\..*\.(command|cmd)|extensions\.partialclone|include\.path|includeif\..*)$'
  # Without our own settings; those of the repository, of its worktree and what they include.
  programs=$(command git -c safe.directory='*' config --name-only --get-regexp "$programs") || {
    (($? == 1)) || fail "the settings of \"$given\" cannot be read"
    return 0
  }
  fail "the settings of \"$given\" are not safe to use here: ${programs//$'\n'/, } (in .git/config)"
}

# The input `paths`, one a line, in the array of that name.
lines() {
  paths=()
  local all
  all=$(input paths)
  [[ -z $all ]] || mapfile -t paths <<<"$all"
}

identity() {
  local author mail=nexflow@localhost who=Nexflow
  author=$(input author)
  if [[ -n $author ]]; then
    [[ $author =~ ^([^\<\>]*[^\<\> ])\ *\<([^\<\> ]+)\>$ ]] || fail "author must be written: Name <mail>"
    who=${BASH_REMATCH[1]} mail=${BASH_REMATCH[2]}
  else
    who=$(git config user.name || printf '%s' "$who")
    mail=$(git config user.email || printf '%s' "$mail")
  fi
  export GIT_AUTHOR_NAME=$who GIT_AUTHOR_EMAIL=$mail GIT_COMMITTER_NAME=$who GIT_COMMITTER_EMAIL=$mail
}

action=$(input action)
url=$(input url)
branch=$(input branch)
ref=$(input ref)
given=$(input repo && printf x)
given=${given%x}
if [[ -n $branch ]]; then
  name branch "$branch"
  command git check-ref-format "refs/heads/$branch" || fail "branch \"$branch\" is not possible"
fi
[[ -z $ref ]] || name ref "$ref"
if [[ $action == clone && -z $given ]]; then
  given=${url%/}
  given=${given##*[/:]}
  given=${given%.git}
fi
: "${given:=.}"
inside "$given"
repo=$found

case $action in
  clone)
    [[ -n $url ]] || fail 'clone needs a url'
    remote "$url"
    depth=$(input depth)
    set -- --no-recurse-submodules
    [[ -z $depth ]] || set -- "$@" --depth "$depth" --no-single-branch
    [[ -z $branch ]] || set -- "$@" --branch "$branch"
    sign_in "$url"
    git clone "$@" -- "$url" "$repo"
    ;;
  init)
    set --
    [[ -z $branch ]] || set -- --initial-branch "$branch"
    git init --template= "$@" -- "$repo"
    ;;
  status)
    repository
    git status --short --branch --ignore-submodules
    ;;
  add)
    repository
    lines
    if ((${#paths[@]})); then git add -- "${paths[@]}"; else git add --all; fi
    git status --short --ignore-submodules
    ;;
  commit)
    repository
    message=$(input message)
    [[ -n ${message//[[:space:]]/} ]] || fail 'commit needs a message'
    identity
    git commit --no-verify --quiet --cleanup=whitespace --message="$message"
    git log -1 --stat --no-ext-diff --no-textconv --format='%h %s'
    ;;
  push)
    # A folder is meant from the workspace, as everywhere.
    if [[ -n $url ]]; then
      remote "$url"
      [[ $url == http*://* ]] || url=$found
    fi
    repository
    : "${branch:=$(git symbolic-ref --quiet --short HEAD || true)}"
    [[ -n $branch ]] || fail 'no branch is checked out; say which one to push'
    if [[ -z $url ]]; then
      url=origin
      address=$(git remote get-url --push origin 2>/dev/null) || fail 'there is no remote origin; say to which url'
      remote "$address"
    fi
    sign_in "${address:-$url}"
    git push --no-verify --porcelain --recurse-submodules=no -- "$url" "refs/heads/$branch:refs/heads/$branch"
    ;;
  log)
    repository
    lines
    limit=$(input limit)
    git log --no-ext-diff --no-textconv --max-count="${limit:-20}" --date=iso-strict \
      --format='%h %ad %an <%ae>%d%n    %s' ${ref:+"$ref"} -- "${paths[@]}"
    ;;
  diff)
    repository
    lines
    set --
    [[ $(input staged) != true ]] || set -- --cached
    git diff --no-ext-diff --no-textconv --ignore-submodules --stat --patch "$@" ${ref:+"$ref"} -- "${paths[@]}"
    ;;
  *) fail "action \"$action\" is none of clone, init, status, add, commit, push, log, diff" ;;
esac
