//! Pods and Deployments through the API servers: what kubectl does with `top`, `logs`, `delete`, `rollout restart` and `scale`.

use std::fmt::Display;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use smov_cluster::kinds::{DEPLOYMENT, POD};
use smov_cluster::quantity::billionths;
use smov_console::ports::workloads::{
    Ability, Action, Done, LogQuery, LogStream, ObjectRef, UsageOfCluster, UsageOfContainer, UsageOfNode, UsageOfPod, UsageView, Workloads,
};
use smov_console::problem::Problem;

use super::restore::{self, RESTORE};
use crate::kube_api::{CallError, Cluster};

/// How long an API server may take over one call.
const PATIENCE: Duration = Duration::from_secs(10);

/// The clusters of a kubeconfig, or those that a pod may call.
#[derive(Clone)]
pub(crate) struct MeshWorkloads {
    pub(crate) clusters: Vec<Cluster>,
    /// Are they smov's own? Real ones have no call that kills a process.
    pub(crate) local: bool,
}

impl MeshWorkloads {
    fn cluster(&self, name: &str) -> Result<Cluster, Problem> {
        self.clusters.iter().find(|cluster| cluster.name == name).cloned().ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "NoSuchCluster",
                "이 콘솔이 다룰 수 있는 클러스터가 아닙니다",
                "This console has no access to such a cluster",
            )
            .with_detail(name.to_owned())
        })
    }

    async fn act(self, target: ObjectRef, action: Action) -> Result<Done, Problem> {
        let cluster = self.cluster(&target.cluster)?;
        let ObjectRef { namespace, name, .. } = &target;
        let pod = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let done = match action {
            Action::Delete { grace } => {
                let options = grace.map(|grace| json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": grace }));
                within(cluster.ask(Method::DELETE, &pod, options.as_ref())).await.map(|_| None)
            }
            Action::Kill { container } => self.kill(&cluster, &target, &pod, &container).await.map(|()| None),
            Action::Restart => {
                let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let note = json!({ "kubectl.kubernetes.io/restartedAt": at });
                let patch = json!({ "spec": { "template": { "metadata": { "annotations": note } } } });
                within(cluster.patch(&DEPLOYMENT, namespace, name, &patch)).await.map(|_| None)
            }
            Action::Scale { replicas, restore_after_s } => scale(&cluster, namespace, name, replicas, restore_after_s).await,
        };
        Ok(Done { restore_at: done? })
    }

    async fn kill(&self, cluster: &Cluster, target: &ObjectRef, pod: &str, container: &str) -> Result<(), Problem> {
        let not_here = || {
            Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "NotHere",
                "Kubernetes에는 컨테이너의 프로세스를 바로 죽이는 호출이 없습니다. 파드 삭제를 쓰세요",
                "Kubernetes has no call that kills a container's process; delete the pod instead",
            )
        };
        if !self.local {
            return Err(not_here());
        }
        let plain = container.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if container.is_empty() || !plain {
            return Err(bad_container(container));
        }
        match within(cluster.ask(Method::POST, &format!("{pod}/kill?container={container}"), Some(&json!({})))).await {
            Err(problem) if problem.status == StatusCode::NOT_FOUND => {
                let there = within(cluster.get(&POD, &target.namespace, &target.name)).await?.is_some();
                Err(if there { not_here() } else { problem })
            }
            other => other.map(drop),
        }
    }

    async fn usage_of(cluster: Cluster) -> (UsageOfCluster, Vec<UsageOfPod>, Vec<UsageOfNode>) {
        let metrics = "/apis/metrics.k8s.io/v1beta1";
        let (pods_path, nodes_path) = (format!("{metrics}/pods"), format!("{metrics}/nodes"));
        let (pods, nodes) =
            tokio::join!(within(cluster.ask(Method::GET, &pods_path, None)), within(cluster.ask(Method::GET, &nodes_path, None)));
        let name = cluster.name;
        match (pods, nodes) {
            (Ok(pods), Ok(nodes)) => (
                UsageOfCluster { name: name.clone(), measured: true, reason: None },
                items(&pods).map(|pod| of_pod(&name, pod)).collect(),
                items(&nodes).map(|node| of_node(&name, node)).collect(),
            ),
            (Err(problem), _) | (_, Err(problem)) => {
                let reason = problem.detail.unwrap_or(problem.reason.text_en);
                (UsageOfCluster { name, measured: false, reason: Some(reason) }, Vec::new(), Vec::new())
            }
        }
    }

    async fn ability(self, cluster: Cluster, namespace: String) -> Ability {
        let may = async |verb: &str, group: &str, resource: &str, subresource: &str| {
            let asked = json!({ "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource });
            let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": asked } });
            let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
            within(cluster.ask(Method::POST, path, Some(&review))).await.ok()?["status"]["allowed"].as_bool()
        };
        let (delete, kill, change, logs) = tokio::join!(
            may("delete", "", "pods", ""),
            async { if self.local { may("create", "", "pods", "kill").await } else { Some(false) } },
            may("patch", "apps", "deployments", ""),
            may("get", "", "pods", "log")
        );
        Ability { cluster: cluster.name.clone(), namespace: namespace.clone(), delete, kill, change, logs }
    }
}

impl Workloads for MeshWorkloads {
    fn usage(&self) -> BoxFuture<'static, UsageView> {
        let clusters = self.clusters.clone();
        async move {
            let mut view = UsageView::default();
            for (cluster, pods, nodes) in join_all(clusters.into_iter().map(Self::usage_of)).await {
                view.clusters.push(cluster);
                view.pods.extend(pods);
                view.nodes.extend(nodes);
            }
            view
        }
        .boxed()
    }

    fn abilities(&self, namespaces: Vec<String>) -> BoxFuture<'static, Vec<Ability>> {
        let asked: Vec<_> = self
            .clusters
            .iter()
            .flat_map(|cluster| namespaces.iter().map(|namespace| self.clone().ability(cluster.clone(), namespace.clone())))
            .collect();
        join_all(asked).boxed()
    }

    fn act(&self, target: ObjectRef, action: Action) -> BoxFuture<'static, Result<Done, Problem>> {
        self.clone().act(target, action).boxed()
    }

    fn logs(&self, pod: ObjectRef, query: LogQuery) -> BoxFuture<'static, Result<LogStream, Problem>> {
        let cluster = self.cluster(&pod.cluster);
        async move {
            let cluster = cluster?;
            let mut path = format!("/api/v1/namespaces/{}/pods/{}/log?", pod.namespace, pod.name);
            if let Some(container) = &query.container {
                if !container.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
                    return Err(bad_container(container));
                }
                path += &format!("container={container}&");
            }
            if let Some(tail) = query.tail {
                path += &format!("tailLines={tail}&");
            }
            for (name, flag) in [("follow", query.follow), ("previous", query.previous)] {
                if flag == Some(1) {
                    path += &format!("{name}=true&");
                }
            }
            within(cluster.text(&path)).await
        }
        .boxed()
    }
}

