//! `starlog topology`.

use client::{AgentTopology, MemberTopology, Topology, WitnessTopology};
use serde::Serialize;

use crate::cli::brokers::{Broker, ask_each};
use crate::cli::failure::{Failure, Stop};
use crate::cli::output::{Alignment, Table, printable};
use crate::cli::pair::short;
use crate::cli::session::Session;

/// Prints what each broker knows: stores and their members, services, its witness.
///
/// # Errors
/// [`Stop`] when no broker answers.
pub fn run(session: &Session) -> Result<(), Stop> {
    let brokers = ask_each(session)?;
    if let Some(error) = all_silent(&brokers) {
        return Err(error.into());
    }
    let report = Report { brokers: brokers.iter().map(BrokerLine::new).collect() };
    session.printer().document(&report, || to_table(&brokers))
}

/// The first broker's error, if none has answered.
fn all_silent(brokers: &[Broker]) -> Option<Failure> {
    let answered = brokers.iter().any(|broker| broker.answer.is_ok());
    let first = brokers.first().filter(|_| !answered)?;
    first.answer.as_ref().err().map(|error| error.clone().into())
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    brokers: Vec<BrokerLine<'a>>,
}

#[derive(Debug, Serialize)]
struct BrokerLine<'a> {
    /// Where it was asked.
    endpoint: &'a str,
    /// Why it says nothing; null if it does.
    error: Option<String>,
    /// What it knows.
    #[serde(flatten)]
    topology: Option<&'a Topology>,
}

impl<'a> BrokerLine<'a> {
    fn new(broker: &'a Broker) -> Self {
        Self {
            endpoint: broker.endpoint.as_str(),
            error: broker.answer.as_ref().err().map(ToString::to_string),
            topology: broker.answer.as_ref().ok(),
        }
    }
}

fn to_table(brokers: &[Broker]) -> String {
    let sections = brokers.iter().map(|Broker { endpoint, answer }| match answer {
        Err(_) => format!("broker {endpoint} does not answer\n"),
        Ok(topology) => {
            let id = topology.broker.to_string();
            let mut text = format!("broker {endpoint} ({}){}\n", short(&id), version(topology));
            text.push_str(&stores_table(topology));
            if !topology.services.is_empty() {
                text.push('\n');
                text.push_str(&services_table(topology));
            }
            if !topology.agents.is_empty() {
                text.push('\n');
                text.push_str(&agents_table(topology));
            }
            if let Some(witness) = &topology.witness {
                text.push('\n');
                text.push_str(&witness_table(witness));
            }
            text
        }
    });
    sections.collect::<Vec<_>>().join("\n")
}

fn stores_table(topology: &Topology) -> String {
    use Alignment::{Left, Right};
    if topology.stores.is_empty() {
        return "no store is registered\n".to_owned();
    }
    let mut table = Table::new(&[
        ("STORE", Left),
        ("PARTITION", Right),
        ("NODE", Left),
        ("ROLE", Left),
        ("EPOCH", Right),
        ("LINEAGE", Left),
        ("DURABILITY", Left),
        ("FEED", Left),
        ("REPLAY", Left),
        ("HEARD", Right),
    ]);
    for store in &topology.stores {
        for partition in 0..store.partitions {
            let place = [store.name.clone(), partition.to_string()];
            let of_partition = |member: &&MemberTopology| member.partition == partition;
            let mut members: Vec<_> = store.members.iter().filter(of_partition).collect();
            members.sort_by_key(|member| (!member.leader, member.incarnation));
            if members.is_empty() {
                table.row(place.into_iter().chain(["(none)".to_owned()]));
                continue;
            }
            for member in members {
                table.row(place.iter().cloned().chain([
                    short(&member.incarnation.to_string()).to_owned(),
                    if member.leader { "leader" } else { "follower" }.to_owned(),
                    member.epoch.to_string(),
                    short(&member.lineage.to_string()).to_owned(),
                    member.durability.clone(),
                    member.feed.clone(),
                    member.replay.clone(),
                    ago(Some(member.alive_ms)),
                ]));
            }
        }
    }
    table.render()
}

fn services_table(topology: &Topology) -> String {
    use Alignment::{Left, Right};
    let mut table = Table::new(&[("SERVICE", Left), ("WORKERS", Right), ("WAITING", Right)]);
    for service in &topology.services {
        let (workers, waiting) = (service.workers.to_string(), service.waiting.to_string());
        table.row([service.name.clone(), workers, waiting]);
    }
    table.render()
}

/// Programs that are connected, each with its version.
fn agents_table(topology: &Topology) -> String {
    use Alignment::{Left, Right};
    let mut table = Table::new(&[("PROGRAM", Left), ("VERSION", Left), ("CONNECTED", Right)]);
    for AgentTopology { agent, connections } in &topology.agents {
        let (name, version) = agent.split_once('/').unwrap_or((agent, "?"));
        table.row([name.to_owned(), version.to_owned(), connections.to_string()]);
    }
    table.render()
}

/// Brokers of old did not say it.
fn version(topology: &Topology) -> String {
    match topology.version.as_str() {
        "" => String::new(),
        version => format!(", version {}", printable(version)),
    }
}

