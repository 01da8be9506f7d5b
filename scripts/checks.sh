# shellcheck shell=bash disable=SC2034,SC2153 # variables are shared between the scripts
# What must be there before the theatre is deployed; each finding comes with its fix. Sourced by deploy-all.sh.
# 배포 전에 갖추어야 할 것. 문제마다 해결 방법을 함께 보여 줍니다.

FAILURES=0

# passed ROLE KO EN [ARGUMENT…]
passed() {
  local role="$1"
  shift
  printf '  ✓ %-5s' "$role" && say "$@"
}

# noted ROLE KO EN [ARGUMENT…]: could not be checked, or worth knowing.
noted() {
  local role="$1"
  shift
  printf '  · %-5s' "$role" && say "$@"
}

# failed ROLE FIX KO EN [ARGUMENT…]
failed() {
  local role="$1" fix="$2"
  shift 2
  FAILURES=$((FAILURES + 1))
  printf '  ✗ %-5s' "$role" && say "$@"
  printf '          ' && text '해결' 'fix' && printf ': %s\n' "$fix"
}

check_tools() {
  local minor
  if ! command -v kubectl >/dev/null 2>&1; then
    failed '' 'https://kubernetes.io/docs/tasks/tools/' 'kubectl이 없습니다' 'kubectl is not on PATH'
    return 1
  fi
  minor=$(kubectl version --client -o yaml 2>/dev/null | sed -n 's/^ *minor: "\{0,1\}\([0-9]*\).*/\1/p' | head -1)
  if [ "${minor:-0}" -lt 28 ]; then
    failed '' 'https://kubernetes.io/docs/tasks/tools/' 'kubectl 1.28 이상이 필요합니다 (지금: 1.%s)' 'kubectl 1.28 or later is needed (this is 1.%s)' "${minor:-?}"
    return 1
  fi
  if ! command -v curl >/dev/null 2>&1; then
    failed '' 'apt-get install curl · brew install curl' 'curl이 없습니다. 배포한 뒤 실제 요청으로 확인할 때 씁니다' 'curl is not on PATH; the deployment is verified with it'
    return 1
  fi
  passed '' 'kubectl 1.%s, curl' 'kubectl 1.%s, curl' "$minor"
}

