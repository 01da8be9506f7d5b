//! The command line: what `smov --help` says is the truth.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// The link between the clusters: latency, jitter, stall, cut · 클러스터 사이의 링크: 지연, 흔들림, 멈춤, 단절
    Link(LinkArguments),
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
  smov up --empty              no theatre yet: ./deploy-all.sh brings it · 극장은 ./deploy-all.sh로")]
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
    /// Folder with page files to serve instead of the built-in ones · 내장 페이지 대신 쓸 폴더
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) ui_dir: Option<PathBuf>,
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

/// `smov validate`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples · 예:
  smov validate -f k8s/                             a folder as one world · 폴더 전체를 함께
  kubectl get vs,dr,gw,svc,deploy -A -o yaml | smov validate -f -
  smov validate -f rules.yaml -f services/ -o json  for scripts · 스크립트용
  smov validate -k k8s/overlays/one-cluster         what kubectl apply -k would send

Exit codes · 종료 코드: 0 no errors · 1 errors found · 2 input that cannot be read")]
pub(crate) struct Validate {
    /// Files or folders (with all below); `-` is standard input · 파일이나 폴더, `-`는 표준 입력
    #[arg(long, short = 'f', required_unless_present = "kustomize")]
    pub(crate) filename: Vec<PathBuf>,
    /// Kustomizations · Kustomize 폴더
    #[arg(long, short = 'k', value_name = "DIR")]
    pub(crate) kustomize: Vec<PathBuf>,
    /// Namespace of objects that name none · 네임스페이스가 없는 객체의 네임스페이스
    #[arg(long, short = 'n')]
    pub(crate) namespace: Option<String>,
    /// The input is everything there is: what is not in it does not exist · 입력이 전부라고 보고 검사
    #[arg(long)]
    pub(crate) whole: bool,
}

/// `smov explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples · 예:
  smov explain GET http://user-service:8081/users/ --from api-gateway -H 'x-canary: true'
  smov explain http://user-service:8081/ --from api-gateway -f k8s/     from files, no mesh · 파일만으로
  smov explain --gateway http://theater.example.com/                  traffic from outside · 바깥 트래픽
  smov explain http://user-service:8081/ --expect cluster=ctx2:30      a check for CI · CI에서 확인
  smov explain --diff old/ new/ -f k8s/ --from api-gateway             what a change moves · 바뀌는 요청
  smov explain --request 1f0c…                                         what one request met · 실제 기록

Expectations · 기대: cluster=NAME subset=NAME status=CODE rule=PATH|NAME flag=FLAG, each also with :PERCENT
Exit codes · 종료 코드: 0 ok · 1 not as expected · 2 usage or input · 3 mesh not reachable")]
pub(crate) struct Explain {
    /// Method (GET without one) and URL · 메서드와 URL
    #[arg(value_name = "[METHOD] URL", num_args = 0..=2)]
    pub(crate) asked: Vec<String>,
    /// Whose sidecar: a pod, a workload or an app · 보내는 파드나 워크로드
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
    /// The caller's namespace; of files without one, too · 보내는 쪽 네임스페이스
    #[arg(long, short = 'n')]
    pub(crate) namespace: Option<String>,
    /// Traffic from outside, at the ingress gateway · 인그레스 게이트웨이로 들어오는 요청
    #[arg(long, conflicts_with = "from")]
    pub(crate) gateway: bool,
    /// A header, `Name: value` · 헤더
    #[arg(long = "header", short = 'H', value_name = "LINE")]
    pub(crate) headers: Vec<String>,
    /// Explain these files instead of the running mesh · 실행 중인 메시 대신 파일로
    #[arg(long, short = 'f')]
    pub(crate) filename: Vec<PathBuf>,
    /// Kustomizations, as files · Kustomize 폴더
    #[arg(long, short = 'k', value_name = "DIR")]
    pub(crate) kustomize: Vec<PathBuf>,
    /// Cluster whose sidecar is asked; without it, the first that has one · 클러스터
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Exit code 1 unless this holds; may be given several times · 기대와 다르면 종료 코드 1
    #[arg(long, value_name = "WHAT=VALUE[:PERCENT]")]
    pub(crate) expect: Vec<String>,
    /// Two sets of files: which requests move where · 두 설정의 차이
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with = "expect")]
    pub(crate) diff: Vec<PathBuf>,
    /// What the proxies recorded of a request (x-request-id) · 기록된 요청
    #[arg(long, value_name = "ID", conflicts_with_all = ["asked", "diff", "expect", "filename", "kustomize"])]
    pub(crate) request: Option<String>,
}

/// `smov load`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// Requests per second, kept whatever the answers do (open loop) · 초당 요청 수
    #[arg(long, default_value_t = 20.0)]
    pub(crate) rate: f64,
    /// How long: 10s, 2m · 시간
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: std::time::Duration,
    /// How many requests instead of how long · 시간 대신 요청 수
    #[arg(long)]
    pub(crate) requests: Option<u64>,
    /// Shares of the services · 서비스별 비율
    #[arg(long, default_value = "user=1,movie=1,booking=1")]
    pub(crate) mix: String,
    /// Send `x-canary: true` · 카나리 헤더를 붙임
    #[arg(long)]
    pub(crate) canary: bool,
    /// Where to; by default the running mesh's ingress · 보낼 주소
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Request ids as a function of this seed · 요청 id 시드
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Give up on an answer after this long · 응답을 기다리는 최대 시간
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: std::time::Duration,
}

