//! Addresses: no text panics, and what is accepted is in its final form and falls apart into the
//! same parts again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::jid::JID_BYTES_MAX;
use meerkat::jid::Jid;
use meerkat::jid::PART_BYTES_MAX;
use meerkat::jid::parse;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let Ok(parts) = parse(&text) else { return };
    let jid = parts.to_jid();
    assert_eq!(parts.full(), jid.as_str());
    assert_eq!(parts.bare(), jid.bare());
    assert_eq!(parts.node.as_deref(), jid.node());
    assert_eq!(parts.domain, jid.domain());
    assert_eq!(parts.resource.as_deref(), jid.resource());
    assert_eq!(parts.is_as_given(), *text == *jid.as_str());
    assert!(jid.as_str().len() <= JID_BYTES_MAX);
    for part in [jid.node(), Some(jid.domain()), jid.resource()]
        .into_iter()
        .flatten()
    {
        assert!((1..=PART_BYTES_MAX).contains(&part.len()));
    }
    let again = jid
        .as_str()
        .parse::<Jid>()
        .expect("a prepared address is an address");
    assert_eq!(again, jid);
    assert_eq!(Jid::new(jid.node(), jid.domain(), jid.resource()), Ok(jid));
});
