#!/usr/bin/env bash
# Takes out everything that deploy-all.sh (or kubectl apply -k k8s/overlays/…) brought, and looks whether anything is left.
# 배포한 것을 모두 지우고, 남은 것이 없는지 확인합니다.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$ROOT/scripts/common.sh"

usage() {
  cat <<'HELP'
cleanup.sh [OPTION…]          takes the theatre out of ctx1 and ctx2 · ctx1과 ctx2에서 극장을 지움

  -y, --yes             do not ask · 묻지 않고 진행
  --one-cluster         only the cluster of --ctx1 · 클러스터 하나만
  --ctx1 NAME, --ctx2 NAME        kubectl contexts (CTX1, CTX2) · kubectl 컨텍스트
  --lang ko|en          language (SMOV_LANG), else from the locale · 메시지 언어

The data of the theatre (volume redis-data) goes, too. Istio, its gateway and remote secrets stay.
극장의 데이터(볼륨 redis-data)도 지워집니다. Istio, 게이트웨이, 원격 시크릿은 그대로 둡니다.
Exit codes · 종료 코드: 0 nothing is left · 1 something is, or you said no · 2 wrong usage
HELP
}

while [ $# -gt 0 ]; do
  if common_option "$@"; then
    shift "$TAKEN"
    continue
  fi
  case "$1" in
    --only) only "${2:-}" && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && wrong '모르는 옵션입니다: %s' 'unknown option: %s' "$1" ;;
  esac
  shift
done
choose_language

# What lies outside the namespace, by kind and name: ours by label, or by a name that k8s/ gives.
outside() {
  local context="$1" kind
  for kind in clusterroles.rbac.authorization.k8s.io clusterrolebindings.rbac.authorization.k8s.io; do
    kc "$context" get "$kind" -l 'app=theater-msa' -o 'jsonpath={range .items[*]}'"$kind"'/{.metadata.name}{"\n"}{end}' 2>/dev/null || true
  done
  # What --with-observability brought.
  for kind in deployments.apps services configmaps serviceaccounts; do
    kc "$context" -n istio-system get "$kind" -l "$PART_OF" -o 'jsonpath={range .items[*]}-n istio-system '"$kind"'/{.metadata.name}{"\n"}{end}' 2>/dev/null || true
  done
  for kind in virtualservices.networking.istio.io gateways.networking.istio.io; do
    kc "$context" get "$kind" -A -l "$PART_OF" -o 'jsonpath={range .items[?(@.metadata.namespace!="'"$NAMESPACE"'")]}-n {.metadata.namespace} '"$kind"'/{.metadata.name}{"\n"}{end}' 2>/dev/null || true
  done
}

say '지울 곳:' 'where from:'
show_servers
unreachable=''
for role in $(contexts); do
  context=$(context_of "$role")
  if ! kubectl --context "$context" --request-timeout=5s get --raw /version >/dev/null 2>&1; then
    unreachable="$unreachable $role"
    continue
  fi
  step '%s에 있는 것' 'what %s has' "$role"
  kc "$context" get namespace "$NAMESPACE" -o name --ignore-not-found | sed 's/^/  /'
  kc "$context" -n "$NAMESPACE" get deployments,services,persistentvolumeclaims -o name 2>/dev/null | sed 's/^/    /' || true
  outside "$context" | sed 's/^/  /'
done
if [ -n "$unreachable" ]; then
  wrong '응답하지 않는 클러스터:%s. 아무것도 지우지 않았습니다' 'these clusters do not answer:%s; nothing was deleted' "$unreachable"
fi
echo
confirm '네임스페이스 %s와 그 안의 모든 것(데이터 포함)을 지울까요?' 'delete namespace %s with everything in it, data included?' "$NAMESPACE"

for role in $(contexts); do
  context=$(context_of "$role")
  step '%s에서 지우는 중' 'deleting from %s' "$role"
  outside "$context" | while read -r line; do
    # shellcheck disable=SC2086 # a line is the words of a command
    kc "$context" delete --ignore-not-found $line | sed 's/^/  /'
  done
  kc "$context" delete namespace "$NAMESPACE" --ignore-not-found --wait=false | sed 's/^/  /'
done
left=0
for role in $(contexts); do
  context=$(context_of "$role")
  if kc "$context" get namespace "$NAMESPACE" >/dev/null 2>&1; then
    kubectl --context "$context" wait --for=delete "namespace/$NAMESPACE" --timeout="${WAIT:-180s}" >/dev/null 2>&1 || true
  fi
  rest=$(
    kc "$context" get namespace "$NAMESPACE" --ignore-not-found -o name
    kc "$context" -n "$NAMESPACE" get all,configmaps,secrets,serviceaccounts,persistentvolumeclaims,virtualservices,destinationrules -o name 2>/dev/null || true
    outside "$context"
  )
  if [ -n "$rest" ]; then
    left=1
    printf '  ✗ %-5s' "$role" && say '남은 것: %s' 'left: %s' "$(echo "$rest" | tr '\n' ' ')"
  else
    printf '  ✓ %-5s' "$role" && say '남은 것이 없습니다' 'nothing is left'
  fi
done
exit "$left"
