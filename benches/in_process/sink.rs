//! Where the pipeline puts what it writes when nothing is sent.

use meerkat::base::key::Key;
use meerkat::config::Who;
use meerkat::modules::pipeline::Outbox;
use meerkat::proto::stanza::error::StanzaCondition;
use meerkat::route::envelope::Envelopes;

/// Outputs of the connections of one shard, and the mail for the other one.
#[derive(Default)]
pub(crate) struct Sink {
    /// By the slot of the connection.
    pub(crate) outputs: Vec<Vec<u8>>,
    /// For every other shard.
    pub(crate) mail: Envelopes,
}

impl Outbox for Sink {
    fn output(&mut self, connection: Key, _bytes: usize) -> Option<&mut Vec<u8>> {
        self.outputs.get_mut(connection.slot as usize)
    }

    fn largest(&self, _connection: Key) -> usize {
        1 << 20
    }

    fn mail(&mut self, _shard: usize) -> &mut Envelopes {
        &mut self.mail
    }

    fn replace(&mut self, connection: Key) {
        panic!("{connection:?}: nobody logs in here");
    }

    fn remote(
        &mut self,
        _hash: u64,
        _pair: (&str, &str),
        _bytes: usize,
    ) -> Result<&mut Vec<u8>, StanzaCondition> {
        Err(StanzaCondition::RemoteServerNotFound)
    }

    fn allows(&self, _rule: &str, _who: Who<'_>) -> bool {
        true
    }
}
