# shellcheck shell=bash disable=SC2034,SC2153 # variables are shared between the scripts
# The deployment as a visitor meets it: real requests through the gateway, and what their answers say. Sourced by deploy-all.sh.
# 게이트웨이로 실제 요청을 보내고, 응답 헤더로 확인합니다.

# How long the mesh may take to know all pods.
VERIFY_SECONDS="${VERIFY_SECONDS:-60}"

page_url() { if [ -n "$DOMAIN" ]; then echo "http://$DOMAIN/"; else echo "$GATEWAY_URL/"; fi; }

# request PATH [CURL-OPTION…]: straight to the gateway, whatever DNS says of the domain.
request() {
  local path="$1"
  shift
  curl --noproxy '*' -sS --max-time 10 ${DOMAIN:+-H "Host: $DOMAIN"} "$@" "$GATEWAY_URL$path"
}

# Tries until it holds: eventually WHAT COMMAND…; the last answer is shown when it never does.
eventually() {
  local what="$1" end=$((SECONDS + VERIFY_SECONDS))
  shift
  until "$@" 2>"$WORK/verify.error"; do
    if [ "$SECONDS" -ge "$end" ]; then
      { printf '  ✗ %s\n' "$what" && sed 's/^/    /' "$WORK/verify.error"; } >&2
      wrong '배포는 되었지만 요청이 되지 않습니다' 'everything is deployed, but requests do not work'
    fi
    sleep 0.2
  done
  printf '  ✓ %s%s\n' "$what" "${FOUND:+: $FOUND}"
}

the_page_answers() {
  FOUND=''
  request / -o "$WORK/page" -w '%{http_code}' >"$WORK/code" || return 1
  [ "$(cat "$WORK/code")" = 200 ] || { echo "$(cat "$WORK/code") $(head -c 300 "$WORK/page")" >&2 && return 1; }
}

# 40 requests in one connection: all 200, and both clusters among the pods that answered (by chance never seen: 1 in a million).
both_clusters_answer() {
  local path="$1" ok one two
  request "$path?n=[1-40]" -o /dev/null -D "$WORK/heads" || return 1
  ok=$(grep -c '^HTTP/[0-9.]* 200' "$WORK/heads" || true)
  one=$(grep -ic '^x-service-cluster: ctx1' "$WORK/heads" || true)
  two=$(grep -ic '^x-service-cluster: ctx2' "$WORK/heads" || true)
  FOUND="ctx1 $one, ctx2 $two"
  if [ "$ok" -ne 40 ] || [ "$one" -eq 0 ] || [ "$two" -eq 0 ]; then
    echo "200: $ok/40, $FOUND" >&2 && return 1
  fi
}

# The page's own knowledge: the configured split from the live VirtualService, and the pods of both clusters.
the_page_knows() {
  local weights
  weights=$(request /traffic-weights) || return 1
  FOUND=$(echo "$weights" | tr -d '{}" ' | sed 's/Service//g; s/Weight//g; s/,/ /g')
  case "$weights" in *'"UserServiceCtx1Weight"'*) ;; *) echo "$weights" >&2 && return 1 ;; esac
}

the_page_sees_both_clusters() {
  local answer
  FOUND=''
  answer=$(request /deployment-status) || return 1
  case "$answer" in *user-service-ctx1*user-service-ctx2* | *user-service-ctx2*user-service-ctx1*) ;; *) echo "$answer" | head -c 600 >&2 && return 1 ;; esac
}

verify() {
  eventually "GET /" the_page_answers
  eventually "GET /users/ × 40" both_clusters_answer /users/
  eventually "GET /movies/ × 40" both_clusters_answer /movies/
  eventually "GET /bookings/ × 40" both_clusters_answer /bookings/
  eventually "GET /traffic-weights" the_page_knows
  eventually "GET /deployment-status" the_page_sees_both_clusters
}
