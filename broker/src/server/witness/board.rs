//! What the witness shows to people, handed from its thread to the routing one.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::WitnessConfig;
use crate::net::Endpoint;
use crate::routing::{PairView, WitnessView};

/// The newest view. Writer and reader hold the lock only to exchange a pointer.
#[derive(Clone, Debug)]
pub(in crate::server) struct Board(Arc<Mutex<Arc<WitnessView>>>);

impl Board {
    pub(super) fn new(config: &WitnessConfig) -> Board {
        let endpoint = config.listen.to_string();
        let view = WitnessView { endpoint, lease: config.lease, ..WitnessView::default() };
        Board(Arc::new(Mutex::new(Arc::new(view))))
    }

    /// The newest view.
    pub(in crate::server) fn view(&self) -> Arc<WitnessView> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn bound(&self, endpoint: &Endpoint) {
        self.change(|view| view.endpoint = endpoint.to_string());
    }

    pub(super) fn stopped(&self, why: String) {
        self.change(|view| view.stopped = Some(why));
    }

    pub(super) fn show(&self, pairs: Vec<PairView>) {
        self.change(|view| view.pairs = pairs);
    }

    /// Only the witness's thread writes, so that nothing is lost between reading and writing.
    fn change(&self, change: impl FnOnce(&mut WitnessView)) {
        let mut view = WitnessView::clone(&self.view());
        change(&mut view);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }
}