/// `smov test`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples · 예:
  smov test cases/                          all cases below a folder · 폴더 아래의 모든 케이스
  smov test cases/canary.yaml               one file · 파일 하나
  smov test cases/ --data-plane both        on Envoy, too · Envoy에서도
  smov test cases/ --junit report.xml       for CI · CI용 보고서

How a case is written · 케이스 작성법: docs/guide/testing.md
Exit codes · 종료 코드: 0 all passed · 1 a case failed · 2 wrong input")]
pub(crate) struct Test {
    /// Folder or file with cases · 케이스가 있는 폴더나 파일
    #[arg(value_name = "DIR")]
    pub(crate) path: PathBuf,
    /// What carries the requests · 요청을 나르는 프록시
    #[arg(long, value_enum, default_value_t = TestPlane::Smov)]
    pub(crate) data_plane: TestPlane,
    /// Write a JUnit report to this file · JUnit 보고서 파일
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Only cases whose name or file holds this text · 이름이나 파일에 이 글자가 있는 케이스만
    #[arg(long)]
    pub(crate) filter: Option<String>,
    /// Cases at a time · 한꺼번에 실행할 케이스 수
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: u16,
    /// Show passed cases, too · 통과한 케이스도 보기
    #[arg(long, short = 'v')]
    pub(crate) verbose: bool,
}

/// `smov test --data-plane`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestPlane {
    /// The proxy of this binary.
    Smov,
    /// The real Envoy.
    Envoy,
    /// Both, one after the other.
    Both,
}

/// `smov request`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples · 예:
  smov request --from api-gateway http://user-service:8081/users/
  smov request --from api-gateway -H 'x-canary: true' -i http://movie-service:8082/movies/
  smov request --from user-service-ctx2 -X POST -d '{\"a\": 1}' http://booking-service:8083/bookings/
  smov request --from outside http://user-service-ctx1:8081/users/   plaintext to a pod's port · 파드 포트로 평문

Exit codes · 종료 코드: 0 an answer came · 1 an error status with --fail · 2 usage · 3 no answer")]
pub(crate) struct Request {
    /// A pod, or a workload whose first ready pod is taken; `outside` = from no pod · 파드나 워크로드, 밖이면 outside
    #[arg(long, value_name = "POD|WORKLOAD|outside")]
    pub(crate) from: String,
    /// Method; GET, or POST with -d · 메서드
    #[arg(long, short = 'X')]
    pub(crate) method: Option<String>,
    /// Header `name: value`, several times · 헤더
    #[arg(long, short = 'H', value_name = "HEADER")]
    pub(crate) header: Vec<String>,
    /// Body; `@FILE` reads a file · 본문
    #[arg(long, short = 'd')]
    pub(crate) data: Option<String>,
    /// Show status and headers of the answer, too · 응답의 상태와 헤더도 보기
    #[arg(long, short = 'i')]
    pub(crate) include: bool,
    /// Exit 1 where the status is 400 or more · 상태가 400 이상이면 종료 코드 1
    #[arg(long)]
    pub(crate) fail: bool,
    /// Cluster of the pod; without it, the first that has it · 파드의 클러스터
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Namespace of the pod · 파드의 네임스페이스
    #[arg(long, short = 'n', default_value = "theater-msa")]
    pub(crate) namespace: String,
    /// Give up on an answer after this long · 응답을 기다리는 최대 시간
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: std::time::Duration,
    /// http://HOST[:PORT]/PATH
    pub(crate) url: String,
}

/// `250ms`, `10s`, `2m`, `1h`.
fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is not a duration such as 250ms, 10s or 2m"))?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" | "" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("`{unit}` is not a unit; use ms, s, m or h")),
    };
    std::time::Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("250ms"), Ok(std::time::Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Ok(std::time::Duration::from_secs(120)));
        assert!(parse_duration("10 parsecs").is_err());
        assert!(parse_duration("-1s").is_err());
    }
}

/// `smov link`: without options, what the link is like now.
#[derive(Debug, Clone, Args)]
#[group(id = "switch", multiple = false)]
pub(crate) struct LinkSwitch {
    /// Reset every connection between the clusters and refuse new ones · 클러스터 사이의 연결을 모두 끊고 새 연결도 거절
    #[arg(long)]
    pub(crate) cut: bool,
    /// Keep connections open, but let nothing through · 연결은 두고 아무것도 지나가지 못하게
    #[arg(long)]
    pub(crate) stall: bool,
    /// A plain link again: up, without latency and jitter · 원래대로: 연결, 지연 없음
    #[arg(long)]
    pub(crate) restore: bool,
}

/// `smov link`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LinkArguments {
    /// What a round trip takes longer, for example 8ms · 왕복에 더 걸리는 시간
    #[arg(long, value_name = "TIME", value_parser = crate::mesh::link::duration)]
    pub(crate) latency: Option<std::time::Duration>,
    /// How far a round trip may be off, for example 2ms · 왕복 시간이 흔들리는 폭
    #[arg(long, value_name = "TIME", value_parser = crate::mesh::link::duration)]
    pub(crate) jitter: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) switch: LinkSwitch,
}
