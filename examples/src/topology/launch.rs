//! How each child is started.

use std::{ffi::OsString, path::PathBuf};

use broker::net::Endpoint;

use crate::{
    process::Launch,
    topology::{HOSTED, PARTITIONS, STORE},
    views::ProjectionName,
};

/// Name of the database in a projection host's folder.
pub(crate) const VIEWS_FILE: &str = "views.redb";

/// What to start.
#[derive(Debug, Clone)]
pub struct TopologyConfig {
    /// This program.
    pub program: PathBuf,
    /// Folder for everything that the children write.
    pub data: PathBuf,
    /// Where the broker listens.
    pub listen: Endpoint,
    /// Seed of the messages that are lost on purpose.
    pub seed: u64,
    /// About one feed message with records out of so many is lost; none if 0.
    pub drop_one_in: u64,
    /// Length of the stores' segment files, as `starlog-store --segment` takes it.
    pub segment_bytes: u32,
    /// What each projection host projects.
    pub projections: Vec<Vec<ProjectionName>>,
}

/// Sockets of a store process.
pub(super) struct StoreSockets {
    pub(super) listen: Endpoint,
    pub(super) feed: Endpoint,
    pub(super) announced_feed: Endpoint,
}

impl TopologyConfig {
    /// Folder of a projection host.
    #[must_use]
    pub fn host_folder(&self, index: usize) -> PathBuf {
        self.data.join(format!("host-{}", index + 1))
    }

    /// The database with the views of a projection host.
    #[must_use]
    pub fn host_views(&self, index: usize) -> PathBuf {
        self.host_folder(index).join(VIEWS_FILE)
    }

    pub(super) fn broker_launch(&self, listen: &Endpoint) -> Launch {
        let data = self.data.join("broker");
        self.launch(
            "broker",
            "broker",
            [("--listen", listen.as_str().into()), ("--data", data.into())],
        )
    }

    pub(super) fn store_launch(
        &self,
        index: usize,
        broker: &Endpoint,
        sockets: &StoreSockets,
    ) -> Launch {
        let name = format!("store-{}", index + 1);
        let hosted = HOSTED.get(index).cloned().unwrap_or(0..=0);
        let hosted = format!("{}-{}", hosted.start(), hosted.end());
        let arguments = [
            ("--broker", broker.as_str().into()),
            ("--data", self.data.join(&name).into()),
            ("--store", format!("{STORE}:{PARTITIONS}").into()),
            ("--host", hosted.into()),
            ("--segment", self.segment_bytes.to_string().into()),
            ("--listen", sockets.listen.as_str().into()),
            ("--feed", sockets.feed.as_str().into()),
            ("--advertise-feed", sockets.announced_feed.as_str().into()),
        ];
        self.launch(&name, "store", arguments)
    }

    pub(super) fn host_launch(&self, index: usize, broker: &Endpoint) -> Launch {
        let name = format!("host-{}", index + 1);
        let projections = self.projections.get(index).map(Vec::as_slice).unwrap_or_default();
        let arguments = [
            ("--broker", broker.as_str().into()),
            ("--store", STORE.into()),
            ("--data", self.host_folder(index).into()),
        ];
        let projections =
            projections.iter().map(|projection| ("--projection", projection.as_str().into()));
        self.launch(&name, "host", arguments.into_iter().chain(projections))
    }

    fn launch(
        &self,
        name: &str,
        role: &str,
        flags: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> Launch {
        let mut arguments = vec![OsString::from("--as"), OsString::from(role)];
        for (flag, value) in flags {
            arguments.extend([OsString::from(flag), value]);
        }
        Launch {
            name: name.to_owned(),
            program: self.program.clone(),
            arguments,
            log: self.data.join("logs").join(format!("{name}.log")),
        }
    }
}
