//! What each core does with the rows: ask which exist, compute keys, queue the writes.

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;

use super::Told;
use super::rows::Row;
use crate::auth::password::PasswordPolicy;
use crate::backend::embedded::Handle;
use crate::cli::Failure;
use crate::cli::Import;
use crate::cli::account;
use crate::cli::passwords;
use crate::config::Config;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;

/// One of the threads that compute. Lives on: its thread, for one import.
pub(super) struct Worker<'a> {
    pub(super) handle: Handle,
    pub(super) config: &'a Config,
    pub(super) options: &'a Import,
    pub(super) told: Sender<Told>,
}

impl Worker<'_> {
    /// Until the reader is done.
    pub(super) fn run(&self, queue: &Receiver<Vec<Row>>) {
        for chunk in queue {
            let exist = self.which_exist(&chunk);
            for (row, exists) in chunk.into_iter().zip(exist) {
                let line = row.line;
                if let Err(failure) = exists.and_then(|exists| self.row(row, exists)) {
                    self.tell(Told::Bad {
                        line,
                        reason: failure.to_string(),
                    });
                }
            }
        }
    }

    /// Asked before any key is computed: skipping is what a repeated import mostly does. All
    /// questions go out before the first answer is waited for.
    fn which_exist(&self, chunk: &[Row]) -> Vec<Result<bool, Failure>> {
        let asked: Vec<_> = chunk
            .iter()
            .map(|row| {
                let (sender, answer) = crossbeam_channel::bounded(1);
                let reply = Box::new(move |result| drop(sender.send(result)));
                let exists = Request::Exists { id: row.id.clone() };
                self.handle.submit_waiting(exists, reply).map(|()| answer)
            })
            .collect();
        asked
            .into_iter()
            .map(
                |answer| match answer?.recv().unwrap_or(Err(StoreError::Stopped))? {
                    Response::Exists(exists) => Ok(exists),
                    Response::AlreadyExists
                    | Response::Count(_)
                    | Response::Credentials(_)
                    | Response::Data(_)
                    | Response::Deleted(_)
                    | Response::Done
                    | Response::NoSuchAccount
                    | Response::Offline(_)
                    | Response::Opening(_)
                    | Response::Page(_) => Err(account::unexpected()),
                },
            )
            .collect()
    }

    fn row(&self, row: Row, exists: bool) -> Result<(), Failure> {
        if exists && !self.options.replace {
            self.tell(Told::Skipped);
            return Ok(());
        }
        let mut policy = PasswordPolicy::from_config(self.config.auth_of(row.id.host()));
        policy.iterations = self.options.iterations.unwrap_or(policy.iterations);
        let credentials = passwords::credentials(&policy, &row.password)?;
        let told = self.told.clone();
        let line = row.line;
        let jid = self.options.verbose.then(|| row.id.to_string());
        // A receiver that is gone means that the import was given up.
        let reply = Box::new(move |result| drop(told.send(outcome(result, line, jid))));
        let request = match exists {
            true => Request::SetCredentials {
                id: row.id,
                credentials,
            },
            false => Request::Create {
                id: row.id,
                credentials,
                created_at: account::now(),
            },
        };
        Ok(self.handle.submit_waiting(request, reply)?)
    }

    fn tell(&self, told: Told) {
        let _ = self.told.send(told);
    }
}

fn outcome(result: Result<Response, StoreError>, line: u64, jid: Option<String>) -> Told {
    let reason = match result {
        Ok(Response::Done) => return Told::Imported(jid),
        // Another process made it since it was asked for.
        Ok(Response::AlreadyExists) => return Told::Skipped,
        Ok(Response::NoSuchAccount) => "it was removed while it was imported".to_owned(),
        Ok(
            Response::Count(_)
            | Response::Credentials(_)
            | Response::Data(_)
            | Response::Deleted(_)
            | Response::Exists(_)
            | Response::Offline(_)
            | Response::Opening(_)
            | Response::Page(_),
        ) => account::unexpected().to_string(),
        Err(error) => error.to_string(),
    };
    Told::Bad { line, reason }
}
