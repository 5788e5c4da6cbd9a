//! Trees: no bytes panic, and what was read is the same after it was written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::xml::element::Element;
use meerkat::xml::write::escape_attribute;
use meerkat::xml::write::escape_text;

fuzz_target!(|data: &[u8]| {
    let bindings = [
        ("stream", "http://etherx.jabber.org/streams"),
        ("db", "jabber:server:dialback"),
    ];
    if let Ok(element) = Element::parse(data, "jabber:client", &bindings) {
        for inherited in ["jabber:client", "jabber:server", ""] {
            let mut written = Vec::new();
            element.write(&mut written, inherited);
            assert_eq!(
                Element::parse(&written, inherited, &[]).as_ref(),
                Ok(&element)
            );
        }
    }
    let text: String = String::from_utf8_lossy(data)
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let text = text.replace(['\u{fffe}', '\u{ffff}'], "");
    let mut written = b"<a b='".to_vec();
    escape_attribute(&text, &mut written);
    written.extend_from_slice(b"'>");
    escape_text(&text, &mut written);
    written.extend_from_slice(b"</a>");
    let read = Element::parse(&written, "", &[]).expect("written well-formed");
    assert_eq!(read.attr("b"), Some(&*text));
    assert_eq!(read.text(), text);
});
