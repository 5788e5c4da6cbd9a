//! Where a command gets a password from, and what it makes of it.

use std::io;
use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Read;

use crate::auth::password::PasswordPolicy;
use crate::auth::password::Salts;
use crate::cli::Failure;
use crate::cli::failure::hint;
use crate::proto::sasl::keys::Credentials;
use crate::proto::sasl::keys::PASSWORD_BYTES_MAX;
use crate::store::AccountId;

/// The password of `--password`; without it the line on stdin; where that is a terminal, what is
/// typed twice.
pub(super) fn obtain(given: Option<String>, id: &AccountId) -> Result<String, Failure> {
    if let Some(password) = given {
        hint(
            "a password on the command line can be seen in the list of processes and the shell's \
             history; without --password it is asked for, or read from stdin",
        );
        return Ok(password);
    }
    let stdin = io::stdin();
    match stdin.is_terminal() {
        true => ask(id),
        false => one_line(&mut stdin.lock()),
    }
}

fn ask(id: &AccountId) -> Result<String, Failure> {
    let read = |prompt: String| {
        rpassword::prompt_password(prompt)
            .map_err(|error| Failure::new(format!("no password could be read: {error}")))
    };
    let password = read(format!("Password for {id}: "))?;
    if read("The same again: ".to_owned())? != password {
        return Err(Failure::new(
            "the two passwords differ; nothing was changed",
        ));
    }
    Ok(password)
}

fn one_line(input: &mut dyn BufRead) -> Result<String, Failure> {
    // Room for the longest password, its line end, and one byte by which a longer one shows.
    let mut line = Vec::new();
    input
        .take(PASSWORD_BYTES_MAX as u64 + 3)
        .read_until(b'\n', &mut line)
        .map_err(|error| Failure::new(format!("no password could be read from stdin: {error}")))?;
    if line.is_empty() {
        return Err(Failure::new("no password on stdin: give it as one line"));
    }
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    }
    String::from_utf8(line).map_err(|_| Failure::new("the password on stdin is not UTF-8"))
}

/// What is stored of a password.
pub(super) fn credentials(policy: &PasswordPolicy, password: &str) -> Result<Credentials, Failure> {
    policy
        .credentials(password, &salts()?)
        .map_err(|error| Failure::new(error.to_string()))
}

/// Random salts for one password.
fn salts() -> Result<Salts, Failure> {
    let mut salts = Salts::default();
    for salt in &mut salts {
        aws_lc_rs::rand::fill(salt)
            .map_err(|_| Failure::new("the system gives no random bytes for a salt"))?;
    }
    Ok(salts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_without_its_end_is_the_password() {
        let read = |input: &str| one_line(&mut input.as_bytes());
        assert_eq!(read("pencil").as_deref(), Ok("pencil"));
        assert_eq!(read("pencil\nsecond line\n").as_deref(), Ok("pencil"));
        assert_eq!(read("pencil \r\n").as_deref(), Ok("pencil "));
        assert_eq!(
            read("\n").as_deref(),
            Ok(""),
            "the policy refuses it, with the reason"
        );
        assert!(read("").is_err());
        let long = "x".repeat(PASSWORD_BYTES_MAX * 2);
        assert!(read(&long).is_ok_and(|read| read.len() > PASSWORD_BYTES_MAX));
        assert!(one_line(&mut &b"\xff\n"[..]).is_err());
    }

    #[test]
    fn salts_differ() {
        let [a, b, c] = salts().expect("random bytes");
        assert!(a != b && b != c && a != salts().expect("random bytes")[0]);
    }
}
