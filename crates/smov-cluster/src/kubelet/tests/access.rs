//! Commands in running containers, as the API server asks for them, and what containers use.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::bench::{Bench, STAYS, noting, pod};
use crate::api::{ExecRequest, PodAccess as _, Session};
use crate::controllers::fields::is_ready;
use crate::registry::DeleteOptions;

fn command(script: &str) -> ExecRequest {
    ExecRequest { command: vec![script.to_owned()], stdin: true, tty: false }
}

async fn all(source: Option<crate::api::Source>) -> String {
    let mut text = String::new();
    source.unwrap().read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_command_has_the_containers_environment_and_folder_and_its_outputs_apart() {
    let bench = Bench::start();
    let mut app = noting("app", STAYS);
    app["env"] = json!([{"name": "COLOUR", "value": "blue"}]);
    bench.create(pod("p", &[app]));
    let running = bench.pod_until("p", "it is ready", is_ready).await;
    let script = "read word; echo $word $COLOUR; pwd; echo wrong >&2; exit 7";
    let Session { stdin, stdout, stderr, exit, .. } = bench.access.exec(&running, "app", command(script)).await.unwrap();
    let mut stdin = stdin.unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    let (said, wrong, code) = tokio::join!(all(stdout), all(stderr), exit);
    assert!(said.starts_with("hello blue\n/") && said.ends_with("/work/app\n"), "{said}");
    assert_eq!((wrong.as_str(), code), ("wrong\n", Ok(7)));
    bench.stop().await;
}

#[tokio::test]
async fn a_command_ends_with_its_client_and_with_its_container() {
    let bench = Bench::start();
    bench.create(pod("p", &[noting("app", STAYS)]));
    let running = bench.pod_until("p", "it is ready", is_ready).await;
    let left = bench.access.exec(&running, "app", command("sleep 1000")).await.unwrap();
    drop(left);
    let stays = bench.access.exec(&running, "app", command("sleep 1000")).await.unwrap();
    bench.registry.delete(&crate::kinds::POD, "shop", "p", &DeleteOptions::default()).unwrap();
    assert_eq!(stays.exit.await, Err("the container has ended".to_owned()));
    bench.gone(&crate::kinds::POD, "p").await;
    let (folder, _registry) = bench.stop().await;
    assert_eq!(Bench::processes(folder.path()), Vec::<u32>::new());
}

#[tokio::test]
async fn nothing_runs_in_a_container_that_does_not() {
    let bench = Bench::start();
    let mut manifest = pod("p", &[noting("app", "exit 0")]);
    manifest["spec"]["restartPolicy"] = json!("Never");
    bench.create(manifest);
    let ended = bench.pod_until("p", "it ends", |pod| crate::controllers::fields::text(pod, "/status/phase") == "Succeeded").await;
    let refused = bench.access.exec(&ended, "app", command("true")).await.err().unwrap();
    assert_eq!(refused.message, "Internal error occurred: unable to upgrade connection: container not found (\"app\")");
    bench.stop().await;
}

#[tokio::test]
async fn usage_is_that_of_the_real_processes() {
    let bench = Bench::start();
    bench.create(pod("p", &[noting("busy", "while :; do :; done"), noting("idle", STAYS)]));
    bench.pod_until("p", "it is ready", is_ready).await;
    let measured = bench.access.measure().await;
    let of = |name: &str| measured.usage.iter().find(|usage| usage.container == name).unwrap();
    assert!(of("busy").processors > of("idle").processors, "{measured:?}");
    assert!(of("idle").memory > 10_000 && of("idle").pod == "p", "{measured:?}");
    bench.stop().await;
}
