//! `smov request` and the scripted echo, as the guide shows them.

use serde_json::Value;

use crate::theatre::{Theatre, eventually};

/// The manifests of the echo in the guide.
fn echo_of_the_guide() -> String {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/testing.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let block = guide.split("```yaml\n").find(|block| block.starts_with("apiVersion: v1\nkind: Service")).unwrap();
    block.split("```").next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_out_as_a_pod_and_the_echo_answers_by_its_script() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let file = theatre.state().join("echo.yaml");
    std::fs::write(&file, echo_of_the_guide())?;
    let applied = theatre.mesh().smov(&["apply", "--context", "ctx1", "-f", &file.display().to_string()])?;
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));

    let request = |arguments: &[&str]| -> anyhow::Result<Value> { theatre.mesh().json(&[&["request"], arguments].concat()) };
    // The script is untouched by what is asked of the echo's own paths.
    eventually("the echo answers", async || {
        let answer = request(&["--from", "api-gateway", "http://echo:8090/_echo/health"]);
        Ok(answer.ok().filter(|answer| answer["status"] == 200))
    })
    .await?;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(request(&["--from", "api-gateway", "-H", "x-canary: true", "http://echo:8090/hello"])?["status"].clone());
    }
    assert_eq!(statuses, [503, 503, 200]);

    let seen = request(&["--from", "outside", "http://echo:8090/_echo/requests"])?;
    assert_eq!(seen["body"]["count"], 3, "{seen}");
    let header = |name: &str| {
        let headers = seen["body"]["requests"][0]["headers"].as_array().unwrap();
        headers.iter().find(|header| header[0] == name).map(|header| header[1].clone())
    };
    assert_eq!(header("x-canary"), Some("true".into()));
    assert!(header("x-request-id").is_some(), "it went through sidecars: {seen}");

    let other = request(&["--from", "user-service-ctx1", "-X", "PUT", "-d", "418", "http://echo:8090/_echo/script"])?;
    assert_eq!(other["status"], 200, "{other}");
    let failed = theatre.mesh().smov(&["request", "--fail", "--from", "api-gateway", "http://echo:8090/"])?;
    assert_eq!(failed.status.code(), Some(1), "418 and --fail");

    let pods = theatre.api("ctx1").await?.pods("api-gateway").await?;
    let unknown = theatre.mesh().smov(&["request", "--from", "nobody", "http://echo:8090/"])?;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains(&pods[0].name), "the pods that there are");
    theatre.end()
}
