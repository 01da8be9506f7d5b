# shellcheck shell=bash disable=SC2034,SC2153 # variables are shared between the scripts
# From k8s/ to objects in a cluster. Sourced by deploy-all.sh and cleanup.sh.
# k8s/의 매니페스트를 클러스터의 객체로 만듭니다.

# What is sent to a cluster: the overlay with this deployment's registry, tag, domain and gateway, as $WORK/ROLE.yaml.
render() {
  local role="$1" overlay service
  [ -d "$WORK/k8s" ] || cp -R "$ROOT/k8s" "$WORK/k8s"
  overlay="two-clusters/$role"
  if [ "${ONE_CLUSTER:-no}" = yes ]; then overlay=one-cluster; fi
  mkdir -p "$WORK/$role"
  {
    printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - ../k8s/overlays/%s\n' "$overlay"
    if [ "$UI_FILES" = yes ] && [ "$role" = ctx1 ]; then
      mkdir -p "$WORK/ui" && cp -R "$ROOT/crates/smov-console/ui/." "$WORK/ui"
      printf '  - ../ui\n'
    fi
    if [ "${WITH_OBSERVABILITY:-no}" = yes ]; then printf '  - ../k8s/observability\n'; fi
    components "$role" "$overlay"
    printf 'labels:\n  - pairs: {app.kubernetes.io/part-of: theater-msa, app.kubernetes.io/managed-by: deploy-all.sh}\n'
    if [ -n "$REGISTRY$TAG" ]; then
      printf 'images:\n'
      for service in $SERVICES; do
        printf '  - {name: theater-msa/%s, newName: %s/%s, newTag: "%s"}\n' "$service" "${REGISTRY:-theater-msa}" "$service" "${TAG:-v1}"
      done
    fi
    patches "$role" >"$WORK/$role/patches"
    if [ -s "$WORK/$role/patches" ]; then printf 'patches:\n' && cat "$WORK/$role/patches"; fi
  } >"$WORK/$role/kustomization.yaml"
  kubectl kustomize "$WORK/$role" >"$WORK/$role.yaml"
}

# Beyond the overlay: the right to write, and a Gateway where the platform has none.
components() {
  local role="$1" overlay="$2" list=''
  if [ "$CONSOLE_WRITE" = yes ]; then list=console-write; fi
  if [ "$role" = ctx1 ] && [ "$GATEWAY_EXISTS" = no ] && [ "$overlay" != one-cluster ]; then list="$list gateway"; fi
  if [ -n "$list" ]; then
    printf 'components:\n'
    for component in $list; do printf '  - ../k8s/components/%s\n' "$component"; done
  fi
}

# One JSON patch: patch_of KIND NAME-OR-SELECTOR OPERATION…
patch_of() {
  local kind="$1" whom="$2" operation
  shift 2
  printf '  - target: {kind: %s, %s}\n    patch: |-\n' "$kind" "$whom"
  for operation in "$@"; do printf '      - %s\n' "$operation"; done
}

patches() {
  local role="$1" hosts url_host settings
  if [ -n "${REVISION:-}" ]; then
    patch_of Namespace "name: $NAMESPACE" '{op: remove, path: /metadata/labels/istio-injection}' \
      "{op: add, path: /metadata/labels/istio.io~1rev, value: \"$REVISION\"}"
  fi
  if [ "${WITH_OBSERVABILITY:-no}" = yes ]; then
    patch_of ConfigMap 'name: theater-config' '{op: add, path: /data/OTEL_EXPORTER_OTLP_ENDPOINT, value: "http://jaeger-collector.istio-system:4318"}'
  fi
  if [ "$role" != ctx1 ]; then return 0; fi
  url_host="${GATEWAY_URL#*://}"
  url_host="${url_host%%[:/]*}"
  hosts="$DOMAIN${DOMAIN:+,}$url_host"
  # Environment from a ConfigMap is read once, so what it says is part of the pods that read it.
  settings=$(printf '%s %s %s' "$hosts" "${GATEWAY_IN_CLUSTER:-}" "$DOMAIN" | cksum | tr ' ' -)
  patch_of Deployment 'name: api-gateway' "{op: add, path: /spec/template/metadata/annotations/smov.dev~1settings, value: \"$settings\"}"
  patch_of ConfigMap 'name: theater-config' "{op: add, path: /data/SMOV_ALLOWED_HOSTS, value: \"$hosts\"}" \
    "{op: add, path: /data/SMOV_INGRESS, value: \"${GATEWAY_IN_CLUSTER:-}\"}" "{op: add, path: /data/SMOV_INGRESS_HOST, value: \"${DOMAIN:-$url_host}\"}"
  patch_of VirtualService 'name: theater-msa, namespace: istio-system' "{op: replace, path: /spec/gateways/0, value: \"$GATEWAY\"}" \
    "{op: replace, path: /spec/hosts/0, value: \"${DOMAIN:-*}\"}"
  if [ "$GATEWAY_EXISTS" = no ]; then
    patch_of Gateway 'name: cp-gateway' "{op: replace, path: /metadata/name, value: \"${GATEWAY#*/}\"}" \
      "{op: replace, path: /metadata/namespace, value: \"${GATEWAY%/*}\"}" \
      "{op: replace, path: /spec/selector, value: {\"${GATEWAY_SELECTOR%%=*}\": \"${GATEWAY_SELECTOR#*=}\"}}"
  elif [ "${ONE_CLUSTER:-no}" = yes ]; then
    # The overlay brings one; the platform's own is left as it is.
    printf '  - target: {kind: Gateway, name: cp-gateway}\n    patch: |-\n      {apiVersion: v1, kind: any, metadata: {name: any}, $patch: delete}\n'
  fi
}

