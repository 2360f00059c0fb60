//! The server against a real broker over loopback, with clients made of raw sockets.

mod appending;
mod bench;
mod commands;
mod feeding;
mod hostile;
mod plain_clients;
mod process;
mod replaying;
mod slots;