# Is there such a context, and does somebody answer there?
check_server() {
  local role="$1" context="$2" server answer known
  server=$(server_of "$context")
  if [ -z "$server" ]; then
    known=$(kubectl config get-contexts -o name 2>/dev/null | tr '\n' ' ')
    failed "$role" "$(text '%s=이름 으로 정하세요. 있는 것: %s' 'name it with %s=NAME; there is: %s' "$(echo "$role" | tr '[:lower:]' '[:upper:]')" "${known:-–}")" \
      '`%s`라는 컨텍스트가 없습니다' 'there is no context `%s`' "$context"
    return 1
  fi
  if ! answer=$(kubectl --context "$context" --request-timeout=5s get --raw /version 2>&1); then
    failed "$role" "$(text '주소, VPN, 자격 증명을 확인하세요' 'check the address, the VPN and the credentials'): kubectl --context $context get --raw /version" \
      'API 서버가 응답하지 않습니다: %s: %s' 'the API server does not answer: %s: %s' "$server" "$(echo "$answer" | tail -1)"
    return 1
  fi
  passed "$role" 'API 서버 %s (%s)' 'API server %s (%s)' "$server" "$(echo "$answer" | sed -n 's/.*"gitVersion": *"\([^"]*\)".*/\1/p')"
}

check_rights() {
  local role="$1" context="$2" missing='' question
  if [ "$(kc "$context" auth can-i '*' '*' --all-namespaces 2>/dev/null)" = yes ]; then
    passed "$role" '권한: 모두 있음' 'rights: everything'
    return 0
  fi
  for question in 'create namespaces' 'create clusterroles.rbac.authorization.k8s.io' "create deployments.apps -n $NAMESPACE" \
    "create virtualservices.networking.istio.io -n istio-system" "create secrets -n $NAMESPACE"; do
    # shellcheck disable=SC2086 # words of the question
    if [ "$(kc "$context" auth can-i $question 2>/dev/null)" != yes ]; then missing="$missing, $question"; fi
  done
  if [ -n "$missing" ]; then
    failed "$role" "$(text '클러스터 관리자에게 권한을 받으세요' 'ask the administrator of the cluster for them')" '권한이 부족합니다: %s' 'rights are missing: %s' "${missing#, }"
    return 0
  fi
  passed "$role" '권한: 충분함' 'rights: enough'
}

# Istio's kinds, and a control plane that runs.
check_istio() {
  local role="$1" context="$2" pods
  if ! kc "$context" get --raw /apis/networking.istio.io/v1 >/dev/null 2>&1; then
    failed "$role" "istioctl install --context=$context" 'Istio 리소스가 없습니다 (networking.istio.io/v1, Istio 1.22 이상)' 'Istio is not installed (networking.istio.io/v1, Istio 1.22 or later)'
    return 1
  fi
  pods=$(kc "$context" -n istio-system get pods -l app=istiod \
    -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' 2>/dev/null || true)
  if ! echo "$pods" | grep -q ' True$'; then
    failed "$role" "kubectl --context $context -n istio-system get pods -l app=istiod; istioctl install --context=$context" \
      'istiod: 준비된 파드가 없습니다' 'istiod: no pod of it is ready'
    return 1
  fi
  passed "$role" 'istiod: %s' 'istiod: %s' "$(echo "$pods" | sed -n 's/ True$//p' | tr '\n' ' ')"
}

# The label of the namespace, and a pod that a dry run really gives a sidecar.
check_injection() {
  local role="$1" context="$2" labels namespace=default own='sidecar.istio.io/inject: "true"' containers
  if labels=$(kc "$context" get namespace "$NAMESPACE" -o 'jsonpath={.metadata.labels.istio-injection}/{.metadata.labels.istio\.io/rev}' 2>/dev/null); then
    case "$labels" in
      enabled/* | /?*) namespace=$NAMESPACE && own='app: injection-check' ;;
      *)
        failed "$role" "kubectl --context $context label namespace $NAMESPACE istio-injection=enabled --overwrite" \
          '네임스페이스 %s에 사이드카 자동 주입 레이블이 없습니다' 'namespace %s has no label for sidecar injection' "$NAMESPACE"
        return 0
        ;;
    esac
  elif [ -n "${REVISION:-}" ]; then
    own="istio.io/rev: $REVISION"
  fi
  containers=$(kc "$context" create --dry-run=server -o 'jsonpath={.spec.containers[*].name} {.spec.initContainers[*].name}' -f - 2>&1 <<POD
apiVersion: v1
kind: Pod
metadata:
  name: smov-injection-check
  namespace: $namespace
  labels:
    $own
spec:
  containers:
    - name: app
      image: theater-msa/user-service:v1
POD
  ) || true
  case " $containers " in
    *' istio-proxy '*) passed "$role" '사이드카 주입: 시험 파드에 istio-proxy가 들어감 (네임스페이스 %s)' 'sidecar injection: a trial pod gets istio-proxy (namespace %s)' "$namespace" ;;
    *) failed "$role" "istioctl analyze --context=$context; kubectl --context $context get mutatingwebhookconfigurations" \
      '사이드카 주입이 동작하지 않습니다 (시험 파드의 컨테이너: %s)' 'no sidecar is injected (containers of a trial pod: %s)' "$(echo "$containers" | tail -1)" ;;
  esac
}

# The scheduler puts pods where the node says which cloud it is.
check_nodes() {
  local role="$1" context="$2" ready
  ready=$(kc "$context" get nodes -l "cluster-name=$role" \
    -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' 2>/dev/null | sed -n 's/ True$//p' | tr '\n' ' ')
  if [ -z "$ready" ]; then
    failed "$role" "kubectl --context $context label nodes --all cluster-name=$role" \
      'cluster-name=%s 레이블이 붙은 준비된 노드가 없습니다' 'no ready node has the label cluster-name=%s' "$role"
    return 0
  fi
  passed "$role" '노드 레이블 cluster-name=%s: %s' 'node label cluster-name=%s: %s' "$role" "$ready"
}

# Each istiod reads the other cluster with a remote secret.
check_remote_secret() {
  local role="$1" context="$2" other="$3" other_context="$4" names
  names=$(kc "$context" -n istio-system get secrets -l istio/multiCluster=true \
    -o 'go-template={{range .items}}{{range $name, $value := .data}}{{$name}} {{end}}{{end}}' 2>/dev/null || true)
  if [ -z "$names" ]; then
    failed "$role" "istioctl create-remote-secret --context=$other_context --name=$other | kubectl --context $context apply -f -" \
      '%s을(를) 읽을 원격 시크릿이 istio-system에 없습니다' 'istio-system has no remote secret for %s' "$other"
    return 0
  fi
  passed "$role" '원격 시크릿: %s' 'remote secret: %s' "$names"
}

# Sidecars of both clusters trust each other only below one root.
check_roots() {
  local one two path='jsonpath={.data.root-cert\.pem}'
  one=$(kc "$CTX1" -n istio-system get configmap istio-ca-root-cert -o "$path" 2>/dev/null || true)
  two=$(kc "$CTX2" -n istio-system get configmap istio-ca-root-cert -o "$path" 2>/dev/null || true)
  if [ -z "$one" ] || [ -z "$two" ]; then
    noted '' '두 클러스터의 루트 인증서: 확인하지 못함 (istio-ca-root-cert가 없음)' 'root certificates of both clusters: not checked (no istio-ca-root-cert)'
  elif [ "$one" = "$two" ]; then
    passed '' '두 클러스터가 같은 루트 인증서를 씀' 'both clusters have one root certificate'
  else
    failed '' 'https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/' \
      '두 클러스터의 루트 인증서가 다릅니다. 클러스터 사이 mTLS가 되지 않습니다' 'the clusters have different root certificates: no mTLS between them'
  fi
}

# The ingress gateway: which Gateway is used, which Service leads to it, and at which address people reach it.
# Sets GATEWAY_EXISTS, GATEWAY_SELECTOR, GATEWAY_URL, GATEWAY_IN_CLUSTER.
check_gateway() {
  local context="$1" whose found namespace name selector ready hosts
  GATEWAY_EXISTS=no
  # One that an earlier run made is ours to change; any other belongs to the platform.
  if ! whose=$(kc "$context" -n "${GATEWAY%/*}" get gateways.networking.istio.io "${GATEWAY#*/}" --ignore-not-found \
    -o 'jsonpath=there:{.metadata.labels.app\.kubernetes\.io/part-of}' 2>&1); then
    # Not to be read is not the same as not being there: the platform's own must never be taken for ours.
    failed ctx1 "kubectl --context=$context -n ${GATEWAY%/*} get gateways.networking.istio.io ${GATEWAY#*/}" \
      'Gateway %s를 읽을 수 없습니다' 'the Gateway %s cannot be read' "$GATEWAY"
    return 0
  fi
  case "$whose" in '' | there:theater-msa) ;; *) GATEWAY_EXISTS=yes ;; esac
  if [ "$GATEWAY_EXISTS" = yes ]; then
    GATEWAY_SELECTOR=$(kc "$context" -n "${GATEWAY%/*}" get gateways.networking.istio.io "${GATEWAY#*/}" \
      -o 'go-template={{range $key, $value := .spec.selector}}{{$key}}={{$value}},{{end}}' 2>/dev/null)
    GATEWAY_SELECTOR="${GATEWAY_SELECTOR%,}"
    hosts=$(kc "$context" -n "${GATEWAY%/*}" get gateways.networking.istio.io "${GATEWAY#*/}" -o 'jsonpath={.spec.servers[*].hosts[*]}' 2>/dev/null)
    check_hosts "$hosts"
  fi
  # The Service in front of the pods that the Gateway selects.
  found=$(kc "$context" get services -A -l "$GATEWAY_SELECTOR" \
    -o 'jsonpath={range .items[*]}{.metadata.namespace}{" "}{.metadata.name}{"\n"}{end}' 2>/dev/null | head -1)
  if [ -z "$found" ]; then
    failed ctx1 "istioctl install --context=$context --set profile=default; $(text '다른 것을 쓰려면' 'for another one'): GATEWAY_SELECTOR=KEY=VALUE" \
      '인그레스 게이트웨이 서비스가 없습니다 (레이블 %s)' 'there is no ingress gateway Service (label %s)' "$GATEWAY_SELECTOR"
    return 0
  fi
  namespace="${found% *}" name="${found#* }"
  selector=$(kc "$context" -n "$namespace" get service "$name" -o 'go-template={{range $key, $value := .spec.selector}}{{$key}}={{$value}},{{end}}')
  ready=$(kc "$context" -n "$namespace" get pods -l "${selector%,}" \
    -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' 2>/dev/null | grep -c ' True$' || true)
  if [ "${ready:-0}" -eq 0 ]; then
    failed ctx1 "kubectl --context $context -n $namespace get pods -l ${selector%,}" \
      '인그레스 게이트웨이 %s: 준비된 파드가 없습니다' 'ingress gateway %s: no pod of it is ready' "$namespace/$name"
    return 0
  fi
  GATEWAY_IN_CLUSTER="http://$name.$namespace.svc.cluster.local"
  if [ -z "${GATEWAY_URL:-}" ]; then GATEWAY_URL=$(gateway_url "$context" "$namespace" "$name"); fi
  if [ -z "$GATEWAY_URL" ]; then
    failed ctx1 "kubectl --context $context -n $namespace get service $name; $(text '직접 정하려면' 'or say it'): GATEWAY_URL=http://HOST:PORT" \
      '인그레스 게이트웨이 %s: 밖에서 접속할 주소가 없습니다' 'ingress gateway %s has no address that can be reached from outside' "$namespace/$name"
    return 0
  fi
  passed ctx1 '인그레스 게이트웨이 %s → %s' 'ingress gateway %s → %s' "$namespace/$name" "$GATEWAY_URL"
  if [ "$GATEWAY_EXISTS" = yes ]; then
    passed ctx1 'Gateway %s: 이미 있는 것을 그대로 씁니다' 'Gateway %s: the existing one is used as it is' "$GATEWAY"
  else
    noted ctx1 'Gateway %s: 만듭니다 (selector %s)' 'Gateway %s: will be made (selector %s)' "$GATEWAY" "$GATEWAY_SELECTOR"
  fi
}

# Does the existing Gateway take the domain?
check_hosts() {
  local host
  if [ -z "$DOMAIN" ]; then return 0; fi
  for host in $1; do
    host="${host#*/}"
    case "$host" in
      '*' | "$DOMAIN") return 0 ;;
      '*.'*) case "$DOMAIN" in *"${host#\*}") return 0 ;; esac ;;
    esac
  done
  failed ctx1 "$(text '도메인을 Gateway의 hosts에 넣거나 그 아래 이름을 쓰세요' 'add the domain to the hosts of the Gateway, or use a name below them')" \
    'Gateway %s은(는) %s을(를) 받지 않습니다 (hosts: %s)' 'Gateway %s does not take %s (hosts: %s)' "$GATEWAY" "$DOMAIN" "$1"
}

