//! XEP-0115: Entity Capabilities. The hash of what a host answers to disco#info, announced in the
//! stream's features, so that a client that has seen it does not have to ask.
//!
//! The capabilities of clients travel in their presence, which is relayed as it is. Not here: a
//! cache of them (only XEP-0163 would need it), and XEP-0390.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::Modules;
use crate::config::modules::CapsVersion;
use crate::modules::Module;
use crate::modules::disco::Info;
use crate::proto::ns;

/// The feature; the stream's features have the rest.
pub const MODULE: Module = Module {
    is_on,
    features: &[ns::CAPS],
    routes: &[],
};

/// What the `ver` is of: the address of the program.
pub const NODE: &str = "https://meerkat.example";

/// The element for the stream's features of a host, where `mod_caps` is on.
pub fn stream_feature(modules: &Modules) -> Option<String> {
    is_on(modules).then(|| {
        format!(
            "<c xmlns='{}' hash='sha-1' node='{NODE}' ver='{}'/>",
            ns::CAPS,
            version(&Info::of_host(modules))
        )
    })
}

/// `versions = ["v2"]` asks for XEP-0390 alone, which is not here.
fn is_on(modules: &Modules) -> bool {
    let caps = modules.mod_caps.as_ref();
    caps.is_some_and(|caps| {
        let versions = caps.versions.as_ref();
        versions.is_none_or(|versions| versions.contains(&CapsVersion::V1))
    }) && modules.mod_disco.is_some()
}

/// Whether `node` is what the host's capabilities say about `info`.
pub fn is_node(node: &str, info: &Info, modules: &Modules) -> bool {
    let ver = node
        .strip_prefix(NODE)
        .and_then(|rest| rest.strip_prefix('#'));
    is_on(modules) && ver.is_some_and(|ver| ver == version(info))
}

/// SPEC(XEP-0115 5.1): the hash of identity, features and forms, each in its order.
pub fn version(info: &Info) -> String {
    let (category, kind, name) = info.identity;
    let mut text = format!("{category}/{kind}//{name}<");
    for feature in &info.features {
        let _ = write!(text, "{feature}<");
    }
    if !info.contacts.is_empty() {
        let _ = write!(text, "{}<", ns::SERVER_INFO);
        for (field, values) in &info.contacts {
            let _ = write!(text, "{field}<");
            for value in values {
                let _ = write!(text, "{value}<");
            }
        }
    }
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    STANDARD.encode(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_document() {
        // Section 5.2, with the identity of a client.
        let info = Info {
            identity: ("client", "pc", "Exodus 0.9.1"),
            features: vec![
                ns::CAPS,
                ns::DISCO_INFO,
                ns::DISCO_ITEMS,
                "http://jabber.org/protocol/muc",
            ],
            contacts: Vec::new(),
        };
        assert_eq!(version(&info), "QgayPKawpkPSDYmwT/WM94uAlu0=");
    }

    #[test]
    fn the_hash_is_of_what_is_answered() {
        let mut modules = Modules::default();
        assert_eq!(stream_feature(&modules), None);
        modules.mod_caps = Some(Default::default());
        assert_eq!(
            stream_feature(&modules),
            None,
            "nobody could ask what it means"
        );
        modules.mod_disco = Some(Default::default());
        let before = version(&Info::of_host(&modules));
        assert!(stream_feature(&modules).is_some_and(|c| c.contains(&before)));
        modules.mod_ping = Some(Default::default());
        let info = Info::of_host(&modules);
        assert_ne!(version(&info), before);
        let node = format!("{NODE}#{}", version(&info));
        assert!(is_node(&node, &info, &modules));
        assert!(!is_node(&format!("{NODE}#{before}"), &info, &modules));
        assert!(!is_node(NODE, &info, &modules));
        modules.mod_caps = Some(crate::config::modules::Caps {
            versions: Some(vec![CapsVersion::V2]),
            ..Default::default()
        });
        assert_eq!(stream_feature(&modules), None);
        assert!(!is_node(&node, &info, &modules));
    }
}
