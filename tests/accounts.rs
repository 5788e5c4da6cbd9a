//! `meerkat account` and `meerkat check` as an operator runs them: the built program, a folder of
//! its own for each test, exit status, stdout and stderr.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

/// A working folder with a configuration, removed when the test ends.
struct Site {
    folder: PathBuf,
}

impl Site {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("meerkat-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("config")).expect("a scratch folder");
        let site = Self { folder };
        site.write(
            "config/meerkat.toml",
            "[general]\nhosts = [\"localhost\", \"example.org\"]\n\
             default_server_domain = \"localhost\"\n[auth]\npassword.scram_iterations = 4096\n\
             [auth.internal]\n",
        );
        site
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).expect("written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meerkat"));
        command.current_dir(&self.folder).args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("the program starts")
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Said {
        let mut child = self.start(arguments);
        // A program that ends without reading its input is none of our business here.
        let _ = child
            .stdin
            .take()
            .expect("piped")
            .write_all(stdin.as_bytes());
        Said::from(child.wait_with_output().expect("it ends"))
    }

    fn list(&self) -> Vec<String> {
        let said = self.run(&["account", "list"], "");
        assert_eq!(said.code, 0, "{}", said.err);
        said.out.lines().map(str::to_owned).collect()
    }

    fn store(&self) -> PathBuf {
        self.folder.join("data/meerkat.db")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

#[test]
fn an_account_is_made_listed_changed_and_removed() {
    let site = Site::new("life");
    let said = site.run(&["account", "add", "Romeo@localhost"], "montague\n");
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
    assert!(
        said.err
            .contains("romeo@localhost added to data/meerkat.db"),
        "{}",
        said.err
    );
    let said = site.run(
        &[
            "account",
            "add",
            "juliet@example.org",
            "--password",
            "capulet",
        ],
        "",
    );
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("list of processes"), "{}", said.err);
    assert!(!said.err.contains("capulet"), "{}", said.err);

    assert_eq!(site.list(), ["juliet@example.org", "romeo@localhost"]);
    let said = site.run(&["account", "list", "--host", "LOCALHOST"], "");
    assert_eq!(said.out, "romeo@localhost\n");

    let before = fs::read(site.store()).expect("the store");
    let said = site.run(&["account", "passwd", "romeo@localhost"], "new one\n");
    assert_eq!(said.code, 0, "{}", said.err);
    assert_ne!(fs::read(site.store()).expect("the store"), before);

    let said = site.run(&["account", "del", "romeo@localhost"], "");
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(site.list(), ["juliet@example.org"]);
}

#[test]
fn only_scram_keys_are_stored_unless_plain_is_asked_for() {
    let site = Site::new("format");
    let stored = |password: &str| {
        let found = fs::read(site.store()).expect("the store");
        found
            .windows(password.len())
            .any(|window| window == password.as_bytes())
    };
    let said = site.run(&["account", "add", "a@localhost"], "wherefore art thou\n");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(!stored("wherefore art thou"));

    let text = fs::read_to_string(site.folder.join("config/meerkat.toml")).expect("written");
    site.write(
        "plain.toml",
        &text.replace("[auth]\n", "[auth]\npassword.format = \"plain\"\n"),
    );
    let said = site.run(
        &["account", "add", "b@localhost", "-c", "plain.toml"],
        "a rose\n",
    );
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(stored("a rose"));
    let said = site.run(&["account", "passwd", "b@localhost"], "by any other name\n");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(!stored("a rose"), "a replaced password does not linger");
}