# Where people reach a gateway's Service: what it says itself, its load balancer, or a port of a node.
gateway_url() {
  local context="$1" namespace="$2" name="$3" said address port
  service() { kc "$context" -n "$namespace" get service "$name" -o "jsonpath=$1" 2>/dev/null || true; }
  said=$(service '{.metadata.annotations.smov\.dev/url}')
  if [ -n "$said" ]; then echo "$said" && return; fi
  port=$(service '{.spec.ports[?(@.name=="http2")].port}')
  [ -n "$port" ] || port=$(service '{.spec.ports[?(@.port==80)].port}')
  port="${port%% *}"
  address=$(service '{.status.loadBalancer.ingress[0].ip}{.status.loadBalancer.ingress[0].hostname}')
  if [ -n "$address" ]; then
    if [ "${port:-80}" = 80 ]; then echo "http://$address"; else echo "http://$address:$port"; fi
    return
  fi
  port=$(service '{.spec.ports[?(@.name=="http2")].nodePort}')
  address=$(kc "$context" get nodes -o 'jsonpath={.items[0].status.addresses[?(@.type=="ExternalIP")].address} {.items[0].status.addresses[?(@.type=="InternalIP")].address}' 2>/dev/null | awk '{print $1}')
  if [ -n "$port" ] && [ -n "$address" ]; then echo "http://$address:$port"; fi
}

