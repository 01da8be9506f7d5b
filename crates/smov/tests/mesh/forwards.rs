//! `kubectl port-forward` to pods of the theatre: the app behind its sidecar, the sidecar's own ports, and the end with the pod.

use std::process::Stdio;
use std::time::Duration;

use smov_testkit::{http as client, tools};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::theatre::{PATIENCE, Theatre};

/// A running kubectl; ends with the test.
struct Forward {
    kubectl: Child,
    url: String,
}

impl Forward {
    async fn start(theatre: &Theatre, target: &str, port: u16) -> anyhow::Result<Self> {
        let mut kubectl = Command::new("kubectl")
            .args(["--context", "ctx1", "-n", "theater-msa", "port-forward", "--address", "127.0.0.1", target, &format!(":{port}")])
            .env("KUBECONFIG", theatre.mesh().kubeconfig())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(kubectl.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??.unwrap_or_default();
        let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next());
        let url = format!("http://{}", address.ok_or_else(|| anyhow::anyhow!("{target}: {line:?}"))?);
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { kubectl, url })
    }

    async fn get(&self, path: &str) -> anyhow::Result<client::Answer> {
        tokio::time::timeout(Duration::from_secs(20), client::get(&format!("{}{path}", self.url))).await?
    }

    /// What kubectl says before it ends by itself.
    async fn last_words(mut self) -> anyhow::Result<String> {
        let mut said = String::new();
        tokio::time::timeout(PATIENCE, self.kubectl.stderr.take().unwrap().read_to_string(&mut said)).await??;
        assert!(!self.kubectl.wait().await?.success(), "{said}");
        Ok(said)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_forwards_to_the_app_itself_and_to_the_ports_of_its_sidecar() -> anyhow::Result<()> {
    if !tools::found("kubectl") {
        return Ok(());
    }
    let theatre = Theatre::start("sqlite", &[])?;
    let api = theatre.api("ctx1").await?;
    let pod = format!("pod/{}", api.pods("user-service").await?[0].name);
    let metrics = Forward::start(&theatre, &pod, 15090).await?;
    let counted = async || -> anyhow::Result<Vec<String>> {
        let text = metrics.get("/stats/prometheus").await?.text();
        anyhow::ensure!(text.contains("# TYPE istio_requests_total"), "{text}");
        Ok(text.lines().filter(|line| line.starts_with("istio_requests_total{")).map(str::to_owned).collect())
    };

    let before = counted().await?;
    let app = Forward::start(&theatre, &pod, 8081).await?;
    for _ in 0..2 {
        let answer = app.get("/users/").await?;
        assert!(answer.status == 200 && answer.header("x-service-cluster") == "ctx1", "{}", answer.text());
    }
    assert_eq!(counted().await?, before, "the sidecar is not on the way");
    for target in ["deploy/user-service-ctx1", "svc/user-service"] {
        assert_eq!(Forward::start(&theatre, target, 8081).await?.get("/users/").await?.status, 200, "{target}");
    }
    assert_eq!(Forward::start(&theatre, &pod, 15021).await?.get("/healthz/ready").await?.status, 200);
    assert!(Forward::start(&theatre, &pod, 15000).await?.get("/refused").await?.status == 200);

    let nobody = Forward::start(&theatre, &pod, 9).await?;
    assert!(nobody.get("/").await.is_err());
    let said = nobody.last_words().await?;
    assert!(said.contains("failed to connect to localhost:9 inside the pod: Connection refused"), "{said}");

    theatre.mesh().kubectl("ctx1", &["-n", "theater-msa", "delete", &pod, "--wait=false"])?;
    let said = app.last_words().await?;
    assert!(said.contains("lost connection to pod"), "{said}");
    drop(metrics);
    theatre.end()
}
