//! What stampede shares with the benches of meerkat: sockets of clients, the epoll set, the floor.

#[path = "../../wire/epoll.rs"]
pub(crate) mod epoll;
#[path = "../../wire/floor.rs"]
pub(crate) mod floor;
#[path = "../../wire/socket.rs"]
pub(crate) mod socket;