fn bad_container(name: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "BadRequest", "컨테이너 이름이 아닙니다", "That is no name of a container")
        .with_detail(name.to_owned())
}

/// Wants so many pods; with a time, promises at the object to go back to what it wanted before.
async fn scale(cluster: &Cluster, namespace: &str, name: &str, replicas: u32, after_s: Option<u32>) -> Result<Option<u64>, Problem> {
    let object = within(cluster.get(&DEPLOYMENT, namespace, name)).await?;
    let object = object.ok_or_else(|| {
        problem(&CallError::Refused { code: 404, message: format!("deployments.apps \"{name}\" not found"), causes: Vec::new() })
    })?;
    let at = after_s.map(restore::moment);
    let present = object["spec"]["replicas"].as_u64().unwrap_or(1);
    let back = restore::of_deployment(&object).map_or(present, |earlier| u64::from(earlier.replicas));
    let note = at.map(|at| json!({ "replicas": back, "at": at }).to_string());
    let patch = json!({ "metadata": { "annotations": { RESTORE: note } }, "spec": { "replicas": replicas } });
    within(cluster.patch(&DEPLOYMENT, namespace, name, &patch)).await?;
    Ok(at)
}

/// The answer in time, or the problem in words.
async fn within<T>(call: impl Future<Output = Result<T, CallError>>) -> Result<T, Problem> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(|error| problem(&error)),
        Err(_) => Err(away(&format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

fn away(detail: &impl Display) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, "ApiServer", "API 서버가 답하지 않습니다", "The API server does not answer")
        .with_detail(detail.to_string())
}

