//! One executor per core, and the mailboxes between them.
//!
//! Start at [`shards::run`]: it pins one glommio executor to each CPU and runs the same function on
//! all of them. [`mesh`] carries batches from one shard to another, [`waker`] rouses a shard that
//! sleeps in its ring. Nothing here knows XMPP: the mesh is generic over what it carries.
//!
//! Not here: sockets (see `net`), and any lock. The only shared memory is the bounded queues of
//! the mesh, touched once per batch.

pub mod background;
#[expect(
    unsafe_code,
    reason = "the allocator is asked by calls that std does not have"
)]
pub mod memory;
pub mod mesh;
pub mod shards;
#[expect(
    unsafe_code,
    reason = "an eventfd is made by a call that std does not have"
)]
pub mod waker;
