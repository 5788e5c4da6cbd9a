//! What differs between two files: a reload names what it did not apply.

use toml::Table;
use toml::Value;

use super::Config;

/// Paths of the keys that have another value in `after`, are new in it or gone from it, in the order
/// of their names.
#[must_use]
pub fn changes(before: &Config, after: &Config) -> Vec<String> {
    between(before.whole.text(), after.whole.text())
}

/// Both texts are those of valid configurations.
fn between(before: &str, after: &str) -> Vec<String> {
    let read = |text: &str| text.parse::<Table>().unwrap_or_default();
    let mut found = Vec::new();
    tables("", &read(before), &read(after), &mut found);
    found
}

fn tables(path: &str, before: &Table, after: &Table, found: &mut Vec<String>) {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let mut keys: Vec<&String> = after.keys().chain(gone).collect();
    keys.sort();
    for key in keys {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{key}");
        values(path, before.get(key), after.get(key), found);
    }
}

fn values(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<String>) {
    match (before, after) {
        (Some(Value::Table(before)), Some(Value::Table(after))) => {
            tables(&path, before, after, found);
        }
        (Some(Value::Array(before)), Some(Value::Array(after)))
            if before.iter().chain(after).any(Value::is_table) =>
        {
            for place in 0..before.len().max(after.len()) {
                let path = format!("{path}[{place}]");
                values(path, before.get(place), after.get(place), found);
            }
        }
        (before, after) if before == after => {}
        (_, _) => found.push(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_file() {
        let before = "[general]\nloglevel = 'info'\nhosts = ['a']\n\
                      [[listen.c2s]]\nport = 1\ntls.certfile = 'a'\n[[listen.c2s]]\nport = 2\n";
        let after = "[general]\nhosts = ['a', 'b']\n[auth.internal]\n\
                     [[listen.c2s]]\nport = 1\ntls.certfile = 'b'\n";
        let expected = [
            "auth",
            "general.hosts",
            "general.loglevel",
            "listen.c2s[0].tls.certfile",
            "listen.c2s[1]",
        ];
        assert_eq!(between(before, after), expected);
        assert!(between(after, after).is_empty());
    }

    #[test]
    fn another_way_to_write_it_is_no_change() {
        let inline = "general = { hosts = ['a'] } # one\n";
        assert!(between(inline, "[general]\nhosts = [\"a\"]\n").is_empty());
    }
}
