//! A stanza of another server: is it from and to whom its stream is for (RFC 6120, section 8.1)?

use std::borrow::Cow;

use crate::base::key::Key;
use crate::jid;
use crate::listeners::shard::Shard;
use crate::listeners::traffic::Peers;
use crate::modules::pipeline::Origin;
use crate::modules::pipeline::Sender;
use crate::modules::pipeline::carry;
use crate::proto::ns;
use crate::proto::s2s::Found;
use crate::proto::stanza::NoStanza;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::reply;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;

impl Shard {
    /// Carries a stanza of a server on, unless `refused` has something against its pair of domains,
    /// ours first.
    ///
    /// # Errors
    /// What ends the stream.
    pub(in crate::listeners) fn server_stanza(
        &mut self,
        key: Key,
        found: Found<'_>,
        refused: &dyn Fn(&str, &str) -> Option<StreamCondition>,
    ) -> Result<(), StreamError> {
        let of = |name: &[u8]| -> Option<Cow<'_, str>> {
            let attribute = found.head.attribute(found.bytes, name)?;
            Some(attribute.decoded(found.bytes))
        };
        let addressing = StreamError::new(StreamCondition::ImproperAddressing);
        let (Some(from), Some(to)) = (of(b"from"), of(b"to")) else {
            return Err(addressing);
        };
        let from = jid::parse(&from).map_err(|_| addressing)?;
        let to = jid::parse(&to).map_err(|_| addressing)?;
        if let Some(condition) = refused(&to.domain, &from.domain) {
            return Err(StreamError::new(condition));
        }
        let full = from.full();
        let stamp = reply::attribute(&full);
        let bare = from.bare();
        match Stanza::read(found.bytes, found.head, found.scope, ns::SERVER) {
            Ok(stanza) => {
                let hosts = &self.settings.hosts;
                let class = Peers::Servers.class(hosts, hosts.position(&to.domain));
                self.note_received(class, &stanza);
                let sender = Sender {
                    origin: Origin::Server,
                    connection: key,
                    stamp: &stamp,
                    full: &full,
                    bare: &bare,
                    resource: from.resource.as_deref().unwrap_or_default(),
                };
                carry(&mut self.scene(), &sender, &stanza);
                Ok(())
            }
            Err(NoStanza::Unsupported) => {
                Err(StreamError::new(StreamCondition::UnsupportedStanzaType))
            }
            // What makes no sense is not passed on; its sender is a server that would have to say so.
            Err(NoStanza::Malformed) => Ok(()),
        }
    }
}
