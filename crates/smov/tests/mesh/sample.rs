//! The original sample's own files, unchanged: its scenarios in the order of its script, and its deployment. Skipped, saying so, where the files are not at hand.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use smov_testkit::http::{self as client, Answer};
use smov_testkit::tools;

use crate::theatre::{Theatre, all_at_once, can_run, eventually, within};

/// A folder of the sample: below `SMOV_FIXTURES`, else beside the repository.
#[expect(clippy::print_stderr, reason = "a test's note to whoever runs it")]
fn sample(part: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let folder = std::env::var_os("SMOV_FIXTURES").map_or_else(beside, PathBuf::from).join("sample").join(part);
    if folder.exists() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there (SMOV_FIXTURES names the folder)", folder.display());
    None
}

/// kubectl on one cluster; its words, which must hold no refusal.
fn kubectl(theatre: &Theatre, context: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = theatre.mesh().kubectl(context, arguments)?;
    anyhow::ensure!(output.status.success(), "{context} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Requests at once, each with the time it took.
async fn many(url: &str, host: Option<&str>, count: usize) -> anyhow::Result<Vec<(Answer, Duration)>> {
    let one = |url: String, host: Option<String>| async move {
        let started = Instant::now();
        let headers: Vec<(&str, &str)> = host.iter().map(|host| ("host", host.as_str())).collect();
        let answer = client::send(Method::GET, &url, &headers, Bytes::new()).await?;
        Ok((answer, started.elapsed()))
    };
    let requests: Vec<_> = (0..count).map(|_| one(url.to_owned(), host.map(str::to_owned))).collect();
    all_at_once(requests).await
}

/// So many that what happens to three in ten is seen but once in a million runs.
const ENOUGH: usize = 40;

/// What a scenario does to a service.
#[derive(Clone, Copy)]
enum Seen {
    AllFine,
    SomeFail,
    SomeLate,
    OnlyCtx1,
}

async fn looks(theatre: &Theatre, path: &str, wanted: Seen) -> anyhow::Result<bool> {
    let answers = many(&theatre.page(path), None, ENOUGH).await?;
    let fine = |answer: &Answer| answer.status == 200;
    Ok(match wanted {
        Seen::AllFine => {
            let from = |cluster: &str| answers.iter().any(|(answer, _)| answer.header("x-service-cluster") == cluster);
            answers.iter().all(|(answer, took)| fine(answer) && *took < Duration::from_secs(3)) && from("ctx1") && from("ctx2")
        }
        Seen::SomeFail => answers.iter().any(|(answer, _)| answer.status == 500) && answers.iter().any(|(answer, _)| fine(answer)),
        Seen::SomeLate => answers.iter().all(|(answer, _)| fine(answer)) && answers.iter().any(|(_, took)| *took >= Duration::from_secs(3)),
        Seen::OnlyCtx1 => answers.iter().all(|(answer, _)| fine(answer) && answer.header("x-service-cluster") == "ctx1"),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_scenarios_apply_unchanged_and_do_what_they_say() -> anyhow::Result<()> {
    let Some(practice) = sample("practice") else { return Ok(()) };
    if !tools::found("kubectl") {
        return Ok(());
    }
    let theatre = Theatre::start("sqlite", &[])?;
    let scenarios = [
        ("01-initial", Seen::AllFine, Seen::AllFine, Seen::AllFine),
        ("02-circuit-breaker", Seen::AllFine, Seen::AllFine, Seen::AllFine),
        ("03-delay-fault", Seen::AllFine, Seen::SomeLate, Seen::AllFine),
        ("04-error-fault", Seen::SomeFail, Seen::AllFine, Seen::AllFine),
        ("05-block-fault", Seen::AllFine, Seen::AllFine, Seen::OnlyCtx1),
        ("99-scenarios", Seen::SomeFail, Seen::SomeLate, Seen::OnlyCtx1),
        ("01-initial", Seen::AllFine, Seen::AllFine, Seen::AllFine),
    ];
    for (scenario, users, movies, bookings) in scenarios {
        let folder = practice.join(scenario);
        for context in ["ctx1", "ctx2"] {
            kubectl(&theatre, context, &["apply", "--validate=strict", "-k", &folder.display().to_string()])?;
        }
        for (path, wanted) in [("/users/", users), ("/movies/", movies), ("/bookings/", bookings)] {
            // A breaker of the lesson before may still keep a pod out: longest 30 s.
            within(Duration::from_secs(60), &format!("{scenario} {path}"), async || Ok(looks(&theatre, path, wanted).await?.then_some(())))
                .await?;
        }
    }
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_deployment_comes_up_as_it_is_written() -> anyhow::Result<()> {
    const HOST: &str = "theater.example.com";
    let Some(deploy) = sample("deploy") else { return Ok(()) };
    if !tools::found("kubectl") || !can_run("redis") {
        return Ok(());
    }
    let theatre = Theatre::start("redis", &["--empty"])?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let apply = |context: &str, name: &str| {
        kubectl(&theatre, context, &["apply", "--validate=strict", "-f", &deploy.join(name).display().to_string()])
    };
    for (context, store) in [("ctx2", "redis.yaml"), ("ctx1", "redis-ctx1-service.yaml")] {
        for name in ["namespace.yaml", "rbac.yaml", store] {
            apply(context, name)?;
        }
        for service in ["user", "movie", "booking"] {
            apply(context, &format!("{service}-service-{context}.yaml"))?;
        }
        for name in ["istio-destinationrules.yaml", "istio-virtualservices.yaml"] {
            apply(context, name)?;
        }
    }
    // As its script does: the page's files as a ConfigMap, then the gateway, then the domain in place of the placeholder.
    kubectl(&theatre, "ctx1", &["apply", "-k", &root.join("crates/smov-console/ui").display().to_string()])?;
    kubectl(&theatre, "ctx1", &["apply", "-f", &root.join("k8s/components/gateway/cp-gateway.yaml").display().to_string()])?;
    apply("ctx1", "api-gateway-ctx1.yaml")?;
    let placeholder = apply("ctx1", "istio-virtualservice.yaml").expect_err("the placeholder is no DNS name").to_string();
    assert!(placeholder.contains("spec.hosts[0]") && placeholder.contains("DOMAIN_PLACEHOLDER"), "{placeholder}");
    let rule = std::fs::read_to_string(deploy.join("istio-virtualservice.yaml"))?.replace("theater.DOMAIN_PLACEHOLDER", HOST);
    let file = theatre.state().join("rule.yaml");
    std::fs::write(&file, rule)?;
    kubectl(&theatre, "ctx1", &["apply", "-f", &file.display().to_string()])?;

    eventually("every service answers from both clusters", async || {
        for path in ["/", "/users/", "/movies/", "/bookings/"] {
            let answers = many(&theatre.page(path), Some(HOST), ENOUGH).await?;
            let from = |cluster: &str| path == "/" || answers.iter().any(|(answer, _)| answer.header("x-service-cluster") == cluster);
            if answers.iter().any(|(answer, _)| answer.status != 200) || !from("ctx1") || !from("ctx2") {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;

    // Its redis would run a shell: ours starts the server, and says that the command was left out.
    let events = kubectl(&theatre, "ctx2", &["-n", "theater-msa", "get", "events", "--field-selector", "type=Warning"])?;
    assert!(events.contains("redis:alpine") && events.contains("ignored"), "{events}");

    // Its other way to Redis: a relay, and a rule for a subset that no pod is in, which takes ctx1's services off their store.
    apply("ctx1", "redis-multicluster.yaml")?;
    kubectl(&theatre, "ctx1", &["-n", "theater-msa", "rollout", "status", "deployment", "redis-proxy", "--timeout=60s"])?;
    theatre.end()
}
