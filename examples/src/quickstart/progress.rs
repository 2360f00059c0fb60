//! What the person sees while it runs: a bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{clock, table::grouped};

/// How often a plain line tells how far the load is.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);

/// Progress of a run.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    told: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Nothing to show yet; what there will be goes to standard error.
    #[must_use]
    pub fn new() -> Self {
        Self { bar: None, total: 0, told: clock::now() }
    }

    /// Says something that stays on the screen.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) if !bar.is_hidden() => bar.println(line),
            _ => eprintln!("{line}"),
        }
    }

    /// A load of `total` events begins.
    pub fn start_load(&mut self, total: u64) {
        self.total = total;
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let template = "  {bar:40} {human_pos}/{human_len} events  {per_sec}  {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        self.bar = Some(bar);
    }

    /// So many events have been acknowledged.
    pub fn at(&mut self, acknowledged: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(acknowledged);
            let now = clock::now();
            if bar.is_hidden() && now.duration_since(self.told) >= PLAIN_INTERVAL {
                self.told = now;
                self.say(&format!("  {} of {} events", grouped(acknowledged), grouped(self.total)));
            }
        }
    }

    /// The load is over.
    pub fn end_load(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
