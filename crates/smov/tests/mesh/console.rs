//! The page's process as a real cluster runs it: no kubeconfig, a service account's files, the other cluster by a kubeconfig in a Secret.

use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use smov_testkit::http as client;
use smov_testkit::mesh::free_port;

use crate::change::weights;
use crate::theatre::{Theatre, eventually, program};

/// What a Secret's key holds.
async fn secret(theatre: &Theatre, context: &str, name: &str, key: &str) -> anyhow::Result<String> {
    let path = format!("/api/v1/namespaces/theater-msa/secrets/{name}");
    let found = theatre.api(context).await?.call(Method::GET, &path, None).await?;
    let data = found["data"][key].as_str().ok_or_else(|| anyhow::anyhow!("{name} has no {key}"))?;
    Ok(String::from_utf8(STANDARD.decode(data)?)?)
}

/// Ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_reads_both_clusters_with_what_kubernetes_gives_a_pod() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    // ctx2 holds the account's kubeconfig for ctx1, and the other way round: token, authority and address of each.
    let own: Value = serde_json::from_str(&secret(&theatre, "ctx2", "console-remote-clusters", "ctx1").await?)?;
    let field = |pointer: &str| own.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let root = tempfile::tempdir()?;
    let account = root.path().join("var/run/secrets/kubernetes.io/serviceaccount");
    std::fs::create_dir_all(&account)?;
    std::fs::write(account.join("token"), field("/users/0/user/token"))?;
    std::fs::write(account.join("ca.crt"), STANDARD.decode(field("/clusters/0/cluster/certificate-authority-data"))?)?;
    let remote = root.path().join("etc/smov/remote");
    std::fs::create_dir_all(&remote)?;
    std::fs::write(remote.join("ctx2"), secret(&theatre, "ctx1", "console-remote-clusters", "ctx2").await?)?;

    let server = field("/clusters/0/cluster/server");
    let (host, server_port) = server.trim_start_matches("https://").rsplit_once(':').expect("host and port");
    let port = free_port();
    let mut command = Command::new(program());
    command.args(["app", "gateway"]).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command.envs([
        ("KUBERNETES_SERVICE_HOST", host),
        ("KUBERNETES_SERVICE_PORT", server_port),
        ("CLUSTER_NAME", "ctx1"),
        ("RUST_LOG", "warn"),
    ]);
    command.env("SMOV_ROOT", root.path()).env("PORT", port.to_string());
    let process = Process(command.spawn()?);

    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let pods_of_both = eventually("pods of both clusters and the split", async || {
        let (Ok(pods), Ok(split)) = (client::get(&url("/deployment-status")).await, client::get(&url("/traffic-weights")).await) else {
            return Ok(None);
        };
        let (pods, split) = (pods.text(), split.json());
        let ready = ["user-service-ctx1", "user-service-ctx2"].iter().all(|name| pods.contains(name)) && !pods.contains("\"Unknown\"");
        Ok((ready && split["UserServiceCtx1Weight"] == 70).then_some(pods))
    })
    .await?;
    assert!(pods_of_both.contains("NHN") || pods_of_both.contains("ctx2"), "{pods_of_both}");

    // Live, not once: a change of the rule is seen.
    theatre.api("ctx1").await?.patch_virtual_service("user-service-vs", &weights(20, 80)).await?;
    eventually("the changed split", async || {
        Ok((client::get(&url("/traffic-weights")).await?.json()["UserServiceCtx2Weight"] == json!(80)).then_some(()))
    })
    .await?;
    drop(process);
    theatre.end()
}
