//! The command line: what `smov --help` says is the truth.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use smov_telemetry::export::Collector;

mod lessons;
mod rules;
mod traffic;

pub(crate) use lessons::{GlossaryArguments, ScenarioArguments, ScenarioCommand};
pub(crate) use rules::{Explain, Test, TestPlane, Validate};
pub(crate) use traffic::{LinkArguments, Load, Request};

/// A service mesh you can watch: two clusters, an Istio-compatible mesh and a theatre, from one binary.
/// 눈으로 보는 서비스 메시: 클러스터 두 개, Istio 호환 메시, 극장 예매 서비스를 실행 파일 하나로 띄웁니다.
#[derive(Debug, Parser)]
#[command(name = "smov", version, propagate_version = true, max_term_width = 110, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples · 예:
  smov up                                  start everything · 전부 시작 (Ctrl-C로 종료)
  smov status                              what runs · 실행 상태
  eval \"$(smov env)\"                       kubectl and smov for this shell · 이 셸에서 kubectl과 smov 쓰기
  kubectl --context ctx1 get pods -n theater-msa
  smov load --rate 200 --duration 10s      traffic with figures · 트래픽 보내고 수치 보기
  smov reset                               back to the baseline · 처음 설정으로

Exit codes · 종료 코드: 0 ok · 1 check not passed · 2 usage or configuration · 3 mesh not reachable";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Folder with all state · 상태를 두는 폴더
    #[arg(long, global = true, value_name = "DIR", env = "SMOV_STATE_DIR", default_value = ".smov")]
    pub(crate) state_dir: PathBuf,
    /// Language of messages; by default from LANG · 메시지 언어
    #[arg(long, global = true, value_enum, env = "SMOV_LANG")]
    pub(crate) lang: Option<LangChoice>,
    /// Form of the output, for scripts · 출력 형식
    #[arg(long, short = 'o', global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `--lang`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LangChoice {
    /// 한국어
    Ko,
    /// English
    En,
}

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start both clusters, the mesh and the theatre · 클러스터, 메시, 극장을 시작
    Up(Up),
    /// Stop a running `smov up` · 실행 중인 `smov up`을 종료
    Down,
    /// What runs, and how well · 실행 상태
    Status,
    /// Where the kubeconfig is, or the kubeconfig itself · kubeconfig 위치 또는 내용
    Kubeconfig {
        /// Print the file instead of its path · 경로 대신 내용을 출력
        #[arg(long)]
        raw: bool,
    },
    /// Shell lines that set PATH and KUBECONFIG: eval "$(smov env)" · PATH와 KUBECONFIG 설정
    Env,
    /// List objects as kubectl does, without kubectl · kubectl 없이 리소스 보기
    Get(Get),
    /// Apply YAML as kubectl does, without kubectl · kubectl 없이 YAML 적용
    Apply(Apply),
    /// Say what is wrong with YAML, without a cluster · 클러스터 없이 YAML의 문제를 알려 줌
    Validate(Validate),
    /// Why a request goes where it goes, in the mesh or from files alone · 요청이 왜 그리로 가는지 설명
    Explain(Explain),
    /// Logs of all pods of both clusters, merged by time · 두 클러스터 모든 파드의 로그를 시간순으로
    Logs(Logs),
    /// The link between the clusters: latency, jitter, stall, cut · 클러스터 사이의 링크: 지연, 흔들림, 멈춤, 단절
    Link(LinkArguments),
    /// Lessons: apply one, see which is there, put everything back · 시나리오: 적용, 확인, 되돌리기
    Scenario(ScenarioArguments),
    /// What a word means: subset, UH, 격리 … · 용어 풀이
    Glossary(GlossaryArguments),
    /// Put traffic rules back to the baseline of k8s/ · 트래픽 규칙을 처음 설정으로
    Reset,
    /// Check this machine, with a fix for each finding · 이 컴퓨터를 점검하고 해결 방법을 안내
    Doctor {
        /// Port of the page to check · 점검할 포트
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// Send traffic at a rate and show percentiles and the split · 일정한 속도로 트래픽을 보내고 수치를 보기
    Load(Load),
    /// Play conformance cases on your own YAML, without a cluster · 클러스터 없이 내 YAML로 케이스를 실행
    Test(Test),
    /// Send a request as a pod of the running mesh, or from outside it · 실행 중인 메시의 파드로서, 또는 밖에서 요청 보내기
    Request(Request),
    /// Shell completions · 셸 자동 완성
    Completions {
        /// Which shell · 셸 종류
        shell: clap_complete::Shell,
    },
    /// What an app pod runs (used by the kubelet) · 앱 파드가 실행하는 명령
    App {
        /// Which app.
        #[arg(value_enum)]
        app: AppName,
    },
    /// What a sidecar or gateway pod runs (used by the kubelet) · 사이드카와 게이트웨이 파드가 실행하는 명령
    Proxy {
        /// Run as an ingress gateway.
        #[arg(long)]
        gateway: bool,
        /// What carries the requests.
        #[arg(long, value_enum, default_value_t = DataPlane::Smov)]
        data_plane: DataPlane,
    },
    /// What an istiod pod runs (used by the kubelet) · istiod 파드가 실행하는 명령
    Control,
    /// Writes the manual pages into a folder (used when packages are made)
    #[command(hide = true)]
    Man {
        /// Where they go.
        folder: PathBuf,
    },
    /// What a pod of the image `socat` runs (used by the kubelet)
    #[command(hide = true)]
    Relay {
        /// tcp-listen:PORT and tcp-connect:HOST:PORT.
        addresses: Vec<String>,
    },
    /// Runs a program that dies with its parent (used by the kubelet)
    #[command(hide = true)]
    Shim {
        /// The parent that must still be there.
        #[arg(long)]
        parent: u32,
        /// Makes its input the terminal of a session of its own.
        #[arg(long)]
        tty: bool,
        /// Program and arguments.
        #[arg(last = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

/// `--data-plane`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum DataPlane {
    /// The proxy of this binary.
    #[default]
    Smov,
    /// The real Envoy, run by an agent of ours.
    Envoy,
}

impl DataPlane {
    /// As the option and the annotation have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Smov => "smov",
            Self::Envoy => "envoy",
        }
    }
}

