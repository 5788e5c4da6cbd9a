//! A stanza that goes from one kind of stream to another: what is relayed is one stanza in the
//! recipient's namespace, no longer than was reckoned, and relaying it back and forth settles.
//!
//! The first byte chooses the sender's stream and the recipient's; the rest is the stanza.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::proto::ns;
use meerkat::proto::stanza::Stanza;
use meerkat::proto::stanza::relay::Stamp;
use meerkat::proto::stanza::relay::relay_into;
use meerkat::proto::stanza::relay::relayed_bytes;
use meerkat::xml::scan::Found;
use meerkat::xml::scan::HeaderFound;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;

const CONTENTS: [&str; 3] = [ns::CLIENT, ns::COMPONENT_ACCEPT, ns::SERVER];

/// The scope of a stream of that namespace, which binds a prefix to it too.
fn scope(content: &str) -> StreamScope {
    let header = format!(
        "<stream:stream xmlns='{content}' xmlns:c='{content}' xmlns:stream='{}'>",
        ns::STREAMS
    );
    let mut scanner = Scanner::new();
    let found = scanner.scan_header(&Limits::default(), header.as_bytes());
    assert!(matches!(found, Ok(HeaderFound::Header { .. })), "{found:?}");
    scanner.take_scope(header.as_bytes())
}

/// What becomes of the stanza at the front of `bytes`; None where there is none.
fn relayed(
    bytes: &[u8],
    scope: &StreamScope,
    own: &'static str,
    content: &str,
) -> Option<(Vec<u8>, u32)> {
    let mut scanner = Scanner::new();
    let Ok(Found::Element { end }) = scanner.scan(&Limits::default(), scope, bytes) else {
        return None;
    };
    let stanza = Stanza::read(&bytes[..end], scanner.head(), scope, own).ok()?;
    let stamp = Stamp {
        from: "romeo@example.org/orchard",
        to: Some("juliet@example.org"),
    };
    let mut out = Vec::new();
    relay_into(&stanza, stamp, content, &mut out);
    let room = relayed_bytes(&stanza, stamp);
    assert!(out.len() <= room, "{} > {room}", out.len());
    Some((out, stanza.head.children))
}

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else {
        return;
    };
    let own = CONTENTS[usize::from(choice % 3)];
    let content = CONTENTS[usize::from(choice / 3 % 3)];
    let Some((there, children)) = relayed(bytes, &scope(own), own, content) else {
        return;
    };
    let shown = String::from_utf8_lossy(&there).into_owned();
    // It means itself on a stream that binds nothing but what every stream does.
    let Some((again, same)) = relayed(&there, &StreamScope::ordinary(content), content, content)
    else {
        panic!("no stanza of {content}: {shown}");
    };
    assert_eq!(children, same, "{shown}");
    let settled = relayed(&again, &StreamScope::ordinary(content), content, content);
    assert_eq!(settled.map(|(bytes, _)| bytes), Some(again), "{shown}");
});
