//! smov: a service mesh you can watch. The one binary: command line, wiring, and the roles that pods run.
//!
//! ```text
//! smov up ──► mesh/      API servers, controllers, kubelets, operator door
//! smov app|proxy|control ──► roles/     what the kubelets start
//! smov get|apply|load … ──► commands/   clients of the running mesh
//! ```
//!
//! Read first: [`cli`], then [`mesh::up`].

mod cli;
mod commands;
mod console;
mod duration;
mod failure;
mod http;
mod ids;
mod kube_api;
mod kustomize;
mod mesh;
mod printer;
mod roles;
mod scenario;
mod shutdown;
mod text;
mod three_way;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use failure::Outcome;
use text::Language;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Shim { parent, tty, command } = &cli.command {
        return roles::shim::run(*parent, *tty, command);
    }
    // One cryptography provider for every TLS user of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let language = Language::of_process(cli.global.lang);
    match run(&cli, language) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(language),
    }
}

fn run(cli: &Cli, language: Language) -> Outcome {
    let global = &cli.global;
    match &cli.command {
        Command::Shim { .. } => unreachable!("the shim ran before"),
        Command::Up(up) => mesh::up::run(global, up, language),
        Command::App { app } => roles::app::run(*app),
        Command::Proxy { gateway, data_plane } => roles::proxy::run(*gateway, *data_plane),
        Command::Control => roles::control::run(),
        Command::Relay { addresses } => roles::relay::run(addresses),
        Command::Doctor { port } => commands::doctor::run(global, *port, language),
        Command::Kubeconfig { raw } => commands::running::kubeconfig(global, *raw),
        Command::Env => commands::running::env(global),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "smov", &mut std::io::stdout());
            Ok(())
        }
        Command::Man { folder } => clap_mangen::generate_to(Cli::command(), folder)
            .map_err(|error| failure::Failure::new(failure::Exit::Usage, text::BAD_FILE, &[&folder.display(), &error])),
        Command::Validate(validate) => commands::validate::run(global, validate, language),
        Command::Explain(explain) => wait_for(commands::explain::run(global, explain, language)),
        Command::Down => wait_for(commands::running::down(global, language)),
        Command::Status => wait_for(commands::running::status(global, language)),
        Command::Get(get) => wait_for(commands::get::run(global, get)),
        Command::Apply(apply) => wait_for(commands::apply::run(global, apply)),
        Command::Logs(logs) => wait_for(commands::logs::run(global, logs)),
        Command::Link(link) => wait_for(commands::link::run(global, link, language)),
        Command::Scenario(scenario) => wait_for(commands::scenario::run(global, scenario, language)),
        Command::Glossary(glossary) => commands::glossary::run(global, glossary, language),
        Command::Reset => wait_for(commands::reset::run(global, language)),
        Command::Test(test) => commands::test::run(global, test, language),
        Command::Request(request) => wait_for(commands::request::run(global, request)),
        Command::Load(load) => wait_for(commands::load::run(global, load, language)),
    }
}

/// Runs a command on a small runtime of its own.
fn wait_for(command: impl Future<Output = Outcome>) -> Outcome {
    roles::runtime(false).block_on(command)
}