has_namespace() { kc "$1" get namespace "$NAMESPACE" >/dev/null 2>&1; }

# What would change. A cluster that has no namespace yet can only be asked about the form.
preview() {
  local role="$1" context
  context=$(context_of "$role")
  step '%s에 적용될 것' 'what %s would get' "$role"
  if has_namespace "$context"; then
    kc "$context" apply --dry-run=server --validate=strict -f "$WORK/$role.yaml"
  else
    say '네임스페이스 %s가 아직 없어 형식만 확인합니다' 'namespace %s is not there yet, so only the form is checked' "$NAMESPACE"
    kc "$context" apply --dry-run=client --validate=strict -f "$WORK/$role.yaml"
  fi
}

apply() {
  local role="$1" context
  context=$(context_of "$role")
  # What kubectl says of each object is left out: it calls some "configured" that it did not change. What changed is told at the end.
  if ! kc "$context" apply --validate=strict -f "$WORK/$role.yaml" >"$WORK/$role.applied"; then
    wrong '%s에 모두 적용하지 못했습니다' 'not everything could be applied to %s' "$role"
  fi
}

# The page reads ctx2 with a token of ctx2 that may read and nothing else; ctx1 gets it as a Secret.
let_ctx1_read_ctx2() {
  local token='' authority server tries=0 account=api-gateway
  if [ -z "$(server_of "$CTX2")" ] || ! kc "$CTX2" -n "$NAMESPACE" get serviceaccount "$account" >/dev/null 2>&1; then
    warn 'ctx2에 아직 극장이 없어, 페이지에는 ctx2의 상태가 "알 수 없음"으로 나옵니다. ctx2를 배포한 뒤 다시 실행하세요' \
      'ctx2 has no theatre yet, so the page shows its state as unknown; deploy ctx2 and run this again'
    return 0
  fi
  step 'ctx1의 페이지가 ctx2를 읽게 함' 'the page in ctx1 may read ctx2'
  kc "$CTX2" apply -f - >>"$WORK/remote.applied" <<SECRET
apiVersion: v1
kind: Secret
metadata:
  name: console-reader
  namespace: $NAMESPACE
  labels: {app.kubernetes.io/part-of: theater-msa}
  annotations: {kubernetes.io/service-account.name: $account}
type: kubernetes.io/service-account-token
SECRET
  while [ -z "$token" ]; do
    token=$(kc "$CTX2" -n "$NAMESPACE" get secret console-reader -o 'jsonpath={.data.token}' 2>/dev/null || true)
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || wrong 'ctx2가 토큰을 만들지 않습니다: Secret console-reader' 'ctx2 makes no token: Secret console-reader'
    [ -n "$token" ] || sleep 0.1
  done
  server="${CTX2_SERVER:-$(server_of "$CTX2")}"
  # Whoever checks that address for us knows its authority; otherwise the cluster says it.
  authority=$(kubectl config view --raw --minify --flatten --context "$CTX2" -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' 2>/dev/null)
  if [ -z "$authority" ] || [ -n "${CTX2_SERVER:-}" ]; then
    authority=$(kc "$CTX2" -n "$NAMESPACE" get secret console-reader -o 'jsonpath={.data.ca\.crt}')
  fi
  (
    umask 077
    cat >"$WORK/ctx2.kubeconfig" <<KUBECONFIG
{"apiVersion": "v1", "kind": "Config", "current-context": "ctx2",
 "clusters": [{"name": "ctx2", "cluster": {"server": "$server", "certificate-authority-data": "$authority"}}],
 "users": [{"name": "console", "user": {"token": "$(printf %s "$token" | base64 -d)"}}],
 "contexts": [{"name": "ctx2", "context": {"cluster": "ctx2", "user": "console"}}]}
KUBECONFIG
    awk 'BEGIN { RS = "---\n" } /kind: Namespace/ { print; exit }' "$WORK/ctx1.yaml" >"$WORK/remote.yaml"
    cat >>"$WORK/remote.yaml" <<SECRET
---
apiVersion: v1
kind: Secret
metadata:
  name: console-remote-clusters
  namespace: $NAMESPACE
  labels: {app.kubernetes.io/part-of: theater-msa}
type: Opaque
data:
  ctx2: $(base64 <"$WORK/ctx2.kubeconfig" | tr -d '\n')
SECRET
  )
  kc "$CTX1" apply -f "$WORK/remote.yaml" >>"$WORK/remote.applied"
  # A running page read the old one.
  if grep -q '^secret/console-remote-clusters configured' "$WORK/remote.applied" && kc "$CTX1" -n "$NAMESPACE" get deployment api-gateway >/dev/null 2>&1; then
    kc "$CTX1" -n "$NAMESPACE" rollout restart deployment/api-gateway | sed 's/^/  /'
  fi
}

wait_for_pods() {
  local role context
  for role in $(contexts); do
    context=$(context_of "$role")
    # No request timeout: this watches for as long as WAIT says.
    if ! kubectl --context "$context" -n "$NAMESPACE" rollout status deployment -l "$PART_OF" --timeout="$WAIT" >"$WORK/wait" 2>&1; then
      sed 's/^/  /' "$WORK/wait"
      kc "$context" -n "$NAMESPACE" get pods -o wide | sed 's/^/  /' || true
      kc "$context" -n "$NAMESPACE" get events --field-selector type=Warning --sort-by=.lastTimestamp 2>/dev/null | tail -5 | sed 's/^/  /' || true
      wrong '%s: 파드가 준비되지 않았습니다' '%s: pods did not get ready' "$role"
    fi
    printf '  %-5s' "$role" && say '%s개 Deployment 준비됨' '%s Deployments are ready' "$(grep -c 'successfully rolled out' "$WORK/wait")"
  done
}

# Writes down what identifies each object (uid, and what counts its changes), and each pod.
remember() {
  local role="$1" when="$2" context
  context=$(context_of "$role")
  {
    kc "$context" get -f "$WORK/$role.yaml" --ignore-not-found \
      -o 'jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}|{.metadata.uid}|{.metadata.generation}|{.metadata.resourceVersion}{"\n"}{end}' 2>/dev/null |
      awk -F'|' '{ print $1, $2, ($3 == "" ? $4 : $3) }' || true
    kc "$context" -n "$NAMESPACE" get pods -o 'jsonpath={range .items[*]}Pod {.metadata.name} {.metadata.uid}{"\n"}{end}' 2>/dev/null || true
  } | sort >"$WORK/$role.$when"
}

# What this run changed, seen in the clusters and not in what was sent.
report_changes() {
  local role changed
  for role in $(contexts); do
    diff "$WORK/$role.before" "$WORK/$role.after" | sed -n 's/^> \([^ ]* [^ ]*\) .*/\1/p' >"$WORK/$role.changed" || true
    changed=$(wc -l <"$WORK/$role.changed")
    if [ "$changed" -eq 0 ]; then
      printf '  %-5s' "$role" && say '바뀐 것 없음: 객체 %s개와 파드 %s개가 실행 전과 같습니다' 'nothing changed: %s objects and %s pods are the same as before' \
        "$(grep -vc '^Pod ' "$WORK/$role.after" || true)" "$(grep -c '^Pod ' "$WORK/$role.after" || true)"
    else
      printf '  %-5s' "$role" && say '새로 만들거나 바꾼 것 %s개:' '%s made or changed:' "$changed"
      awk '{ kinds[$1] = kinds[$1] " " $2 } END { for (kind in kinds) print "        " kind ":" kinds[kind] }' "$WORK/$role.changed" | sed "s|$NAMESPACE/||g" | sort
    fi
  done
}
