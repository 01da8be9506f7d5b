#!/usr/bin/env bash
# The theatre onto two Kubernetes clusters with Istio, or onto one: checks, applies, waits, and verifies by real requests.
# 극장 예매 서비스를 Istio가 설치된 Kubernetes 클러스터 두 개(또는 하나)에 배포합니다. docs/guide/kubernetes.md
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/common.sh
. "$ROOT/scripts/common.sh"
# shellcheck source=scripts/checks.sh
. "$ROOT/scripts/checks.sh"
# shellcheck source=scripts/apply.sh
. "$ROOT/scripts/apply.sh"
# shellcheck source=scripts/verify.sh
. "$ROOT/scripts/verify.sh"

usage() {
  cat <<'HELP'
deploy-all.sh [OPTION…]       the theatre onto ctx1 and ctx2 · 극장을 ctx1과 ctx2에 배포

  --check               only check what must be there · 배포 조건만 확인
  --dry-run             only show what would change · 무엇이 바뀌는지만 보기
  -y, --yes             do not ask · 묻지 않고 진행
  --one-cluster         both subsets in the cluster of --ctx1 · 클러스터 하나에 모두
  --ctx1 NAME, --ctx2 NAME        kubectl contexts (CTX1, CTX2) · kubectl 컨텍스트
  --domain NAME         host name of the page (DOMAIN); without it, any · 페이지의 호스트 이름
  --registry NAME       where the images are (REGISTRY) · 이미지 레지스트리
  --tag TAG             their tag, v1 without it (TAG) · 이미지 태그
  --gateway [NS/]NAME   the Istio Gateway (GATEWAY), istio-system/cp-gateway without it · 사용할 Gateway
  --console-write       the page may change rules · 페이지에서 규칙 변경 허용
  --with-observability  Prometheus, Grafana, Jaeger, Zipkin and a Telemetry · 관측 도구도 함께
  --ui-files            the page's files as ConfigMap ui-files · 페이지 파일을 ConfigMap으로
  --lang ko|en          language (SMOV_LANG), else from the locale · 메시지 언어

Environment only · 환경 변수로만: GATEWAY_SELECTOR (istio=ingressgateway), GATEWAY_URL, CTX2_SERVER (the address at which
pods of ctx1 reach the API server of ctx2), REVISION (istio.io/rev), WAIT (180s)
Exit codes · 종료 코드: 0 done · 1 a check or the verification failed, or you said no · 2 wrong usage
HELP
}

MODE=deploy
DOMAIN="${DOMAIN:-}"
REGISTRY="${REGISTRY:-}"
TAG="${TAG:-}"
GATEWAY="${GATEWAY:-istio-system/cp-gateway}"
GATEWAY_SELECTOR="${GATEWAY_SELECTOR:-istio=ingressgateway}"
CONSOLE_WRITE=no
UI_FILES=no
WITH_OBSERVABILITY=no
WAIT="${WAIT:-180s}"

while [ $# -gt 0 ]; do
  if common_option "$@"; then
    shift "$TAKEN"
    continue
  fi
  option="$1"
  case "$option" in
    --domain | --registry | --tag | --gateway | --only)
      [ $# -ge 2 ] || wrong '%s 뒤에 값이 필요합니다' '%s needs a value' "$option"
      value="$2"
      shift
      ;;
    *=*) value="${option#*=}" option="${option%%=*}" ;;
  esac
  case "$option" in
    --check) MODE=check ;;
    --dry-run) MODE=dry-run ;;
    --domain) DOMAIN="$value" ;;
    --registry) REGISTRY="${value%/}" ;;
    --tag) TAG="$value" ;;
    --gateway) GATEWAY="$value" ;;
    --only) only "$value" ;;
    --console-write) CONSOLE_WRITE=yes ;;
    --ui-files) UI_FILES=yes ;;
    --with-observability) WITH_OBSERVABILITY=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && wrong '모르는 옵션입니다: %s' 'unknown option: %s' "$1" ;;
  esac
  shift
done
choose_language
case "$GATEWAY" in */*) ;; *) GATEWAY="istio-system/$GATEWAY" ;; esac
for value in "$DOMAIN" "$REGISTRY" "$TAG" "$GATEWAY" "$GATEWAY_SELECTOR"; do
  case "$value" in
    *[!A-Za-z0-9._:/=@-]*) wrong '쓸 수 없는 글자가 있습니다: %s' 'this holds characters that cannot be used: %s' "$value" ;;
  esac
done
make_workspace

say '배포할 곳:' 'where to:'
show_servers
step '확인' 'checks'
run_checks
if [ "$FAILURES" -gt 0 ]; then
  step '문제 %s개: 해결한 뒤 다시 실행하세요. 바뀐 것은 없습니다' '%s problem(s): mend them and run this again; nothing was changed' "$FAILURES"
  exit 1
fi
if [ "$MODE" = check ]; then
  step '배포할 준비가 되었습니다' 'ready to deploy'
  exit 0
fi

for role in $(contexts); do render "$role"; done
if [ "$MODE" = dry-run ]; then
  for role in $(contexts); do preview "$role"; done
  step '여기까지 미리 보기입니다. 바뀐 것은 없습니다' 'that was a preview; nothing was changed'
  exit 0
fi
echo
confirm '위의 클러스터에 배포할까요?' 'deploy to the clusters above?'

for role in $(contexts); do remember "$role" before; done
for role in $(contexts); do
  if [ "$role" = ctx1 ] && [ "${ONE_CLUSTER:-no}" != yes ]; then let_ctx1_read_ctx2; fi
  step '%s에 적용' 'applying to %s' "$role"
  apply "$role"
done
step '파드가 준비될 때까지 기다림' 'waiting for the pods'
wait_for_pods
for role in $(contexts); do remember "$role" after; done
if [ "${ONLY:-ctx1}" = ctx1 ]; then
  step '게이트웨이로 실제 요청을 보내 확인: %s' 'verifying by real requests through the gateway: %s' "$GATEWAY_URL"
  verify
fi
step '결과' 'result'
report_changes
if [ "${ONLY:-ctx1}" = ctx1 ]; then say '페이지: %s' 'the page: %s' "$(page_url)"; fi