fn problem(error: &CallError) -> Problem {
    let CallError::Refused { code, message, .. } = error else { return away(error) };
    let (status, code, ko, en) = match code {
        401 | 403 => (
            StatusCode::FORBIDDEN,
            "NotAllowed",
            "이 콘솔의 서비스 계정에는 권한이 없습니다. 운영자 문이나 kubectl을 쓰거나 k8s/components/console-write를 적용하세요",
            "The service account of this console may not do that; use the operator door or kubectl, or apply k8s/components/console-write",
        ),
        404 => (StatusCode::NOT_FOUND, "Gone", "더 이상 없는 대상입니다", "There is no such object any more"),
        409 => (StatusCode::CONFLICT, "Conflict", "그 사이에 다른 사람이 바꾸었습니다", "Somebody else changed it meanwhile"),
        400 | 422 => (StatusCode::UNPROCESSABLE_ENTITY, "Refused", "API 서버가 받아들이지 않았습니다", "The API server did not accept it"),
        _ => (StatusCode::BAD_GATEWAY, "ApiServer", "API 서버가 처리하지 못했습니다", "The API server could not do it"),
    };
    Problem::new(status, code, ko, en).with_detail(message.clone())
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn millicores(usage: &Value) -> f64 {
    usage["cpu"].as_str().and_then(billionths).map_or(0.0, |number| (number as f64 / 1e5).round() / 10.0)
}

fn bytes(usage: &Value) -> u64 {
    usage["memory"].as_str().and_then(billionths).and_then(|number| u64::try_from(number / 1_000_000_000).ok()).unwrap_or(0)
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}

fn of_pod(cluster: &str, pod: &Value) -> UsageOfPod {
    let containers: Vec<UsageOfContainer> = pod["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|container| UsageOfContainer {
            name: container["name"].as_str().unwrap_or_default().to_owned(),
            cpu_millicores: millicores(&container["usage"]),
            memory_bytes: bytes(&container["usage"]),
        })
        .collect();
    UsageOfPod {
        cluster: cluster.to_owned(),
        namespace: text(pod, "namespace"),
        name: text(pod, "name"),
        cpu_millicores: (containers.iter().map(|container| container.cpu_millicores).sum::<f64>() * 10.0).round() / 10.0,
        memory_bytes: containers.iter().map(|container| container.memory_bytes).sum(),
        containers,
    }
}

fn of_node(cluster: &str, node: &Value) -> UsageOfNode {
    UsageOfNode {
        cluster: cluster.to_owned(),
        name: text(node, "name"),
        cpu_millicores: millicores(&node["usage"]),
        memory_bytes: bytes(&node["usage"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_the_sum_of_the_containers() {
        let pod = json!({"metadata": {"namespace": "n", "name": "p"}, "containers": [
            {"name": "app", "usage": {"cpu": "12500000n", "memory": "2Mi"}}, {"name": "istio-proxy", "usage": {"cpu": "1m", "memory": "1024Ki"}}]});
        let usage = of_pod("ctx1", &pod);
        assert_eq!((usage.cpu_millicores, usage.memory_bytes, usage.containers[0].cpu_millicores), (13.5, 3 << 20, 12.5));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = problem(&CallError::Refused { code: 403, message: "pods is forbidden".into(), causes: Vec::new() });
        assert_eq!((refused.status, refused.reason.code.as_str()), (StatusCode::FORBIDDEN, "NotAllowed"));
        assert!(refused.reason.text_ko.contains("console-write"));
    }
}
