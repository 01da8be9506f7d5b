//! `smov scenario`: lessons on the running mesh, or on the clusters of a kubeconfig, as an ordinary client of their API servers.

use serde_json::{Value, json};

use crate::cli::{Global, Output, ScenarioArguments, ScenarioCommand};
use crate::failure::{Exit, Failure, Outcome};
use crate::kube_api::{Cluster, clusters};
use crate::mesh::baseline::{Baseline, CLUSTERS};
use crate::mesh::link::ChangeError;
use crate::printer::{self, BOLD, CTX2, DIM, GOOD, paint};
use crate::scenario::change::{self, Done, ScenarioError};
use crate::scenario::observe::observe;
use crate::scenario::status::{State, Status, statuses};
use crate::scenario::{Both, RESET, Scenario, all, named};
use crate::text::{self, Language, Text};

/// Runs the command.
pub(crate) async fn run(global: &Global, arguments: &ScenarioArguments, language: Language) -> Outcome {
    let json = global.output == Output::Json;
    match &arguments.command {
        ScenarioCommand::Show { name } => {
            show(wanted(name)?, json, language);
            Ok(())
        }
        ScenarioCommand::List => {
            let (clusters, baseline) = connect(global, arguments).await?;
            list(&look(&clusters, &baseline).await, json, language);
            Ok(())
        }
        ScenarioCommand::Status => {
            let (clusters, baseline) = connect(global, arguments).await?;
            status(&look(&clusters, &baseline).await, json, language);
            Ok(())
        }
        ScenarioCommand::Apply { name } => {
            let scenario = wanted(name)?;
            let (clusters, baseline) = connect(global, arguments).await?;
            let done = change::apply(scenario, &baseline, &clusters).await.map_err(|error| failure(&error))?;
            told(scenario, &done, json, language);
            Ok(())
        }
        ScenarioCommand::Reset => {
            let (clusters, baseline) = connect(global, arguments).await?;
            let done = change::reset(&baseline, &clusters).await.map_err(|error| failure(&error))?;
            told(wanted(RESET)?, &done, json, language);
            Ok(())
        }
    }
}

fn wanted(name: &str) -> Result<&'static Scenario, Failure> {
    named(name).ok_or_else(|| {
        let names: Vec<&str> = all().iter().map(|scenario| scenario.name.as_str()).collect();
        Failure::new(Exit::Usage, text::SCENARIO_NONE, &[&name]).hint(text::SCENARIO_NONE_HINT, &[&names.join(", ")])
    })
}

async fn connect(global: &Global, arguments: &ScenarioArguments) -> Result<(Vec<Cluster>, Baseline), Failure> {
    let context = arguments.context.as_deref();
    let Some(kubeconfig) = &arguments.kubeconfig else {
        return Ok((super::connect(global, context).await?, Baseline::of_state(&global.state_dir)?));
    };
    let baseline = Baseline::of_clouds().map_err(|error| Failure::new(Exit::Usage, text::MANIFEST_BROKEN, &[&error]))?;
    let known =
        |cluster: &Cluster| CLUSTERS.iter().any(|local| local.name == cluster.name) && context.is_none_or(|name| name == cluster.name);
    let found: Vec<_> = clusters(kubeconfig).await.map_err(|error| super::unreachable(&error))?.into_iter().filter(known).collect();
    if found.is_empty() {
        let wanted = context.unwrap_or("ctx1, ctx2");
        return Err(Failure::new(Exit::Usage, text::UNKNOWN_CONTEXT, &[&wanted]).hint(text::UNKNOWN_CONTEXT_HINT, &[]));
    }
    Ok((found, baseline))
}

async fn look(clusters: &[Cluster], baseline: &Baseline) -> Vec<Status> {
    let names: Vec<String> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    statuses(&observe(clusters).await, baseline, &names)
}

fn failure(error: &ScenarioError) -> Failure {
    match error {
        ScenarioError::Call(error) | ScenarioError::Link(ChangeError::Call(error)) => super::unreachable(error),
        ScenarioError::Link(error) => Failure::new(Exit::Unreachable, text::PLAIN, &[error]),
        ScenarioError::NoLink => Failure::new(Exit::Usage, text::SCENARIO_NO_LINK, &[]).hint(text::LINK_NONE_HINT, &[]),
        ScenarioError::NotReady { cluster, deployment, wanted } => {
            Failure::new(Exit::Unreachable, text::SCENARIO_NOT_READY, &[cluster, deployment, wanted])
        }
        ScenarioError::Unreachable { cluster, why } => {
            Failure::new(Exit::Unreachable, text::SCENARIO_UNREACHABLE, &[cluster, why]).hint(text::NOT_RUNNING_HINT, &[])
        }
    }
}

fn of(language: Language, both: &Both) -> String {
    language.choose_of(&both.ko, &both.en).join(" · ")
}

