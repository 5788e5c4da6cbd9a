//! Completions for shells and manual pages, made from the definition of the command line.

use std::io::Write as _;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

use super::Failure;

/// Prints what `shell` needs to complete the commands.
pub(super) fn completions(mut command: Command, shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "meerkat", &mut text);
    std::io::stdout()
        .write_all(&text)
        .map_err(|error| Failure::new(format!("stdout: {error}")))
}

/// Writes a page for each command into `folder`: `meerkat.1`, `meerkat-account-add.1`.
pub(super) fn manual(command: Command, folder: &Path) -> Result<(), Failure> {
    let command = command.disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder)
        .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn every_command_is_completed_in_every_shell() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "meerkat", &mut text);
            let text = String::from_utf8(text).expect("UTF-8");
            for part in command.get_subcommands() {
                assert!(
                    text.contains(part.get_name()),
                    "{shell}: {}",
                    part.get_name()
                );
            }
        }
    }
}
