//! The server against a real broker over loopback, with clients made of raw sockets.

mod appending;
mod bench;
mod commands;
mod feeding;
mod filtered_feeding;
mod filtered_replaying;
mod histories;
mod hostile;
mod membership;
mod pair;
mod plain_clients;
mod process;
mod replaying;
mod slots;
