//! Payloads of requests: whatever a peer puts into an IQ, every module answers in well-formed XML,
//! asks the store for something that is within its room or refused, and never panics. Messages: what
//! is worth a copy is decided for all of them.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use meerkat::config::Config;
use meerkat::config::Files;
use meerkat::config::decode;
use meerkat::modules::Answer;
use meerkat::modules::Call;
use meerkat::modules::Facts;
use meerkat::modules::MODULES;
use meerkat::modules::To;
use meerkat::modules::carbons;
use meerkat::proto::stanza::IqType;
use meerkat::route::hosts::Hosts;
use meerkat::route::services::Services;
use meerkat::store::data::DataRequest;
use meerkat::xml::element::Element;
use meerkat::xml::element::ParseError;

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn config() -> Config {
    let text = "
[general]
hosts = ['x']
default_server_domain = 'x'
[modules.mod_blocking]
[modules.mod_caps]
[modules.mod_carboncopy]
[modules.mod_disco]
extra_domains = ['a']
server_info = [{name = 'abuse', urls = ['b']}]
[modules.mod_last]
[modules.mod_ping]
[modules.mod_private]
[modules.mod_register]
password_strength = 8
[modules.mod_time]
[modules.mod_vcard]
[modules.mod_version]
";
    decode(text, "fuzz", &NoFiles).expect("a valid file")
}

fuzz_target!(|data: &[u8]| {
    thread_local! {
        static MODULES_ON: Arc<[(Box<str>, meerkat::config::Modules)]> = config().modules_by_host();
    }
    let facts = Facts {
        version: "0",
        unix_seconds: 1,
        since_unix_seconds: 1,
        modules: MODULES_ON.with(Arc::clone),
    };
    let hosts = Hosts::new(["x".to_owned()], 2);
    let services = Services::default();
    let Ok(payload) = Element::parse(data, "jabber:client", &[]) else {
        return;
    };
    for direction in [carbons::Direction::Received, carbons::Direction::Sent] {
        let _ = carbons::is_eligible(&payload, direction);
    }
    for route in MODULES.iter().flat_map(|module| module.routes) {
        for (to, target) in [
            (To::Host, "x"),
            (To::OwnAccount, "a@x"),
            (To::Account, "b@x"),
        ] {
            if !route.to.contains(&to) {
                continue;
            }
            let call = Call {
                kind: route.kind,
                to,
                from: "a@x/r",
                target,
                payload: &payload,
                services: &services,
            };
            match (route.handler)(&call, &facts, &hosts) {
                Answer::Result(content) => well_formed(&content),
                Answer::Store(query) => {
                    let mine = |id: &meerkat::store::AccountId| id.to_string() == target;
                    match query.request {
                        DataRequest::All { id, .. } | DataRequest::Value { id, .. } => {
                            assert!(mine(&id));
                        }
                        // What nobody asks for, but the server does by itself.
                        DataRequest::Put { .. } => unreachable!("no handler puts"),
                        DataRequest::Change { id, put, .. } => {
                            assert!(mine(&id) && to == To::OwnAccount && route.kind == IqType::Set);
                            for (_, value) in put.iter().filter(|(_, value)| !value.is_empty()) {
                                well_formed(value);
                            }
                        }
                    }
                }
                Answer::Ask(ask) => assert!(to != To::Account && ask.id().to_string() == "a@x"),
                Answer::Do(_) => assert!(to == To::OwnAccount),
                Answer::Contact(_) => assert!(to != To::Host),
                Answer::Error(_, text) => assert!(text.is_ascii()),
            }
        }
    }
});

/// None, or elements one behind the other, as they stand in an IQ.
fn well_formed(content: &[u8]) {
    let mut wrapped = b"<iq>".to_vec();
    wrapped.extend_from_slice(content);
    wrapped.extend_from_slice(b"</iq>");
    // What was written may be deeper by the wrapping than what a tree may hold.
    if let Err(error) = Element::parse(&wrapped, "jabber:client", &[]) {
        let is_bound = matches!(error, ParseError::TooDeep | ParseError::TooMany);
        assert!(is_bound, "{error:?}");
    }
}