#[test]
fn what_cannot_be_done_is_said_with_status_1() {
    let site = Site::new("refused");
    let refused = |arguments: &[&str], stdin: &str, part: &str| {
        let said = site.run(arguments, stdin);
        assert_eq!(
            (said.code, said.out.as_str()),
            (1, ""),
            "{arguments:?}: {}",
            said.err
        );
        assert!(said.err.starts_with("meerkat: "), "{}", said.err);
        assert!(said.err.contains(part), "{arguments:?}: {}", said.err);
    };
    // Before there is a store; asking does not make one.
    refused(&["account", "list"], "", "no store data/meerkat.db");
    refused(
        &["account", "del", "a@localhost"],
        "",
        "no store data/meerkat.db",
    );
    refused(
        &["account", "passwd", "a@localhost"],
        "p\n",
        "no store data/meerkat.db",
    );
    assert!(!site.folder.join("data").exists());

    assert_eq!(site.run(&["account", "add", "a@localhost"], "p\n").code, 0);
    refused(
        &["account", "add", "a@localhost"],
        "p\n",
        "account passwd a@localhost",
    );
    refused(
        &["account", "del", "b@localhost"],
        "",
        "no account b@localhost",
    );
    refused(
        &["account", "passwd", "b@localhost"],
        "p\n",
        "no account b@localhost",
    );
    refused(
        &["account", "add", "b@elsewhere"],
        "p\n",
        "only: localhost, example.org",
    );
    refused(
        &["account", "add", "b@localhost/phone"],
        "p\n",
        "write b@localhost",
    );
    refused(&["account", "add", "localhost"], "p\n", "user@localhost");
    refused(
        &["account", "add", "b@localhost"],
        "",
        "no password on stdin",
    );
    refused(
        &["account", "add", "b@localhost"],
        "\n",
        "password is empty",
    );
    refused(
        &["account", "add", "b@localhost"],
        "be\u{7}ll\n",
        "RFC 4013",
    );
    refused(&["account", "import", "missing.csv"], "", "missing.csv");
    refused(
        &["-c", "missing.toml", "account", "list"],
        "",
        "missing.toml",
    );
    assert_eq!(site.list(), ["a@localhost"]);

    fs::write(
        site.store(),
        "no database, and long enough to show it\n".repeat(50),
    )
    .expect("written");
    refused(&["account", "list"], "", "not a meerkat store");
}

#[test]
fn wrong_arguments_are_status_2() {
    let site = Site::new("usage");
    for arguments in [
        &["acount", "list"][..],
        &["account", "add"],
        &["account", "import", "-", "--iterations", "none"],
        &["serve", "--loud"],
    ] {
        let said = site.run(arguments, "");
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.err);
        assert!(said.err.contains("--help"), "{}", said.err);
    }
    let said = site.run(&["--version"], "");
    let version = concat!("meerkat ", env!("CARGO_PKG_VERSION"));
    assert!(
        said.code == 0 && said.out.starts_with(version),
        "{}",
        said.out
    );
    assert_eq!(site.run(&["--help"], "").code, 0);
}

#[test]
fn check_tells_every_error_or_a_summary() {
    let site = Site::new("check");
    let said = site.run(&["check"], "");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("config/meerkat.toml: valid"),
        "{}",
        said.out
    );
    assert!(said.out.contains("localhost, example.org"), "{}", said.out);
    assert!(said.err.contains("no listener"), "{}", said.err);

    site.write(
        "bad.toml",
        "[general]\nhots = [\"a\"]\nloglevel = 7\n[listen]\n",
    );
    site.write("bad_tls.toml", "[general]\nhosts = ['a.example']\ndefault_server_domain = 'a.example'\n[s2s.outgoing]\ntls.cacertfile = 'bad_tls.toml'\n[[listen.c2s]]\nport = 0\n");
    let said = site.run(&["check", "-c", "bad_tls.toml"], "");
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .contains("s2s.outgoing.tls.cacertfile: no PEM certificate"),
        "{}",
        said.err
    );
    assert!(said.err.contains("bad_tls.toml:5:18"), "{}", said.err);

    let said = site.run(&["check", "-c", "bad.toml"], "");
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    for part in ["bad.toml", "hots", "loglevel", "hosts"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
}

