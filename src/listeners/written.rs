//! What was written for a peer and not sent, read again: stanzas go back to where they came from, or
//! wait for another stream.

use crate::listeners::shard::Shard;
use crate::proto::ns;
use crate::proto::stanza::Stanza;
use crate::proto::websocket;
use crate::xml::scan::Found;
use crate::xml::scan::Limits;
use crate::xml::scan::Scanner;
use crate::xml::scan::StreamScope;

impl Shard {
    /// Hands over each stanza among what was written, with its bytes and the offset behind it.
    pub(super) fn each_stanza(
        &mut self,
        written: &[u8],
        mut act: impl FnMut(&mut Self, &Stanza<'_>, &[u8], usize),
    ) {
        let mut scanner = self.spare_scanner();
        read_again(&mut scanner, written, |stanza, bytes, end| {
            act(self, stanza, bytes, end);
        });
        self.give_scanner(scanner);
    }
}

/// Stanzas inherit the namespace of their stream and are read as a client's; a server is told about
/// keys between them. What we have written has no limit: it was within that of its sender.
fn read_again(
    scanner: &mut Scanner,
    written: &[u8],
    mut act: impl FnMut(&Stanza<'_>, &[u8], usize),
) {
    let bindings = [("db", ns::DIALBACK), ("stream", ns::STREAMS)];
    let scope = StreamScope::declared(ns::CLIENT, "stream:stream", None, &bindings);
    let limits = Limits {
        stanza_bytes_max: usize::MAX,
        ..Limits::default()
    };
    scanner.reset();
    let mut at = 0;
    while let Some(rest) = written.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((head, _)) = websocket::own_head(rest) {
            // What goes out in frames begins with one; XML never looks like it.
            at += head;
            continue;
        }
        let Ok(Found::Element { end }) = scanner.scan(&limits, &scope, rest) else {
            break;
        };
        let bytes = rest.get(..end).unwrap_or_default();
        at += end;
        // A component's stanzas are in its namespace where they name one.
        let read = |content| Stanza::read(bytes, scanner.head(), &scope, content);
        if let Ok(stanza) = read(ns::CLIENT).or_else(|_| read(ns::COMPONENT_ACCEPT)) {
            act(&stanza, bytes, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanzas(written: &[u8]) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        read_again(&mut Scanner::new(), written, |_, bytes, end| {
            found.push((String::from_utf8_lossy(bytes).into_owned(), end));
        });
        found
    }

    /// Stanzas behind an answer about a key used to be lost with a peer that is cut.
    #[test]
    fn what_a_server_is_told_about_keys_is_passed_over() {
        let key = "<db:verify from='a' to='b' id='1'>key</db:verify>";
        let message = "<message from='x@a' to='y@b'><body>hi</body></message>";
        let verdict = "<db:result from='a' to='b' type='valid'/>";
        let iq = "<iq type='get' id='2'/>";
        let written = [key, message, verdict, iq].concat();
        let behind = key.len() + message.len();
        let expected = vec![(message.to_owned(), behind), (iq.to_owned(), written.len())];
        assert_eq!(stanzas(written.as_bytes()), expected);
    }

    #[test]
    fn a_components_namespace_is_read_and_what_is_cut_is_not() {
        let message = "<message xmlns='jabber:component:accept' to='y@b'/>";
        let written = format!("{message}<message to='y@b'><bo");
        let expected = vec![(message.to_owned(), message.len())];
        assert_eq!(stanzas(written.as_bytes()), expected);
    }
}
