//! When to stop: a signal, or the end of the process that started us.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by SIGTERM or SIGINT.
pub(crate) fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(token)
}

/// The same for a pod's process; in a pod of ours, the end of standard input means that the kubelet is gone.
pub(crate) fn of_pod() -> std::io::Result<CancellationToken> {
    let token = on_signal()?;
    if std::env::var_os("SMOV_ROOT").is_some() {
        std::thread::Builder::new().name("stdin".to_owned()).stack_size(64 << 10).spawn(move || {
            use std::io::Read;
            let mut nothing = [0_u8; 64];
            while matches!(std::io::stdin().read(&mut nothing), Ok(count) if count > 0) {}
            // Nobody is left who could ask for an orderly end.
            std::process::exit(0);
        })?;
    }
    Ok(token)
}
