//! Commands about traffic: `load`, `request`, `link`.

use std::time::Duration;

use clap::Args;

use crate::duration::parse;

/// `smov load`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// Requests per second, kept whatever the answers do (open loop) · 초당 요청 수
    #[arg(long, default_value_t = 20.0)]
    pub(crate) rate: f64,
    /// How long: 10s, 2m · 시간
    #[arg(long, default_value = "10s", value_parser = parse)]
    pub(crate) duration: Duration,
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
    #[arg(long, default_value = "10s", value_parser = parse)]
    pub(crate) timeout: Duration,
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
    #[arg(long, default_value = "30s", value_parser = parse)]
    pub(crate) timeout: Duration,
    /// http://HOST[:PORT]/PATH
    pub(crate) url: String,
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
    #[arg(long, value_name = "TIME", value_parser = parse)]
    pub(crate) latency: Option<Duration>,
    /// How far a round trip may be off, for example 2ms · 왕복 시간이 흔들리는 폭
    #[arg(long, value_name = "TIME", value_parser = parse)]
    pub(crate) jitter: Option<Duration>,
    #[command(flatten)]
    pub(crate) switch: LinkSwitch,
}
