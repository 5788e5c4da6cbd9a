//! config/meerkat.toml, the manual, and config/examples hold what they promise.

use std::collections::BTreeSet;

use super::*;

/// Every file is there.
struct All;

impl Files for All {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Ok(b"-----BEGIN PRIVATE KEY-----".to_vec())
    }
}

#[test]
fn the_built_in_configuration_makes_its_certificate() {
    let config = decode(BUILT_IN, "built in", &Anything).expect("it ships");
    let (mut clients, mut components, mut browsers) = (0, 0, 0);
    let must_be_made = |file: &Option<Sited<String>>| {
        let file = file.as_ref().expect("made at first start");
        assert!(config.runtime.holds(&file.value));
    };
    for listener in &config.listeners {
        match &listener.kind {
            ListenerKind::C2s(_) => {
                clients += 1;
                let tls = listener.tls().expect("both have TLS");
                assert!(tls.is_to_be_made(&config.runtime, |_| false));
                assert!(!tls.is_to_be_made(&config.runtime, |_| true));
                assert_eq!(tls.verify_mode.value, listen::VerifyMode::None);
            }
            ListenerKind::Service(service) => {
                components += 1;
                assert!(listener.common.address.ip().is_loopback());
                assert!(service.password.is_none(), "a secret that everybody knows");
                must_be_made(&service.password_file);
            }
            ListenerKind::Http(http) => {
                browsers += 1;
                let near = listener.common.address.ip().is_loopback();
                assert!(near || listener.tls().is_some());
                assert!(near || http.handlers.mongoose_prometheus_handler.is_empty());
                for dashboard in &http.handlers.meerkat_dashboard {
                    assert!(near && dashboard.password.is_none());
                    must_be_made(&dashboard.password_file);
                }
            }
            ListenerKind::S2s(_) => {}
        }
    }
    assert_eq!((clients, components, browsers), (2, 1, 2));
    assert_eq!(config.s2s.default_policy, modules::Policy::Deny);
    assert!(config.modules.mod_register.is_none());
    let warnings: Vec<_> = config
        .notices
        .iter()
        .filter(|notice| notice.level == Level::Warning)
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// The manual with every option that is commented out put in force. Explanations stay comments:
/// they have a space behind the "#".
fn unfolded() -> String {
    let line = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => {
            rest.to_owned()
        }
        Some(_) | None => line.to_owned(),
    };
    BUILT_IN.lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn every_commented_option_is_valid() {
    decode(&unfolded(), "unfolded", &All).unwrap_or_else(|errors| panic!("{errors}"));
}

/// Other names and other places of options that the manual explains once.
const ELSEWHERE: &[&str] = &[
    "auth.scram_iterations",
    "auth.sasl_external",
    "auth.sasl_external_common_name",
    "listen.component",
    "listen.service.max_fsm_queue",
    "s2s.address",
    "s2s.max_retry_delay",
    "s2s.dns",
    "s2s.outgoing.tls",
    "modules.mod_register.iqdisc",
    "modules.mod_disco.iqdisc",
    "services.service_bosh",
    "host_config",
];

#[test]
fn the_manual_has_every_option() {
    let source = Arc::new(Source {
        name: "unfolded".into(),
        text: unfolded(),
    });
    let (root, errors) = tree::parse(&source);
    assert!(errors.is_empty(), "{errors:?}");
    let mut written = BTreeSet::new();
    collect(&root.expect("valid TOML"), "", &mut written);
    // The tables of a listener are explained with the first that has them.
    let shared = |path: &str| {
        let rest = path
            .strip_prefix("listen.")
            .and_then(|path| path.split_once('.'));
        rest.is_some_and(|(_, key)| written.contains(&format!("listen.c2s.{key}")))
    };
    let mut missing = Vec::new();
    options(&Kind::Section(&Root::SCHEMA), "", &mut |path| {
        let elsewhere = ELSEWHERE
            .iter()
            .any(|e| path == *e || path.starts_with(&format!("{e}.")));
        let foreign =
            effect::without(path) && !path.starts_with("listen.") && !path.starts_with("s2s.");
        if !elsewhere && !foreign && !is_63(path) && !written.contains(path) && !shared(path) {
            missing.push(path.to_owned());
        }
    });
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Names of MongooseIM 6.3 that mean nothing here.
fn is_63(path: &str) -> bool {
    [".tls.module", ".tls.protocol_options", ".tls.dhfile"]
        .iter()
        .any(|key| path.ends_with(key))
}

/// Paths of all keys of a tree, without indices.
fn collect(node: &Node, path: &str, written: &mut BTreeSet<String>) {
    for entry in node.entries() {
        let path = format!(
            "{path}{}{}",
            if path.is_empty() { "" } else { "." },
            entry.key
        );
        collect(&entry.node, &path, written);
        written.insert(path);
    }
    for element in node.elements() {
        collect(element, path, written);
    }
}

/// Paths of all options that hold a value.
fn options(kind: &Kind, path: &str, each: &mut dyn FnMut(&str)) {
    match kind {
        Kind::Section(schema) => {
            for option in schema.options() {
                let dot = if path.is_empty() { "" } else { "." };
                options(&option.kind, &format!("{path}{dot}{}", option.key), each);
            }
        }
        Kind::List(inner, _) => options(inner, path, each),
        // What the operator names is in no declaration; an example of each is enough.
        Kind::Named(_) => {}
        Kind::Bool
        | Kind::False
        | Kind::Int(_)
        | Kind::IntOrInfinity(_)
        | Kind::Text
        | Kind::Name
        | Kind::OneOf(_)
        | Kind::OneInt(_)
        | Kind::Checked(_)
        | Kind::Readable
        | Kind::Either(_)
        | Kind::Anything => each(path),
    }
}

#[test]
fn the_examples_load_without_warnings() {
    let examples = [
        include_str!("../../../config/examples/behind-haproxy.toml"),
        include_str!("../../../config/examples/components.toml"),
        include_str!("../../../config/examples/federation.toml"),
        include_str!("../../../config/examples/hosts.toml"),
        include_str!("../../../config/examples/minimal.toml"),
        include_str!("../../../config/examples/tls.toml"),
    ];
    for text in examples {
        let config = decode(text, "example", &All).unwrap_or_else(|errors| panic!("{errors}"));
        let warning = config
            .notices
            .iter()
            .find(|notice| notice.level == Level::Warning);
        assert!(warning.is_none(), "{warning:?} in\n{text}");
    }
}