/// `smov app …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AppName {
    /// The user service.
    User,
    /// The movie service.
    Movie,
    /// The booking service.
    Booking,
    /// The API gateway with the page.
    Gateway,
    /// Answers by a script and remembers what it was asked.
    Echo,
}

/// The operator door's port, unless it is taken or another is asked for.
pub(crate) const OPERATOR_PORT: u16 = 8088;

/// `smov up`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples · 예:
  smov up                      http://localhost:8080
  smov up --port 9000          another port · 다른 포트
  smov up --seed 42            every draw repeatable · 추첨을 그대로 재현
  smov up --store sqlite       without redis · redis 없이
  smov up --data-plane envoy   real Envoy sidecars · 진짜 Envoy 사이드카로
  smov up --manifests my-k8s   own manifests · 직접 쓴 매니페스트
  smov up --empty              no theatre yet: ./deploy-all.sh brings it · 극장은 ./deploy-all.sh로
  smov up --with prometheus    metrics in a real Prometheus · 진짜 Prometheus로 메트릭 보기
  smov up --zipkin http://127.0.0.1:9411    traces to Zipkin · 트레이스를 Zipkin으로
  smov up --allow-commands     own programs as pods · 내 프로그램을 파드로")]
pub(crate) struct Up {
    /// Port of the page and the ingress gateway · 페이지와 인그레스 게이트웨이의 포트
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// Address to listen on; only loopback addresses for now · 수신 주소 (루프백만)
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) listen: IpAddr,
    /// Port of the operator door; 0 = any free one · 운영자 문의 포트
    #[arg(long, default_value_t = OPERATOR_PORT)]
    pub(crate) operator_port: u16,
    /// auto, sqlite, redis, or redis://HOST:PORT · 저장소
    #[arg(long, default_value = "auto")]
    pub(crate) store: String,
    /// Folder with manifests instead of the built-in k8s/ · 내장 k8s/ 대신 쓸 매니페스트 폴더
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// Clusters and mesh alone, no theatre: what ./deploy-all.sh starts from · 극장 없이 클러스터와 메시만
    #[arg(long, conflicts_with = "manifests")]
    pub(crate) empty: bool,
    /// Seed of all dice, so that a run can be repeated · 추첨 시드
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// What carries the requests: our own proxy, or the real Envoy (from SMOV_ENVOY or PATH) · 요청을 나르는 프록시
    #[arg(long, value_enum, default_value_t = DataPlane::Smov)]
    pub(crate) data_plane: DataPlane,
    /// Run the commands of manifests, exec probes and `kubectl exec` as processes of this machine · 매니페스트의 command를 이 컴퓨터에서 실행
    #[arg(long)]
    pub(crate) allow_commands: bool,
    /// Start a helper beside the mesh, found on this machine · 함께 띄울 도구
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) with: Vec<Helper>,
    /// Send all spans to an OTLP/HTTP collector: http://127.0.0.1:4318 · 스팬을 보낼 OTLP 수집기
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<Collector>,
    /// Send all spans to Zipkin: http://127.0.0.1:9411 · 스팬을 보낼 Zipkin
    #[arg(long, value_name = "URL")]
    pub(crate) zipkin: Option<Collector>,
    /// Folder with page files to serve instead of the built-in ones · 내장 페이지 대신 쓸 폴더
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) ui_dir: Option<PathBuf>,
}

