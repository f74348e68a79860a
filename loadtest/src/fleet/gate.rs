//! tollgate before the stand-in: one replica with the embedded store, or several with Redis.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use tollgate::secret::{AgentKey, hex};

use super::github::GitHub;
use super::plan::Plan;
use crate::replicas::process::{Replica, write_private};
use crate::replicas::redis::{Server, free_port};

/// Replicas, and what they share. Dropped, they are gone.
#[derive(Debug)]
pub(crate) struct Gate {
    replicas: Vec<Replica>,
    _store: Option<Server>,
    keys: Vec<AgentKey>,
}

impl Gate {
    pub(crate) async fn start(
        binary: &Path,
        directory: &Path,
        github: &GitHub,
        plan: &Plan,
        replicas: usize,
    ) -> anyhow::Result<Gate> {
        write_private(&directory.join("app.pem"), github.sim.private_key_pem())?;
        let keys: Vec<AgentKey> = plan.agents.iter().map(|agent| AgentKey::generate(&agent.name)).collect();
        let store = if replicas > 1 { Some(Server::start(&[]).await?) } else { None };
        let store_lines = store.as_ref().map_or("  store: memory\n".to_owned(), |server| {
            format!("  store: redis\n  redis: {{ url: {} }}\n", server.url())
        });
        let mut gate = Gate { replicas: Vec::new(), _store: store, keys };
        for place in 0..replicas {
            let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let addresses = (local(free_port()?), local(free_port()?));
            let config = directory.join(format!("replica-{place}.yaml"));
            write_private(&config, &configuration(addresses, &store_lines, github, plan, &gate.keys))?;
            let log = directory.join(format!("replica-{place}.log"));
            let replica = Replica::start(binary, config, addresses, log, String::new()).await?;
            gate.replicas.push(replica);
        }
        Ok(gate)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.replicas.iter().map(|replica| format!("http://{}", replica.address)).collect()
    }

    pub(crate) fn credentials(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.expose().to_owned()).collect()
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.replicas.iter().flat_map(Replica::complaints).collect()
    }
}

/// The file an operator would write. Limits by the minute are as published but for those that the
/// stand-in raised with its short window; a call may be held for as long as nginx's queue.
fn configuration(
    (address, admin): (SocketAddr, SocketAddr),
    store: &str,
    github: &GitHub,
    plan: &Plan,
    keys: &[AgentKey],
) -> String {
    let sim = &github.sim;
    let (api, uploads, app_id) = (sim.api_url(), sim.uploads_url(), sim.app_id());
    let most = plan.measures.by_the_minute();
    let (endpoint, graphql) = (most.endpoint * 9 / 10, most.graphql * 9 / 10);
    let total = 3 * endpoint;
    let mut file = format!(
        "server:\n  listen: {address}\n  admin_listen: {admin}\n\
         upstream:\n  api_url: {api}\n  uploads_url: {uploads}\n\
         apps:\n  - {{ name: bot, app_id: {app_id}, private_key_file: app.pem }}\n\
         budget:\n{store}  max_wait: 20s\n  secondary: {{ rest_points_per_minute: {endpoint}, \
         rest_points_per_minute_total: {total}, graphql_points_per_minute: {graphql}, content_per_hour: 4300 }}\n\
         policy:\n  approval: {{ mode: presence }}\n  audit_log: off\nagents:\n"
    );
    for (agent, key) in plan.agents.iter().zip(keys) {
        let (name, weight, hash) = (&agent.name, agent.class.weight(), hex(&key.sha256()));
        let _ = writeln!(
            file,
            "  - {{ name: {name}, key_sha256: \"{hash}\", weight: {weight}, repositories: [acme/*] }}"
        );
    }
    file
}