fn word(state: State) -> Text {
    match state {
        State::Active => text::SCENARIO_ACTIVE,
        State::Partly => text::SCENARIO_PARTLY,
        State::Inactive => text::SCENARIO_INACTIVE,
        State::Unknown => text::SCENARIO_UNKNOWN,
    }
}

fn document(status: &Status) -> Value {
    let scenario = status.scenario;
    let differs: Vec<_> = status.differs.iter().map(|item| json!({ "cluster": item.cluster, "item": item.reference() })).collect();
    json!({ "name": scenario.name, "acts_on": scenario.acts_on, "title": scenario.title, "state": status.state, "differs": differs })
}

fn print_json(value: &Value) {
    printer::line(&serde_json::to_string_pretty(value).expect("JSON values serialise"));
}

fn list(found: &[Status], json: bool, language: Language) {
    if json {
        return print_json(&Value::from(found.iter().map(document).collect::<Vec<_>>()));
    }
    let mut rows = vec![["NAME", "ACTS ON", "STATE", "TITLE"].map(str::to_owned).to_vec()];
    for Status { scenario, state, .. } in found {
        let style = match state {
            State::Active => GOOD,
            State::Partly | State::Unknown => CTX2,
            State::Inactive => DIM,
        };
        let state = paint(style, &language.line(word(*state), &[]));
        rows.push(vec![scenario.name.clone(), scenario.acts_on.name().to_owned(), state, of(language, &scenario.title)]);
    }
    printer::table(&rows);
}

fn status(found: &[Status], json: bool, language: Language) {
    let there: Vec<&Status> = found.iter().filter(|status| status.state != State::Inactive).collect();
    if json {
        return print_json(&Value::from(there.into_iter().map(document).collect::<Vec<_>>()));
    }
    for Status { scenario, state, differs } in there {
        printer::line(&format!("{}  {}  {}", paint(BOLD, &scenario.name), language.line(word(*state), &[]), of(language, &scenario.title)));
        for item in differs {
            printer::wrapped(&format!("  {}", language.once(text::SCENARIO_DIFFERS, &[&item.cluster, &item.reference()])), 4);
        }
    }
}

fn show(scenario: &Scenario, json: bool, language: Language) {
    let clusters: Vec<String> = CLUSTERS.iter().map(|cluster| cluster.name.to_owned()).collect();
    let commands = scenario.commands(&clusters);
    if json {
        let files: Vec<_> = scenario
            .files
            .iter()
            .map(|file| json!({ "path": file.path, "cluster": file.cluster.as_deref().unwrap_or("both"), "yaml": file.yaml }))
            .collect();
        return print_json(&json!({
            "name": scenario.name, "acts_on": scenario.acts_on, "title": scenario.title, "text": scenario.text,
            "watch": scenario.watch, "files": files, "commands": commands,
        }));
    }
    printer::line(&paint(BOLD, &of(language, &scenario.title)));
    for sentence in language.choose_of(&scenario.text.ko, &scenario.text.en) {
        printer::wrapped(sentence, 0);
    }
    watch(scenario, language);
    if !commands.is_empty() {
        printer::line("");
        printer::line(&paint(BOLD, &language.line(text::SCENARIO_BY_HAND, &[])));
        commands.iter().for_each(|line| printer::line(&format!("  {line}")));
    }
    for file in &scenario.files {
        printer::line("");
        printer::line(&paint(DIM, &format!("# scenarios/{}", file.path)));
        printer::raw(&file.yaml);
    }
}

fn watch(scenario: &Scenario, language: Language) {
    printer::line("");
    printer::line(&paint(BOLD, &language.line(text::SCENARIO_WATCH, &[])));
    for sentence in &scenario.watch {
        for line in language.choose_of(&sentence.ko, &sentence.en) {
            printer::wrapped(&format!("  - {line}"), 4);
        }
    }
}

fn told(scenario: &Scenario, done: &Done, json: bool, language: Language) {
    if json {
        return print_json(&serde_json::to_value(done).expect("plain data serialises"));
    }
    for change in &done.changed {
        printer::line(&format!("{}  {} {}", change.cluster, change.item, change.what));
    }
    for left in &done.left {
        printer::note(&language.line(text::SCENARIO_LEFT, &[&left.cluster, &left.item]));
    }
    if !done.left.is_empty() {
        printer::hint(&language.line(text::SCENARIO_LEFT_HINT, &[]));
    }
    if scenario.name == RESET {
        printer::note(&language.line(text::SCENARIO_PUT_BACK, &[&done.changed.len().to_string()]));
        return;
    }
    if !done.was.is_empty() {
        printer::note(&language.line(text::SCENARIO_WAS, &[&done.was.join(", ")]));
    }
    let title = of(language, &scenario.title);
    if done.changed.is_empty() {
        printer::note(&language.line(text::SCENARIO_ALREADY, &[&title]));
        return;
    }
    printer::note(&language.line(text::SCENARIO_APPLIED, &[&title]));
    for sentence in &scenario.watch {
        for line in language.choose_of(&sentence.ko, &sentence.en) {
            printer::note(&format!("  - {line}"));
        }
    }
}
