//! The doors: who may come in, what works when the gateway is cut off, and the way back to the baseline.

use bytes::Bytes;
use http::Method;
use serde_json::json;
use smov_testkit::http as client;

use crate::processes::{process_of, tcp_listeners};
use crate::theatre::{Theatre, eventually, ready_pods};

#[tokio::test(flavor = "multi_thread")]
async fn doors_refuse_foreign_names_and_origins_and_the_api_wants_a_token() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    for door in [theatre.page(""), theatre.operator("")] {
        for path in ["/", "/api/v1/state", "/users/"] {
            let answer = client::send(Method::GET, &format!("{door}{path}"), &[("host", "evil.example")], Bytes::new()).await?;
            assert_eq!(answer.status, 403, "{door}{path}: {}", answer.text());
            assert_eq!(client::get(&format!("{door}{path}")).await?.status, 200, "{door}{path}");
        }
        let user = json!({"name": "Mallory", "email": "mallory@evil.example"});
        for (path, body) in [("/api/v1/reset", json!({})), ("/users/", user)] {
            let answer = client::post(&format!("{door}{path}"), &[("origin", "http://evil.example")], &body).await?;
            assert_eq!(answer.status, 403, "{door}{path}: {}", answer.text());
        }
        let own = client::post(&format!("{door}/api/v1/reset"), &[("origin", &door)], &json!({})).await?;
        assert_eq!(own.status, 200, "{}", own.text());
    }

    let state = theatre.state();
    let mut apps = 0;
    for context in ["ctx1", "ctx2"] {
        for app in ["api-gateway", "user-service", "movie-service", "booking-service"] {
            for pod in theatre.api(context).await?.pods(app).await? {
                apps += 1;
                assert_eq!(tcp_listeners(process_of(&state, &pod, false)?)?, [""; 0], "{} listens past its sidecar", pod.name);
                assert!(!tcp_listeners(process_of(&state, &pod, true)?)?.is_empty(), "the sidecar of {} listens", pod.name);
            }
        }
    }
    assert_eq!(apps, 7);

    for context in ["ctx1", "ctx2"] {
        for path in ["/api/v1/pods", "/api/v1/secrets", "/apis/networking.istio.io/v1/virtualservices"] {
            for token in [None, Some("nonsense")] {
                let error = stranger(&theatre, context, token, path).await.expect_err("a stranger is refused");
                assert!(matches!(&error, kube::Error::Api(status) if status.code == 401), "{path}: {error}");
            }
        }
    }
    theatre.end()
}

/// Asks an API server without the kubeconfig's credentials.
async fn stranger(theatre: &Theatre, context: &str, token: Option<&str>, path: &str) -> Result<String, kube::Error> {
    let kubeconfig = kube::config::Kubeconfig::read_from(theatre.mesh().kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.proxy_url = None;
    config.auth_info = kube::config::AuthInfo { token: token.map(|token| token.to_owned().into()), ..Default::default() };
    kube::Client::try_from(config)?.request_text(http::Request::get(path).body(Vec::new()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_door_works_without_the_gateway() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let api = theatre.api("ctx1").await?;
    api.scale("api-gateway", 0).await?;
    eventually("the gateway is gone", async || Ok(api.pods("api-gateway").await?.is_empty().then_some(()))).await?;
    let away = client::get(&theatre.page("/users/")).await?;
    assert_eq!(away.status, 503, "{}", away.text());

    let page = client::get(&theatre.operator("/")).await?;
    assert!(page.status == 200 && page.header("content-type").starts_with("text/html"), "{:?}", page.headers);
    eventually("the operator door tells that the gateway is away", async || {
        let state = theatre.console_state().await?;
        assert_eq!(state["door"], "operator");
        let shown = state["pods"]["ctx1"]["pods"].as_array().is_some_and(|pods| pods.iter().any(|pod| pod["app"] == "api-gateway"));
        let seen = state["pods"]["ctx1"]["state"] == "ok" && state["mesh"]["gateway"]["connected"] == false;
        Ok((!shown && seen).then_some(()))
    })
    .await?;
    let weights = client::get(&theatre.operator("/traffic-weights")).await?;
    assert_eq!((weights.status, &weights.json()["UserServiceCtx1Weight"]), (200, &json!(70)));

    api.scale("api-gateway", 1).await?;
    ready_pods(&api, "api-gateway", 1).await?;
    eventually("the gateway serves again", async || Ok((client::get(&theatre.page("/users/")).await?.status == 200).then_some(()))).await?;
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_brings_rules_back_from_every_door() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let (first, second) = (theatre.api("ctx1").await?, theatre.api("ctx2").await?);
    let baseline =
        (first.virtual_service("user-service-vs").await?["spec"].clone(), first.virtual_service("movie-service-vs").await?["spec"].clone());
    for door in ["command", "operator", "page"] {
        first.delete_virtual_service("user-service-vs").await?;
        let weight = json!([{"op": "replace", "path": "/spec/http/1/route/0/weight", "value": 99}, {"op": "replace", "path": "/spec/http/1/route/1/weight", "value": 1}]);
        second.patch_virtual_service("movie-service-vs", &weight).await?;
        match door {
            "command" => {
                let changed = theatre.mesh().json(&["reset"])?;
                let what: Vec<_> =
                    changed.as_array().unwrap().iter().map(|change| (&change["cluster"], &change["name"], &change["what"])).collect();
                let ctx = (
                    json!("ctx1"),
                    json!("ctx2"),
                    json!("user-service-vs"),
                    json!("movie-service-vs"),
                    json!("created"),
                    json!("configured"),
                );
                assert_eq!(what, [(&ctx.0, &ctx.2, &ctx.4), (&ctx.1, &ctx.3, &ctx.5)]);
            }
            "operator" => assert_eq!(client::post(&theatre.operator("/api/v1/reset"), &[], &json!({})).await?.status, 200),
            _ => assert_eq!(client::post(&theatre.page("/api/v1/reset"), &[], &json!({})).await?.status, 200),
        }
        for api in [&first, &second] {
            assert_eq!(api.virtual_service("user-service-vs").await?["spec"], baseline.0, "{door}");
            assert_eq!(api.virtual_service("movie-service-vs").await?["spec"], baseline.1, "{door}");
        }
    }
    let output = theatre.mesh().smov(&["reset"])?;
    assert!(output.status.success());
    theatre.end()
}