/// `--with`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Helper {
    /// A real Prometheus that scrapes everything (from SMOV_PROMETHEUS or PATH).
    Prometheus,
}

/// `smov get`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Get {
    /// Resource: pods, deploy, vs, dr … · 리소스
    pub(crate) resource: String,
    /// Name; without it, all · 이름
    pub(crate) name: Option<String>,
    /// Cluster; without it, both · 클러스터
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Namespace · 네임스페이스
    #[arg(long, short = 'n', default_value = "theater-msa")]
    pub(crate) namespace: String,
    /// All namespaces · 모든 네임스페이스
    #[arg(long, short = 'A')]
    pub(crate) all_namespaces: bool,
}

/// `smov apply`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Apply {
    /// Files or folders; `-` is standard input · 파일이나 폴더, `-`는 표준 입력
    #[arg(long, short = 'f', required = true)]
    pub(crate) filename: Vec<PathBuf>,
    /// Cluster; without it, both · 클러스터
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Namespace of objects that name none · 네임스페이스가 없는 객체의 네임스페이스
    #[arg(long, short = 'n', default_value = "theater-msa")]
    pub(crate) namespace: String,
    /// Only check · 확인만
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `smov logs`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples · 예:
  smov logs --service booking        booking-service, app and sidecar, both clusters · 예매 서비스의 앱과 사이드카
  smov logs -f -c istio-proxy        access logs as they are written · 접근 로그를 실시간으로
  smov logs --trace 4bf92f3577b34da6a3ce929d0e0e4736   one trace · 트레이스 하나")]
pub(crate) struct Logs {
    /// Go on with what is written from now on · 이어서 보기
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
    /// Pods of this service (label app): booking or booking-service · 서비스
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Lines of this trace, by its id or by x-request-id · 트레이스나 x-request-id
    #[arg(long, value_name = "ID")]
    pub(crate) trace: Option<String>,
    /// Container; without it, all · 컨테이너
    #[arg(long, short = 'c')]
    pub(crate) container: Option<String>,
    /// Lines per container to begin with · 컨테이너마다 처음에 보일 줄 수
    #[arg(long, default_value_t = 200)]
    pub(crate) tail: u32,
    /// Cluster; without it, both · 클러스터
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Namespace; without it, all · 네임스페이스
    #[arg(long, short = 'n')]
    pub(crate) namespace: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
