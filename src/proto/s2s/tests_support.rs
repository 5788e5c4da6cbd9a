//! Elements and headers for the tests of both machines.

use crate::proto::s2s::Found;
use crate::xml::scan::Found as Scanned;
use crate::xml::scan::HeaderFound;
use crate::xml::scan::Limits;
use crate::xml::scan::Scanner;
use crate::xml::scan::StreamScope;

fn scope() -> StreamScope {
    let bindings = [
        ("stream", "http://etherx.jabber.org/streams"),
        ("db", "jabber:server:dialback"),
    ];
    StreamScope::declared("jabber:server", "stream:stream", None, &bindings)
}

/// Hands an element to `check`.
pub(crate) fn with_found<T>(xml: &[u8], check: impl FnOnce(Found<'_>) -> T) -> T {
    let mut scanner = Scanner::new();
    let scope = scope();
    let found = scanner.scan(&Limits::default(), &scope, xml);
    let Ok(Scanned::Element { end }) = found else {
        panic!("no element: {} {found:?}", String::from_utf8_lossy(xml));
    };
    assert_eq!(end, xml.len());
    check(Found {
        bytes: xml,
        head: scanner.head(),
        scope: &scope,
    })
}

/// Hands a stream header to `check`.
pub(crate) fn with_header<T>(xml: &[u8], check: impl FnOnce(Found<'_>) -> T) -> T {
    let mut scanner = Scanner::new();
    let found = scanner.scan_header(&Limits::default(), xml);
    let Ok(HeaderFound::Header { end }) = found else {
        panic!("no header: {} {found:?}", String::from_utf8_lossy(xml));
    };
    let scope = scanner.take_scope(xml);
    check(Found {
        bytes: xml.get(..end).unwrap_or_default(),
        head: scanner.head(),
        scope: &scope,
    })
}
