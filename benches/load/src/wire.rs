//! What stampede shares with the benches of meerkat: sockets of clients, the epoll set, the floor.

#[path = "../../wire/client.rs"]
pub(crate) mod client;
#[path = "../../wire/epoll.rs"]
pub(crate) mod epoll;
#[path = "../../wire/floor.rs"]
pub(crate) mod floor;