fn witness_table(witness: &WitnessTopology) -> String {
    use Alignment::{Left, Right};
    let mut text = format!("witness {}", witness.endpoint);
    if let Some(reason) = &witness.stopped {
        text.push_str(&format!(", which decides nothing: {reason}"));
    }
    text.push('\n');
    if witness.pairs.is_empty() {
        return text;
    }
    let mut table = Table::new(&[
        ("PAIR", Left),
        ("EPOCH", Right),
        ("NODE", Left),
        ("ROLE", Left),
        ("MEMBER", Left),
        ("DECIDES", Left),
        ("HEARD", Right),
    ]);
    for pair in &witness.pairs {
        for node in &pair.nodes {
            let leads = pair.leader == Some(node.incarnation);
            table.row([
                short(&pair.lineage.to_string()).to_owned(),
                pair.epoch.to_string(),
                short(&node.incarnation.to_string()).to_owned(),
                if leads { "leader" } else { "follower" }.to_owned(),
                if node.member { "yes" } else { "no" }.to_owned(),
                if pair.ready { "yes" } else { "no" }.to_owned(),
                ago(node.heard_ms),
            ]);
        }
    }
    text.push_str(&table.render());
    text
}

fn ago(heard_ms: Option<u64>) -> String {
    heard_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms ago"))
}

#[cfg(test)]
mod tests {
    use client::{
        LookupError, PairTopology, ServiceTopology, StoreTopology, Unavailable, WitnessedNode,
    };
    use uuid::Uuid;

    use super::*;
    use crate::cli::exit;

    fn silent(endpoint: &str) -> Broker {
        let waited = std::time::Duration::from_secs(1);
        let unavailable = Unavailable { brokers: vec![endpoint.to_owned()], waited };
        let answer = Err(LookupError::Unavailable(unavailable));
        Broker { endpoint: endpoint.parse().unwrap(), answer }
    }

    fn answering() -> Broker {
        let member = |incarnation, leader| MemberTopology {
            partition: 0,
            leader,
            epoch: 3,
            incarnation: Uuid::from_u128(incarnation),
            lineage: Uuid::nil(),
            durability: "pair".into(),
            feed: "tcp://127.0.0.1:2".into(),
            replay: "tcp://127.0.0.1:1".into(),
            alive_ms: 35,
        };
        let members = vec![member(1, false), member(2, true)];
        let store = StoreTopology { name: "orders".into(), partitions: 2, members };
        let node = |incarnation, heard_ms| WitnessedNode {
            incarnation: Uuid::from_u128(incarnation),
            member: true,
            heard_ms,
        };
        let pair = PairTopology {
            lineage: Uuid::nil(),
            epoch: 3,
            leader: Some(Uuid::from_u128(2)),
            nodes: vec![node(1, None), node(2, Some(20))],
            ready: true,
        };
        let witness = WitnessTopology {
            endpoint: "tcp://127.0.0.1:7410".into(),
            pairs: vec![pair],
            ..Default::default()
        };
        let topology = Topology {
            stores: vec![store],
            version: "9.8.7".into(),
            agents: vec![AgentTopology { agent: "starlog-titanic/9.8.6".into(), connections: 2 }],
            services: vec![ServiceTopology { name: "echo".into(), workers: 2, waiting: 1 }],
            witness: Some(witness),
            ..Topology::default()
        };
        Broker { endpoint: "tcp://127.0.0.1:7400".parse().unwrap(), answer: Ok(topology) }
    }

    #[test]
    fn everything_that_a_broker_knows_is_shown() {
        let table = to_table(&[answering(), silent("tcp://127.0.0.1:7401")]);
        let lines: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        let has = |words: &[&str]| {
            assert!(lines.iter().any(|line| line.starts_with(words)), "{words:?}:\n{table}");
        };
        has(&["broker", "tcp://127.0.0.1:7400", "(00000000),", "version", "9.8.7"]);
        has(&["starlog-titanic", "9.8.6", "2"]);
        has(&["orders", "0", "00000000", "leader", "3", "00000000", "pair"]);
        has(&["orders", "1", "(none)"]);
        has(&["echo", "2", "1"]);
        has(&["witness", "tcp://127.0.0.1:7410"]);
        has(&["00000000", "3", "00000000", "follower", "yes", "yes", "never"]);
        has(&["broker", "tcp://127.0.0.1:7401", "does", "not", "answer"]);
        let place = |role| lines.iter().position(|line| line.get(3) == Some(&role)).unwrap();
        assert!(place("leader") < place("follower"), "the leader stands first:\n{table}");
    }

    #[test]
    fn as_json_it_is_what_the_broker_said_beside_its_endpoint() {
        let brokers = [answering(), silent("tcp://127.0.0.1:7401")];
        let report = Report { brokers: brokers.iter().map(BrokerLine::new).collect() };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["brokers"][0]["stores"][0]["members"][1]["leader"], true);
        assert_eq!(json["brokers"][0]["error"], serde_json::Value::Null);
        assert!(json["brokers"][1]["error"].as_str().unwrap().contains("no broker answered"));
        assert_eq!(json["brokers"][1].get("stores"), None);
    }

    #[test]
    fn one_answer_is_enough() {
        assert_eq!(all_silent(&[silent("tcp://127.0.0.1:1"), answering()]), None);
        let failure = all_silent(&[silent("tcp://127.0.0.1:1")]).unwrap();
        assert_eq!(failure.exit_code(), exit::UNAVAILABLE);
    }
}