#[test]
fn an_import_tells_bad_lines_and_takes_the_others() {
    let site = Site::new("import");
    site.write(
        "accounts.csv",
        "jid,password\na@localhost,one\nb@nowhere,two\nc@localhost\n\n\"d@localhost\",\"f,o\"\"ur\"\n",
    );
    let said = site.run(&["account", "import", "accounts.csv", "--verbose"], "");
    assert_eq!(said.code, 1, "{}", said.err);
    let mut imported: Vec<_> = said.out.lines().collect();
    imported.sort_unstable();
    assert_eq!(imported, ["a@localhost", "d@localhost"]);
    assert!(
        said.err.contains("accounts.csv:3: b@nowhere"),
        "{}",
        said.err
    );
    assert!(said.err.contains("accounts.csv:4: 1 field"), "{}", said.err);
    assert!(
        said.err
            .contains("2 imported, 0 skipped as they exist, 2 failed"),
        "{}",
        said.err
    );
    assert!(
        !said.err.contains("two"),
        "no password is shown: {}",
        said.err
    );

    // Again from stdin: what is there is skipped, or replaced where that is asked for.
    let rows = "a@localhost,uno\ne@localhost,five\n";
    let said = site.run(&["account", "import", "-"], rows);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err
            .contains("1 imported, 1 skipped as they exist, 0 failed"),
        "{}",
        said.err
    );
    let said = site.run(
        &["account", "import", "-", "--replace", "--iterations", "1"],
        rows,
    );
    assert!(said.err.contains("2 imported, 0 skipped"), "{}", said.err);
    assert_eq!(site.list(), ["a@localhost", "d@localhost", "e@localhost"]);
}

/// Issue 2, item 10: what was acknowledged survives `kill -9` at any moment.
#[test]
fn every_acknowledged_account_survives_kill_9() {
    const ROWS: usize = 60_000;
    let site = Site::new("kill");
    // More than three imports can be ahead of their reader: rows in flight and a pipe full of lines.
    let rows: String = (0..ROWS)
        .map(|n| format!("u{n}@localhost,p{n}\n"))
        .collect();
    site.write("many.csv", &rows);
    let mut acknowledged: Vec<String> = Vec::new();
    for acknowledgements in [1, 100, 400] {
        let arguments = [
            "account",
            "import",
            "many.csv",
            "--iterations",
            "1",
            "--verbose",
        ];
        let mut import = site.start(&arguments);
        let mut lines = BufReader::new(import.stdout.take().expect("piped")).lines();
        for line in lines.by_ref().take(acknowledgements) {
            acknowledged.push(line.expect("readable"));
        }
        // std's kill is SIGKILL.
        import.kill().expect("killed");
        // What was written before the kill counts too; the last line may be cut.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        acknowledged.extend(rest.into_iter().take(whole));
        import.wait().expect("ended");

        let found: std::collections::BTreeSet<String> = site.list().into_iter().collect();
        for jid in &acknowledged {
            assert!(found.contains(jid), "{jid} was acknowledged and is gone");
        }
        assert!(
            found.len() < ROWS,
            "the kill came too late to prove anything"
        );
    }
    assert!(acknowledged.len() >= 501);
}

#[test]
fn nobody_else_may_read_the_store() {
    use std::os::unix::fs::MetadataExt;
    let site = Site::new("modes");
    assert_eq!(site.run(&["account", "add", "a@localhost"], "p\n").code, 0);
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(&site.folder.join("data")), 0o700);
    assert_eq!(mode(&site.store()), 0o600);
}

#[test]
fn two_commands_work_beside_each_other() {
    let site = Site::new("beside");
    assert_eq!(
        site.run(&["account", "add", "first@localhost"], "p\n").code,
        0
    );
    let rows: String = (0..3000)
        .map(|n| format!("u{n}@localhost,p{n}\n"))
        .collect();
    site.write("many.csv", &rows);
    let import = site.start(&["account", "import", "many.csv", "--iterations", "1"]);
    for number in 0..5 {
        let jid = format!("beside{number}@example.org");
        let said = site.run(&["account", "add", &jid], "p\n");
        assert_eq!(said.code, 0, "{}", said.err);
    }
    let said = Said::from(import.wait_with_output().expect("it ends"));
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(site.list().len(), 3006);
}
