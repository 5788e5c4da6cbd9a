//! `meerkat account import`: many accounts from a CSV file, at the speed of the cores.
//!
//! Rows flow one way: a reader ([`rows`]) makes chunks of them; a worker on each core asks the store
//! which exist, computes keys, and queues the writes; the store commits them in groups and answers;
//! this thread counts and tells. Computing keys is nearly all of the work.
//!
//! A row is counted as imported when it is safely stored, so an import that was killed can be
//! repeated: what it had counted is found and skipped.

mod rows;
mod work;

use std::fmt;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use indicatif::ProgressBar;
use indicatif::ProgressStyle;

use self::rows::Row;
use self::work::Worker;
use super::Import;
use super::account;
use crate::backend::embedded::Store;
use crate::cli::Failure;
use crate::cli::Loaded;
use crate::cli::failure::hint;

/// Rows that a worker takes at once: the answer to "which of them exist" is waited for once per
/// chunk, so a slow disk costs little.
const CHUNK_ROWS_MAX: usize = 64;

/// Rows between the reader and the count, over all stages: what is in memory of a long file.
const ROWS_IN_FLIGHT_MAX: usize = 4096;

/// What became of one line of the file.
enum Told {
    /// Stored, and the answer is in; the JID where it is to be printed.
    Imported(Option<String>),
    /// It exists already and was left as it is.
    Skipped,
    /// Nothing was stored for that line.
    Bad { line: u64, reason: String },
    /// The reader came this far, in bytes.
    Read(u64),
}

/// The lines so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    imported: u64,
    skipped: u64,
    bad: u64,
}

/// The whole command; fails where any line did.
#[expect(
    clippy::disallowed_methods,
    reason = "a command has no loop that gives it the time"
)]
pub(super) fn run(loaded: &Loaded, options: &Import) -> Result<(), Failure> {
    let input = Input::open(&options.file)?;
    let store = Store::open(&loaded.data_folder())?;
    let name = input.name.clone();
    let started = Instant::now();
    let mut report = Report::new(input.bytes, &name, options.verbose);
    let (told, to_tell) = crossbeam_channel::unbounded();
    // A slot for each row in flight: taken by the reader, given back when the row is counted. With
    // them `told` is bounded too, although the store's thread must never wait for it.
    let (take_slot, slots) = crossbeam_channel::bounded(ROWS_IN_FLIGHT_MAX);
    let (chunks, queue) = crossbeam_channel::bounded(ROWS_IN_FLIGHT_MAX / CHUNK_ROWS_MAX);
    let counted = thread::scope(|scope| {
        for _ in 0..cores() {
            let worker = Worker {
                handle: store.handle(),
                config: &loaded.config,
                options,
                told: told.clone(),
            };
            let queue = queue.clone();
            scope.spawn(move || worker.run(&queue));
        }
        drop(queue);
        let reader = scope.spawn(move || {
            let out = rows::Out {
                told,
                take_slot,
                chunks,
            };
            rows::read(input.reader, &loaded.config, &out)
        });
        report.count(to_tell, slots)?;
        reader
            .join()
            .unwrap_or_else(|_| Err(Failure::new("reading the file failed")))
    });
    store.close();
    report.finish(started.elapsed());
    counted?;
    for host in &loaded.config.general.hosts {
        account::warn_if_unused(&loaded.config, &host.value);
    }
    match report.count.bad {
        0 => Ok(()),
        1 => Err(Failure::new(format!(
            "1 line of {name} was not imported; it is named above"
        ))),
        bad => Err(Failure::new(format!(
            "{bad} lines of {name} were not imported; they are named above"
        ))),
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The file to import.
struct Input {
    name: String,
    reader: Box<dyn Read + Send>,
    /// Of a file of known length.
    bytes: Option<u64>,
}

impl Input {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let reader = Box::new(io::stdin());
            return Ok(Self {
                name: "stdin".to_owned(),
                reader,
                bytes: None,
            });
        }
        let failed = |error| Failure::new(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self {
            name: path.display().to_string(),
            reader: Box::new(file),
            bytes,
        })
    }
}

/// Tells the operator how it goes.
struct Report {
    bar: ProgressBar,
    name: String,
    verbose: bool,
    count: Count,
}

impl Report {
    /// The bar shows on a terminal only.
    fn new(bytes: Option<u64>, name: &str, verbose: bool) -> Self {
        let bar = match bytes {
            Some(bytes) => ProgressBar::new(bytes).with_style(style(
                "{bar:30} {percent:>3} %  {msg}  {elapsed} gone, {eta} to go",
            )),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}  {elapsed} gone")),
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            name: name.to_owned(),
            verbose,
            count: Count::default(),
        }
    }

    /// Until reader and workers are done and every queued write is answered. Takes the receivers,
    /// so that the reader ends where this fails.
    fn count(&mut self, to_tell: Receiver<Told>, slots: Receiver<()>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        for told in &to_tell {
            let is_row = self.one(told, &mut out)?;
            if is_row {
                // Taken by the reader before it sent the row, so there is one.
                let _ = slots.try_recv();
            }
        }
        Ok(())
    }

    /// Whether it was about a row.
    fn one(&mut self, told: Told, out: &mut dyn Write) -> Result<bool, Failure> {
        match told {
            Told::Imported(jid) => {
                self.count.imported += 1;
                if let Some(jid) = jid.filter(|_| self.verbose) {
                    // Said at once: who reads it counts on it.
                    writeln!(out, "{jid}")
                        .and_then(|()| out.flush())
                        .map_err(|error| {
                            Failure::new(format!("stdout: {error}; the import was stopped"))
                        })?;
                }
            }
            Told::Skipped => self.count.skipped += 1,
            Told::Bad { line, reason } => {
                self.count.bad += 1;
                let name = &self.name;
                self.bar
                    .suspend(|| hint(&format!("{name}:{line}: {reason}")));
            }
            Told::Read(bytes) => {
                self.bar.set_position(bytes);
                self.bar.set_message(self.count.to_string());
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn finish(&self, took: Duration) {
        self.bar.finish_and_clear();
        let seconds = took.as_secs_f64();
        let a_minute = self.count.imported as f64 / seconds.max(0.001) * 60.0;
        hint(&format!(
            "{} in {seconds:.1} s, {a_minute:.0} a minute",
            self.count
        ));
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            imported,
            skipped,
            bad,
        } = self;
        write!(
            f,
            "{imported} imported, {skipped} skipped as they exist, {bad} failed"
        )
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What the stages share of the way a row goes.
type Chunks = Sender<Vec<Row>>;
