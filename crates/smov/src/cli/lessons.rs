//! Commands for lessons: `scenario`, `glossary`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `smov scenario`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples · 예:
  smov scenario list                        what there is, and what is on · 목록과 현재 상태
  smov scenario show app-failure-ejection   words, YAML and kubectl lines · 설명, YAML, kubectl 명령
  smov scenario apply delay                 others are put back first · 다른 시나리오는 먼저 되돌림
  smov scenario reset                       what scenarios changed · 시나리오가 바꾼 것만 되돌림
  smov scenario apply delay --kubeconfig ~/.kube/config   on real clusters · 진짜 클러스터에서

Exit codes · 종료 코드: 0 ok · 2 usage or refused · 3 a cluster cannot be reached")]
pub(crate) struct ScenarioArguments {
    #[command(subcommand)]
    pub(crate) command: ScenarioCommand,
    /// Only this cluster · 이 클러스터에만
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// Clusters of this file, contexts ctx1 and ctx2, instead of the running mesh · 실행 중인 메시 대신 이 파일의 클러스터
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// `smov scenario …`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ScenarioCommand {
    /// All scenarios and which one is there · 모든 시나리오와 상태
    List,
    /// One scenario: what it does, what to watch, its YAML · 시나리오 하나의 내용
    Show {
        /// Its name · 이름
        name: String,
    },
    /// Put others back, then apply this one · 시나리오 적용
    Apply {
        /// Its name · 이름
        name: String,
    },
    /// Put back what scenarios changed · 시나리오가 바꾼 것을 되돌림
    Reset,
    /// Which one is there, and what differs · 지금 적용된 시나리오
    Status,
}

/// `smov glossary`.
#[derive(Debug, Clone, Args)]
#[command(visible_alias = "term")]
pub(crate) struct GlossaryArguments {
    /// A word, a flag, or part of one; without it, all terms · 용어나 그 일부
    pub(crate) term: Option<String>,
}
