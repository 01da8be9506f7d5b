//! Somebody's own program behind the mesh, as the guide shows it.

use std::collections::BTreeMap;

use smov_testkit::tools;

use crate::api::{Api, Pod};
use crate::theatre::{Theatre, eventually};

/// The manifests of the Python service in the guide.
fn greeter_of_the_guide() -> String {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/own-programs.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let block = guide.split("```yaml\n").find(|block| block.contains("name: greeter-code")).unwrap();
    block.split("```").next().unwrap().to_owned()
}

fn apply(theatre: &Theatre, name: &str, text: &str) -> anyhow::Result<()> {
    let file = theatre.state().join(name);
    std::fs::write(&file, text)?;
    let applied = theatre.mesh().smov(&["apply", "--context", "ctx1", "-f", &file.display().to_string()])?;
    anyhow::ensure!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    Ok(())
}

/// Messages of the events with this reason.
async fn told(api: &Api, reason: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("/api/v1/namespaces/theater-msa/events?fieldSelector=reason%3D{reason}");
    let list = api.call(http::Method::GET, &path, None).await?;
    let messages = list["items"].as_array().into_iter().flatten().filter_map(|event| event["message"].as_str().map(str::to_owned));
    Ok(messages.collect())
}

async fn greeters(api: &Api, count: usize) -> anyhow::Result<Vec<Pod>> {
    eventually(&format!("{count} ready greeters"), async || {
        let pods = api.pods("greeter").await?;
        Ok((pods.iter().filter(|pod| pod.is_ready()).count() == count).then_some(pods))
    })
    .await
}

