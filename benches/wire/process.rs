//! Servers in processes of their own, and the CPU time they use.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use super::FLOOR_ARGUMENT;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);

/// Secret of the listener for components.
pub(crate) const COMPONENT_SECRET: &str = "secret";

/// A server under test; it is killed when dropped.
pub(crate) struct Server {
    /// What it is called in tables.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) address: SocketAddrV4,
    /// Where components connect; the floor has none.
    pub(crate) service: SocketAddrV4,
    child: Child,
    folder: Option<PathBuf>,
}

impl Server {
    /// The floor.
    pub(crate) fn floor() -> Self {
        let own = std::env::current_exe().expect("the path of this binary");
        let mut command = Command::new(own);
        let mut child = command
            .arg(FLOOR_ARGUMENT)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary");
        let output = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the floor tells its port");
        let port = line.trim().parse().expect("a port");
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        Self {
            name: "floor".to_owned(),
            address,
            service: address,
            child,
            folder: None,
        }
    }

    /// meerkat on so many cores, with accounts `user0` to `user{users - 1}`, password `secret`, and
    /// `more` in its configuration; `prepare` gets the data folder once the accounts are in it. The
    /// binary is that of MEERKAT_BIN, else target/release/meerkat.
    pub(crate) fn meerkat(
        cores: usize,
        users: usize,
        more: &str,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let name = match cores {
            1 => "meerkat".to_owned(),
            _ => format!("meerkat, {cores} cores"),
        };
        let binary = std::env::var_os("MEERKAT_BIN").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/release/meerkat"),
            PathBuf::from,
        );
        let folder = std::env::temp_dir();
        let (address, service) = (free_address(), free_address());
        let own = format!("meerkat-bench-{}-{}", std::process::id(), address.port());
        let folder = folder.join(own);
        fs::create_dir_all(&folder).expect("a folder for accounts");
        let config = folder.join("meerkat.toml");
        let text = config_text(&folder.join("data"), cores, address, service);
        fs::write(&config, text + more).expect("its config");
        let accounts = folder.join("accounts.csv");
        let rows: String = (0..users)
            .map(|n| format!("user{n}@localhost,secret\n"))
            .collect();
        fs::write(&accounts, rows).expect("its accounts");
        let mut import = Command::new(&binary);
        import
            .args(["account", "import"])
            .arg(&accounts)
            .arg("-c")
            .arg(&config);
        let imported = import.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(
            imported
                .expect("MEERKAT_BIN or target/release/meerkat")
                .success(),
            "no accounts"
        );
        prepare(&folder.join("data"));
        let mut serve = Command::new(&binary);
        serve
            .arg("serve")
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null());
        let child = serve.spawn().expect("it was just there");
        wait_for(address);
        let server = Self {
            name,
            address,
            service,
            child,
            folder: Some(folder),
        };
        wait_for(server.service);
        server
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time that its threads have used so far, in nanoseconds. The scheduler's own count:
    /// /proc/PID/stat has the same in ticks of 10 ms.
    pub(crate) fn cpu_ns(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let times = tasks.map(|task| {
            let text = fs::read_to_string(task.expect("an entry").path().join("schedstat"));
            first_number(text.as_deref().unwrap_or_default())
        });
        times.sum()
    }
}

fn first_number(text: &str) -> f64 {
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0.0)
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is noticed elsewhere.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn config_text(data: &Path, cores: usize, address: SocketAddrV4, service: SocketAddrV4) -> String {
    format!(
        "[general]\n  hosts = [\"localhost\"]\n  default_server_domain = \"localhost\"\n  \
         loglevel = \"error\"\n[runtime]\n  cores = {cores}\n  data_dir = \"{}\"\n\
         [auth]\n  password.format = \"plain\"\n  sasl_mechanisms = [\"plain\"]\n  \
         [auth.internal]\n[[listen.c2s]]\n  port = {}\n  ip_address = \"{}\"\n\
         [[listen.service]]\n  port = {}\n  ip_address = \"{}\"\n  \
         password = \"{COMPONENT_SECRET}\"\n",
        data.display(),
        address.port(),
        address.ip(),
        service.port(),
        service.ip(),
    )
}

/// An address that nobody listens on just now.
#[expect(clippy::disallowed_methods, reason = "only to learn a free port")]
fn free_address() -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark waits for its server"
)]
fn wait_for(address: SocketAddrV4) {
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(
            began.elapsed() < START,
            "the server does not listen on {address}"
        );
        std::thread::yield_now();
    }
}
