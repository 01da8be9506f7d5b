# shellcheck shell=bash disable=SC2034,SC2153 # variables are shared between the scripts
# What deploy-all.sh, cleanup.sh and build-images.sh share: languages, contexts, asking. Sourced, never run.
# 배포 스크립트들이 함께 쓰는 것: 언어, 컨텍스트, 확인 질문.

NAMESPACE=theater-msa
PART_OF=app.kubernetes.io/part-of=theater-msa
# Whose Deployments are waited for and whose images are replaced.
SERVICES="user-service movie-service booking-service api-gateway"

# Said on the command line or not at all: what an environment happens to hold must not answer a question or choose a cluster.
YES=no
ONE_CLUSTER=no
ONLY=''

# From --lang or SMOV_LANG, else from the locale: ko, en or both.
choose_language() {
  local locale="${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}"
  case "${SMOV_LANG:-$locale}" in
    ko*) LANGUAGE=ko ;;
    en*) LANGUAGE=en ;;
    *) LANGUAGE=both ;;
  esac
}

# text KO EN [ARGUMENT…]: a printf format in both languages, with the same arguments.
# shellcheck disable=SC2059 # the formats are this file's own
text() {
  local ko="$1" en="$2"
  shift 2
  case "$LANGUAGE" in
    ko) printf -- "$ko" "$@" ;;
    en) printf -- "$en" "$@" ;;
    *) if [ "$ko" = "$en" ]; then printf -- "$en" "$@"; else printf -- "$ko" "$@" && printf ' · ' && printf -- "$en" "$@"; fi ;;
  esac
}

say() { text "$@" && printf '\n'; }

# What is done next, with the seconds since the start.
step() { printf '\n== ' && text "$@" && printf ' (%ss)\n' "$SECONDS"; }

warn() { { printf '! ' && text "$@" && printf '\n'; } >&2; }

# Ends with exit code 2: wrong usage or settings.
wrong() {
  { printf 'error: ' && text "$@" && printf '\n'; } >&2
  exit 2
}

# Asks a person; without a terminal only --yes will do.
confirm() {
  if [ "${YES:-no}" = yes ]; then return 0; fi
  if [ ! -t 0 ]; then
    wrong '확인을 받을 수 없습니다. 내용을 확인했으면 --yes를 붙이세요' 'nobody is there to ask; add --yes if the above is what you want'
  fi
  text "$@"
  local answer
  read -r -p ' [y/N] ' answer
  case "$answer" in
    y | Y | yes | YES | ㅛ | 예 | 네) return 0 ;;
    *) say '그만둡니다. 바뀐 것은 없습니다' 'stopped; nothing was changed' && exit 1 ;;
  esac
}

# kubectl on one cluster, which must answer in time: kc CONTEXT ARGUMENT…
kc() {
  local context="$1"
  shift
  kubectl --context "$context" --request-timeout=20s "$@"
}

# The address of a context's API server; empty when there is no such context.
server_of() {
  local cluster
  cluster=$(kubectl config view -o "jsonpath={.contexts[?(@.name==\"$1\")].context.cluster}" 2>/dev/null) || return 0
  [ -n "$cluster" ] || return 0
  kubectl config view -o "jsonpath={.clusters[?(@.name==\"$cluster\")].cluster.server}" 2>/dev/null || true
}

# Options that every script knows; returns 1 for one that it does not. OPTION is the word, VALUE what follows it; sets TAKEN to the words used.
common_option() {
  TAKEN=1
  case "$1" in
    -y | --yes) YES=yes ;;
    --lang=*) SMOV_LANG="${1#*=}" ;;
    --ctx1=*) CTX1="${1#*=}" ;;
    --ctx2=*) CTX2="${1#*=}" ;;
    --one-cluster) ONE_CLUSTER=yes ;;
    --lang | --ctx1 | --ctx2)
      [ $# -ge 2 ] || wrong '%s 뒤에 값이 필요합니다' '%s needs a value' "$1"
      TAKEN=2
      case "$1" in
        --lang) SMOV_LANG="$2" ;;
        --ctx1) CTX1="$2" ;;
        --ctx2) CTX2="$2" ;;
      esac
      ;;
    *) return 1 ;;
  esac
}

# The contexts in use, in the order in which they are deployed: the store's cluster first.
contexts() {
  if [ "${ONE_CLUSTER:-no}" = yes ]; then echo ctx1; return; fi
  case "${ONLY:-}" in
    '') echo 'ctx2 ctx1' ;;
    *) echo "$ONLY" ;;
  esac
}

# The kubectl context of a role: ctx1 → $CTX1.
context_of() {
  case "$1" in
    ctx1) echo "$CTX1" ;;
    ctx2) echo "$CTX2" ;;
    *) wrong '그런 클러스터는 없습니다: %s (ctx1 또는 ctx2)' 'there is no cluster %s: ctx1 or ctx2' "$1" ;;
  esac
}

# --only takes ctx1 or ctx2, nothing else.
only() {
  case "$1" in
    ctx1 | ctx2) ONLY="$1" ;;
    *) wrong '--only 뒤에는 ctx1이나 ctx2만 올 수 있습니다: %s' '--only takes ctx1 or ctx2, not %s' "${1:-''}" ;;
  esac
}

# Prints where each context leads, so that nobody deploys to the wrong cluster.
show_servers() {
  local role context server
  for role in ctx1 ctx2; do
    case " $(contexts) " in *" $role "*) ;; *) continue ;; esac
    context=$(context_of "$role")
    # An empty name would be kubectl's current context, whichever that is.
    [ -n "$context" ] || wrong '%s의 kubectl 컨텍스트 이름이 비어 있습니다' 'the kubectl context of %s is empty' "$role"
    server=$(server_of "$context")
    printf '  %s  %-12s %s\n' "$role" "$context" "${server:-?}"
  done
}

# A private folder that goes with the script.
make_workspace() {
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/smov-deploy.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
}

CTX1="${CTX1:-ctx1}"
CTX2="${CTX2:-ctx2}"
choose_language