# The store: its volume needs a storage class, and the original sample's proxy must not stand in its place.
check_redis() {
  local role="$1" context="$2" classes leftover
  leftover=$(kc "$context" -n "$NAMESPACE" get deployments -o name 2>/dev/null | grep -E '/redis-proxy$' || true)
  if [ "$role" = ctx1 ] && [ "${ONE_CLUSTER:-no}" != yes ]; then
    leftover=$(kc "$context" -n "$NAMESPACE" get deployments -o name 2>/dev/null | grep -E '/redis(-proxy)?$' || true)
  fi
  if [ -n "$leftover" ]; then
    failed "$role" "kubectl --context $context -n $NAMESPACE delete $(echo "$leftover" | tr '\n' ' ')" \
      'Redis: 다른 배포가 남아 있습니다: %s' 'Redis: left over from another deployment: %s' "$(echo "$leftover" | tr '\n' ' ')"
    return 0
  fi
  if [ "$role" = ctx1 ] && [ "${ONE_CLUSTER:-no}" != yes ]; then return 0; fi
  if kc "$context" -n "$NAMESPACE" get persistentvolumeclaim redis-data >/dev/null 2>&1; then
    passed "$role" 'Redis: 볼륨 redis-data가 이미 있음' 'Redis: volume redis-data is there already'
  elif ! kc "$context" get --raw /apis/storage.k8s.io/v1 >/dev/null 2>&1; then
    passed "$role" 'Redis: 볼륨은 클러스터가 직접 마련함' 'Redis: this cluster makes volumes without storage classes'
  else
    classes=$(kc "$context" get storageclasses -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{.metadata.annotations.storageclass\.kubernetes\.io/is-default-class}{"\n"}{end}' 2>/dev/null | sed -n 's/ true$//p')
    if [ -z "$classes" ]; then
      failed "$role" "kubectl --context $context patch storageclass NAME -p '{\"metadata\":{\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":\"true\"}}}'" \
        'Redis: 기본 StorageClass가 없어 볼륨을 만들 수 없습니다' 'Redis: there is no default StorageClass, so its volume stays pending'
    else
      passed "$role" 'Redis: 볼륨은 StorageClass %s로' 'Redis: its volume comes from StorageClass %s' "$classes"
    fi
  fi
}

# What one cluster must have.
check_cluster() {
  local role="$1" context
  context=$(context_of "$role")
  check_rights "$role" "$context"
  if check_istio "$role" "$context"; then
    check_injection "$role" "$context"
  else
    noted "$role" '사이드카 주입: istiod가 준비되면 확인할 수 있음' 'sidecar injection: can be checked once istiod is ready'
  fi
  if [ "${ONE_CLUSTER:-no}" != yes ]; then check_nodes "$role" "$context"; fi
  check_redis "$role" "$context"
  if [ "$role" = ctx1 ]; then check_gateway "$context"; fi
}

# All checks; sets FAILURES.
run_checks() {
  local role context reachable=''
  check_tools || return 0
  for role in $(contexts); do
    context=$(context_of "$role")
    if check_server "$role" "$context"; then reachable="$reachable $role"; fi
  done
  case "$reachable" in
    *ctx2*ctx1*)
      if [ "$(server_of "$CTX1")" = "$(server_of "$CTX2")" ]; then
        failed '' './deploy-all.sh --one-cluster' '두 컨텍스트가 같은 클러스터입니다' 'both contexts lead to one cluster'
        return 0
      fi
      ;;
  esac
  # ctx2 is looked at beside ctx1; what it found is shown and counted afterwards.
  # shellcheck disable=SC2030,SC2031 # its count comes back by a file
  case "$reachable" in *ctx2*) (FAILURES=0 && check_cluster ctx2 >"$WORK/ctx2.checks" && echo "$FAILURES" >"$WORK/ctx2.failures") & ;; esac
  case "$reachable" in *ctx1*) check_cluster ctx1 ;; esac
  wait
  # shellcheck disable=SC2031
  case "$reachable" in *ctx2*) cat "$WORK/ctx2.checks" && FAILURES=$((FAILURES + $(cat "$WORK/ctx2.failures"))) ;; esac
  case "$reachable" in
    *ctx2*ctx1*)
      check_remote_secret ctx1 "$CTX1" ctx2 "$CTX2"
      check_remote_secret ctx2 "$CTX2" ctx1 "$CTX1"
      check_roots
      ;;
  esac
  if [ -z "$REGISTRY" ] && [ "${LOCAL_IMAGES:-no}" != yes ]; then
    noted '' '이미지: 레지스트리 없이 theater-msa/*:%s (노드에 있어야 합니다: kind load docker-image)' 'images: theater-msa/*:%s without a registry (nodes must have them: kind load docker-image)' "${TAG:-v1}"
  fi
}
