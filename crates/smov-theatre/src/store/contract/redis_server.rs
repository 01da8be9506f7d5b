//! A real `redis-server` in a folder of its own, on a unix socket.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Ends with its test.
pub(super) struct RedisServer {
    program: PathBuf,
    folder: TempDir,
    child: Child,
}

impl RedisServer {
    /// None, with a word about it, on a machine without one.
    pub(super) async fn start() -> Option<Self> {
        let Some(program) = find() else {
            let required = std::env::var("SMOV_REQUIRE").unwrap_or_default();
            assert!(!required.contains("redis"), "SMOV_REQUIRE names redis, but there is no redis-server");
            println!("skipped: redis-server not found (set SMOV_REQUIRE=redis to fail)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(&program, &folder);
        let server = Self { program, folder, child };
        server.answers().await;
        Some(server)
    }

    pub(super) fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("redis.sock").display())
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) async fn start_again(&mut self) {
        self.child = spawn(&self.program, &self.folder);
        self.answers().await;
    }

    pub(super) async fn set(&self, key: &str, value: &str) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("SET").arg(key).arg(value).exec_async(&mut connection).await.unwrap();
    }

    /// Waits until it has loaded its file.
    async fn answers(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let began = Instant::now();
        loop {
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && redis::cmd("PING").exec_async(&mut connection).await.is_ok()
            {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    ["redis-server", "valkey-server"]
        .iter()
        .find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file()))
}

fn spawn(program: &PathBuf, folder: &TempDir) -> Child {
    Command::new(program)
        .args(["--port", "0", "--unixsocket", "redis.sock", "--appendonly", "yes", "--appendfsync", "always", "--save", ""])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
