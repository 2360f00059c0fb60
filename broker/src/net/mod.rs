//! Sockets of the house: endpoints, settings, receiving and sending without blocking, waking a
//! loop from another thread, stopping on signals.
//!
//! A loop owns its socket; other threads hand it work by a [`Queue`] with a [`Waker`] in the loop's
//! poll set. Every loop enters its socket at least once a second, because libzmq frees the pipes of
//! closed connections only then.

mod endpoint;
mod frames;
mod queue;
mod signals;
mod socket;
mod waker;
mod wire;

pub use endpoint::{Endpoint, EndpointError};
pub use frames::{FRAMES_MAX, Frames, Sent, receive, send, send_to};
pub use queue::Queue;
pub use signals::{Stop, stop_on_signals};
pub use socket::{BindError, FRAME_BYTES_MAX, TICK, bind, connect, poll, socket};
pub use waker::Waker;
pub use wire::Wire;
