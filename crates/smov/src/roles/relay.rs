//! `smov relay`: a TCP relay, told where in the words of `socat`, whose image the original sample uses to reach the other cloud's Redis.
//!
//! Only `tcp-listen:PORT` and `tcp-connect:HOST:PORT` are known. In a pod of ours the listening side is the app's socket, and the Service that is called
//! is reached through the pod's own sidecar.

use std::path::PathBuf;

use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::failure::Outcome;
use crate::roles::cannot_start;

/// Where a relay listens and where it leads.
#[derive(Debug, PartialEq, Eq)]
struct Relay {
    port: u16,
    host: String,
    target: u16,
}

/// Runs the relay until it is told to stop.
pub(crate) fn run(words: &[String]) -> Outcome {
    super::log_of_pod();
    let relay = Relay::parse(words).map_err(|reason| cannot_start(&reason))?;
    super::runtime(false).block_on(async {
        let shutdown = crate::shutdown::of_pod().map_err(|error| cannot_start(&error))?;
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let target = relay.door(variable).map_err(|reason| cannot_start(&reason))?;
        tracing::info!(target, "relays");
        match variable("SMOV_APP_SOCKET").map(PathBuf::from) {
            Some(socket) => serve_socket(&UnixListener::bind(&socket).map_err(|error| cannot_start(&error))?, &target, &shutdown).await,
            None => {
                serve_port(&TcpListener::bind(("0.0.0.0", relay.port)).await.map_err(|error| cannot_start(&error))?, &target, &shutdown)
                    .await;
            }
        }
        Ok(())
    })
}

impl Relay {
    /// From `socat tcp-listen:6379,fork,reuseaddr tcp-connect:redis:6379`.
    fn parse(words: &[String]) -> Result<Self, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "socat").collect();
        let [listen, connect] = words.as_slice() else {
            return Err(format!("a relay is told two addresses, tcp-listen:PORT and tcp-connect:HOST:PORT, not {words:?}"));
        };
        let address = |word: &str, kinds: &[&str]| {
            let (kind, rest) = word.split_once(':')?;
            let rest = rest.split(',').next().unwrap_or(rest);
            kinds.contains(&kind.to_ascii_lowercase().as_str()).then(|| rest.to_owned())
        };
        let wrong = |word: &str| format!("`{word}` is no address of a relay: tcp-listen:PORT, tcp-connect:HOST:PORT");
        let port =
            address(listen, &["tcp-listen", "tcp4-listen", "tcp-l"]).and_then(|port| port.parse().ok()).ok_or_else(|| wrong(listen))?;
        let target = address(connect, &["tcp-connect", "tcp4-connect", "tcp", "tcp4"]);
        let (host, target) = target
            .as_deref()
            .and_then(|text| text.rsplit_once(':'))
            .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
            .ok_or_else(|| wrong(connect))?;
        Ok(Self { port, host, target })
    }

    /// Where the host is dialled: the variables that Kubernetes gives each pod for a Service of its namespace, else the name itself.
    fn door(&self, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut labels = self.host.split('.');
        let service = labels.next().unwrap_or_default().to_ascii_uppercase().replace('-', "_");
        let own = labels.next().is_none_or(|namespace| variable("POD_NAMESPACE").is_none_or(|own| own == namespace));
        let (host, port) = (variable(&format!("{service}_SERVICE_HOST")), variable(&format!("{service}_SERVICE_PORT")));
        match (host, port) {
            (Some(host), Some(port)) if own => Ok(format!("{host}:{port}")),
            // A pod of ours has no names but those of its Services.
            _ if variable("SMOV_APP_SOCKET").is_some() => {
                Err(format!("there was no Service `{}` when this pod started; delete the pod once there is", self.host))
            }
            _ => Ok(format!("{}:{}", self.host, self.target)),
        }
    }
}

async fn serve_socket(listener: &UnixListener, target: &str, shutdown: &CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => if let Ok((stream, _)) = accepted { carry(stream, target, shutdown) },
        }
    }
}

async fn serve_port(listener: &TcpListener, target: &str, shutdown: &CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => if let Ok((stream, _)) = accepted { carry(stream, target, shutdown) },
        }
    }
}

/// Both directions until both have ended, or the relay does.
fn carry(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    target: &str,
    shutdown: &CancellationToken,
) {
    let (target, shutdown) = (target.to_owned(), shutdown.clone());
    tokio::spawn(async move {
        let carried = async {
            let mut upstream = TcpStream::connect(&target).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut upstream).await
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            ended = carried => if let Err(error) = ended { tracing::debug!(target, %error, "a connection ended") },
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_words_of_socat_are_understood_and_others_refused() {
        let relay =
            Relay::parse(&words("socat tcp-listen:6379,fork,reuseaddr tcp-connect:redis.theater-msa.svc.cluster.local:6379")).unwrap();
        assert_eq!(relay, Relay { port: 6379, host: "redis.theater-msa.svc.cluster.local".to_owned(), target: 6379 });
        for wrong in ["socat", "socat tcp-listen:x tcp-connect:a:1", "socat exec:sh tcp-connect:a:1", "socat tcp-listen:1 tcp-connect:a"] {
            assert!(Relay::parse(&words(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_service_of_the_namespace_is_reached_through_the_pods_own_door() {
        let relay = Relay { port: 1, host: "redis.theater-msa.svc.cluster.local".to_owned(), target: 6379 };
        let pod = |name: &str| match name {
            "REDIS_SERVICE_HOST" => Some("127.9.1.4".to_owned()),
            "REDIS_SERVICE_PORT" => Some("16000".to_owned()),
            "POD_NAMESPACE" => Some("theater-msa".to_owned()),
            _ => None,
        };
        assert_eq!(relay.door(pod).as_deref(), Ok("127.9.1.4:16000"));
        assert_eq!(relay.door(|_| None).as_deref(), Ok("redis.theater-msa.svc.cluster.local:6379"));
        let elsewhere =
            |name: &str| (name == "POD_NAMESPACE").then(|| "other".to_owned()).or_else(|| pod(name).filter(|_| name != "POD_NAMESPACE"));
        assert_eq!(relay.door(elsewhere).as_deref(), Ok("redis.theater-msa.svc.cluster.local:6379"));
        assert!(relay.door(|name| (name == "SMOV_APP_SOCKET").then(|| "s".to_owned())).is_err());
    }
}