/// What the greeters say to requests that leave the gateway's pod, by the colour in the answer; without one, by status.
fn ask(theatre: &Theatre, path: &str, times: usize) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut answers = BTreeMap::new();
    for _ in 0..times {
        let answer = theatre.mesh().json(&["request", "--from", "api-gateway", &format!("http://greeter:8090{path}")])?;
        let text = answer["body"].as_str().unwrap_or_default();
        let colour = ["blue", "green"].into_iter().find(|colour| text.contains(colour)).map(str::to_owned);
        *answers.entry(colour.unwrap_or_else(|| answer["status"].to_string())).or_default() += 1;
    }
    Ok(answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_program_is_behind_the_mesh_with_its_split_its_probes_and_its_logs() -> anyhow::Result<()> {
    if !tools::found("python3") {
        return Ok(());
    }
    let theatre = Theatre::start("sqlite", &["--allow-commands", "--seed", "7"])?;
    let api = theatre.api("ctx1").await?;
    apply(&theatre, "greeter.yaml", &greeter_of_the_guide())?;
    let pods = greeters(&api, 2).await?;
    let notes = told(&api, "OwnProgram").await?;
    assert!(notes.iter().any(|note| note.contains("$SMOV_OUTBOUND") && note.contains("내 프로그램")), "{notes:?}");

    // The rule of the guide: 70 blue, 30 green.
    let answers = ask(&theatre, "/", 40)?;
    assert!(answers.len() == 2 && answers["blue"] > answers["green"], "{answers:?}");

    // One that says it is ill gets nothing any more, and is back when it says that it is well.
    let blue = pods.iter().find(|pod| pod.name.starts_with("greeter-blue")).unwrap();
    let path = |path: &str| format!("http://{}:8080{path}", blue.address);
    let client = smov_testkit::http::get(&path("/fall-ill")).await?;
    assert_eq!(client.status, 200, "plain text from outside reaches the pod: {}", client.text());
    greeters(&api, 1).await?;
    eventually("the sick subset has nobody", async || Ok(ask(&theatre, "/", 10)?.contains_key("503").then_some(()))).await?;
    eventually("the probe's finding is told", async || {
        let found = told(&api, "Unhealthy").await?;
        Ok(found.iter().any(|message| message == "Readiness probe failed: HTTP probe failed with statuscode: 503").then_some(()))
    })
    .await?;
    smov_testkit::http::get(&path("/recover")).await?;
    greeters(&api, 2).await?;
    eventually("both greet again", async || Ok((ask(&theatre, "/", 10)?.keys().all(|who| who != "503")).then_some(()))).await?;

    let log = api.text(&format!("/api/v1/namespaces/theater-msa/pods/{}/log?container=greeter", blue.name)).await?;
    assert!(log.starts_with("greeting at ('127.0.0.1', 2") && log.contains("asked for /fall-ill\n"), "{log}");
    if tools::found("kubectl") {
        commands(&theatre, &blue.name)?;
    }
    theatre.end()
}

/// `exec`, `cp` and `top`, as people type them.
fn commands(theatre: &Theatre, pod: &str) -> anyhow::Result<()> {
    let kubectl = |arguments: &[&str]| theatre.mesh().kubectl("ctx1", &[&["-n", "theater-msa"], arguments].concat());
    let output = kubectl(&["exec", pod, "-c", "greeter", "--", "sh", "-c", "echo $COLOUR; cat missing; exit 7"])?;
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()), (Some(7), "blue\n"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing"));
    let file = theatre.state().join("note.txt");
    std::fs::write(&file, "there and back\n")?;
    let copied = kubectl(&["cp", &file.display().to_string(), &format!("{pod}:note.txt"), "-c", "greeter"])?;
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let read = kubectl(&["exec", pod, "-c", "greeter", "--", "cat", "note.txt"])?;
    assert_eq!(String::from_utf8_lossy(&read.stdout), "there and back\n");
    let top = kubectl(&["top", "pod", pod, "--containers", "--no-headers"])?;
    let lines = String::from_utf8_lossy(&top.stdout).into_owned();
    let memory = |line: &str| line.split_whitespace().last()?.strip_suffix("Mi")?.parse::<u64>().ok();
    assert!(lines.lines().count() == 2 && lines.lines().all(|line| memory(line).is_some_and(|memory| memory > 0)), "{lines}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_permission_nothing_of_a_manifest_runs_and_the_reason_is_told() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let api = theatre.api("ctx1").await?;
    let touched = theatre.state().join("touched");
    let own = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "own", "namespace": "theater-msa", "labels": {"app": "own"}},
        "spec": {"containers": [{"name": "own", "image": "python:3", "command": ["touch", touched]}]},
    });
    // The sample's redis: its image is known, so its command is never run, with or without permission.
    let mapped = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mapped", "namespace": "theater-msa", "labels": {"app": "mapped"}},
        "spec": {"containers": [{"name": "echo", "image": "echo", "command": ["sh", "-c", format!("touch {}", touched.display())], "ports": [{"containerPort": 8090}]}]},
    });
    apply(&theatre, "pods.yaml", &format!("{own}\n---\n{mapped}"))?;
    let why = eventually("the reason", async || Ok(told(&api, "Failed").await?.into_iter().next())).await?;
    assert!(why.contains("smov up --allow-commands") && why.contains("허용하려면"), "{why}");
    // The event and the status are written one after the other.
    eventually("the container's state", async || {
        let pod = api.call(http::Method::GET, "/api/v1/namespaces/theater-msa/pods/own", None).await?;
        let own = pod["status"]["containerStatuses"].as_array().into_iter().flatten().find(|status| status["name"] == "own");
        Ok(own.is_some_and(|own| own["state"]["waiting"]["reason"] == "CreateContainerError").then_some(()))
    })
    .await?;
    crate::theatre::ready_pods(&api, "mapped", 1).await?;
    let ignored = told(&api, "ImageAdjusted").await?;
    assert!(ignored.iter().any(|message| message.contains("are ignored") && message.contains("무시합니다")), "{ignored:?}");
    assert!(!touched.exists());
    let path = "/api/v1/namespaces/theater-msa/pods/mapped/exec?container=echo&stdout=true&command=true";
    let refused = api.call(http::Method::GET, path, None).await.unwrap_err().to_string();
    assert!(refused.starts_with("403: `true` is not run") && refused.contains("--allow-commands"), "{refused}");
    theatre.end()
}
