//! `meerkat check`: what the configuration says, or everything that is wrong with it.

use std::fmt::Write as _;
use std::io;

use crate::cli::Failure;
use crate::cli::Loaded;
use crate::cli::failure::answer;
use crate::cli::failure::hint;
use crate::config::Config;
use crate::config::Errors;
use crate::config::Level;
use crate::config::Listener;

/// Prints a summary on stdout and the notices on stderr; fails with every error. Errors of decoding
/// have been told before.
pub(super) fn run(
    loaded: &Loaded,
    examine: fn(&Loaded) -> Result<(), Errors>,
) -> Result<(), Failure> {
    examine(loaded).map_err(|errors| {
        Failure::new(format!(
            "{} wrong in {}:\n{errors}",
            errors.len(),
            loaded.name()
        ))
    })?;
    for notice in &loaded.config.notices {
        hint(&notice.to_string());
    }
    answer(
        &mut io::stdout(),
        summary(&loaded.config, &loaded.name()).trim_end(),
    )?;
    Ok(())
}

fn summary(config: &Config, name: &str) -> String {
    let mut text = format!("{name}: valid\n");
    let hosts: Vec<&str> = config
        .general
        .hosts
        .iter()
        .map(|host| host.value.as_str())
        .collect();
    let methods: Vec<&str> = config
        .auth
        .enabled()
        .iter()
        .map(|method| method.word())
        .collect();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "hosts      {}", or_none(&hosts));
    let _ = writeln!(text, "accounts   {}", or_none(&methods));
    let _ = writeln!(text, "data       {}", config.runtime.data_dir.value);
    for listener in &config.listeners {
        let _ = writeln!(text, "listener   {}", line(listener));
    }
    let count = |level| {
        config
            .notices
            .iter()
            .filter(|notice| notice.level == level)
            .count()
    };
    let _ = writeln!(
        text,
        "notices    warnings: {}, options without effect yet: {}, other: {}",
        count(Level::Warning),
        count(Level::NoEffect),
        count(Level::Info)
    );
    text
}

fn or_none(words: &[&str]) -> String {
    match words {
        [] => "none".to_owned(),
        words => words.join(", "),
    }
}

fn line(listener: &Listener) -> String {
    let tls = match listener.tls() {
        None => "no TLS",
        Some(tls) => tls.mode.word(),
    };
    let proxy = if listener.common.proxy_protocol {
        ", PROXY"
    } else {
        ""
    };
    format!(
        "{:<14} {} ({tls}{proxy})",
        listener.path, listener.common.address
    )
}
