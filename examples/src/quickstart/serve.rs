//! `--serve`: the topology stays up for a person with the `starlog` tool.

use std::{io, time::Duration};

use broker::net::{Endpoint, stop_on_signals};

use crate::{
    quickstart::RunError,
    topology::{STORE, Titanic, Topology},
};

/// How often the children are looked after.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What a person may want to try, as text to paste.
fn invitation(broker: &Endpoint) -> String {
    format!(
        "The broker listens on {broker}; end with Ctrl-C. In another terminal:\n\
         \n\
         \x20 export STARLOG_BROKER={broker}\n\
         \x20 cargo run --release --bin starlog -- status\n\
         \x20 cargo run --release --bin starlog -- append {STORE} order-17 --type OrderPlaced \\\n\
         \x20     --expect none \\\n\
         \x20     --data '{{\"customer\":17,\"country\":\"IS\",\"currency\":\"ISK\"}}'\n\
         \x20 cargo run --release --bin starlog -- read {STORE} order-17 -o ndjson\n\
         \x20 cargo run --release --bin starlog -- tail {STORE} -o ndjson\n\
         \x20 cargo run --release --bin starlog -- command send echo hello\n"
    )
}

/// Keeps the topology up until SIGINT or SIGTERM.
///
/// # Errors
/// [`RunError`] if a child ends by itself, or signals cannot be caught.
pub(super) fn until_stopped(
    topology: &mut Topology,
    titanic: &mut Titanic,
) -> Result<(), RunError> {
    let what = String::from("signals cannot be caught");
    let stop = stop_on_signals().map_err(|reason: io::Error| RunError::Io { what, reason })?;
    topology.start_hosts()?;
    println!("{}", invitation(topology.endpoint()));
    while !stop.is_requested() {
        // Read and forgotten: a host that is never listened to would fill its pipe.
        topology.host_statuses();
        let alive = topology.check_alive();
        if let Err(error) = alive.and_then(|()| Ok(titanic.check_alive()?)) {
            // Ctrl-C reaches the children as well, and they may be quicker than we are.
            std::thread::sleep(LOOK_INTERVAL);
            return if stop.is_requested() { Ok(()) } else { Err(error.into()) };
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invitation_names_the_broker() {
        let text = invitation(&"tcp://127.0.0.1:7400".parse().unwrap());
        assert!(text.contains("export STARLOG_BROKER=tcp://127.0.0.1:7400\n"), "{text}");
        assert!(text.contains("'{\"customer\":17,"), "{text}");
    }
}
