//! Commands about rules: `validate`, `explain`, `test`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
