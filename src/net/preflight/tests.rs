//! Every message on a table of machines, and two of them on this one: under a seccomp filter and
//! without locked memory.

use super::*;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use uring::Outcome;
use uring::Surroundings;

fn machine() -> Surroundings {
    Surroundings {
        kernel: "6.1.0-13-amd64".to_owned(),
        io_uring_disabled: None,
        io_uring_group: None,
        seccomp: false,
        locked_memory: 8 << 20,
    }
}

fn text(outcome: Outcome, around: &Surroundings) -> String {
    uring::judge(&outcome, around)
        .expect_err("a refusal")
        .to_string()
}

fn errno(number: i32) -> Outcome {
    Outcome::Refused(io::Error::from_raw_os_error(number))
}

#[test]
fn each_cause_has_its_message() {
    let machine = machine();
    let disabled = |value, group| Surroundings {
        kernel: "6.6.1".to_owned(),
        io_uring_disabled: Some(value),
        io_uring_group: group,
        ..machine.clone()
    };
    let filtered = Surroundings {
        seccomp: true,
        ..machine.clone()
    };
    let old = Surroundings {
        kernel: "4.19.0-26".to_owned(),
        ..filtered
    };
    let unlocked = Surroundings {
        locked_memory: 65_536,
        ..machine.clone()
    };
    let rows: Vec<(Outcome, &Surroundings, &[&str])> = vec![
        (
            errno(libc::EPERM),
            &filtered,
            &["seccomp filter refuses", "--security-opt seccomp="],
        ),
        (
            errno(libc::ENOSYS),
            &filtered,
            &["seccomp filter hides", "--security-opt seccomp="],
        ),
        (errno(libc::EPERM), &machine, &["SELinux", "audit.log"]),
        (errno(libc::EACCES), &machine, &["SELinux"]),
        (
            errno(libc::ENOSYS),
            &machine,
            &["6.1.0-13-amd64", "CONFIG_IO_URING=y"],
        ),
        (
            errno(libc::ENOSYS),
            &old,
            &["4.19.0-26", "lacks: io_uring", "from 6.1 on"],
        ),
        (
            errno(libc::ENOMEM),
            &unlocked,
            &["64 KiB", "--ulimit memlock=-1"],
        ),
        (
            errno(libc::ENOMEM),
            &machine,
            &["memory cgroup", "MemoryMax"],
        ),
        (
            errno(libc::EMFILE),
            &machine,
            &["file descriptor", "--ulimit nofile"],
        ),
        (
            errno(libc::EIO),
            &machine,
            &["6.1.0-13-amd64", "os error 5"],
        ),
        (
            Outcome::FlagsRefused(io::Error::from_raw_os_error(libc::EINVAL)),
            &machine,
            &["lacks: rings", "6.1"],
        ),
        (
            Outcome::RegisterRefused(io::Error::from_raw_os_error(libc::EPERM)),
            &filtered,
            &["io_uring_register", "seccomp="],
        ),
        (
            Outcome::Lacking(vec!["send", "close"]),
            &machine,
            &["lacks: send, close"],
        ),
    ];
    for (outcome, around, wanted) in rows {
        let said = text(outcome, around);
        assert!(
            wanted.iter().all(|part| said.contains(part)),
            "{wanted:?} in {said}"
        );
        assert!(said.contains("\n  remedy: "), "{said}");
    }
    let both = Surroundings {
        seccomp: true,
        ..disabled(2, Some(-1))
    };
    for around in [disabled(2, Some(-1)), both] {
        let said = text(errno(libc::EPERM), &around);
        assert!(
            said.contains("switched off") && said.contains("io_uring_disabled=0"),
            "{said}"
        );
    }
    let said = text(errno(libc::EPERM), &disabled(1, Some(-1)));
    assert!(
        said.contains("CAP_SYS_ADMIN") && said.contains("io_uring_group=GID"),
        "{said}"
    );
    let said = text(errno(libc::EPERM), &disabled(1, Some(990)));
    assert!(
        said.contains("group 990") && said.contains("--group-add 990"),
        "{said}"
    );
    assert_eq!(uring::judge(&Outcome::Ready, &machine), Ok(()));
}

#[test]
fn surroundings_are_read_from_proc() {
    let read = |path: &str| match path {
        "/proc/sys/kernel/osrelease" => Some("6.6.13\n".to_owned()),
        "/proc/sys/kernel/io_uring_disabled" => Some("1\n".to_owned()),
        "/proc/sys/kernel/io_uring_group" => Some("-1\n".to_owned()),
        "/proc/self/status" => {
            Some("Name:\tmeerkat\nSeccomp:\t2\nSeccomp_filters:\t1\n".to_owned())
        }
        _ => None,
    };
    let wanted = Surroundings {
        kernel: "6.6.13".to_owned(),
        io_uring_disabled: Some(1),
        io_uring_group: Some(-1),
        seccomp: true,
        locked_memory: 7,
    };
    assert_eq!(Surroundings::read(read, 7), wanted);
    let nothing = Surroundings {
        locked_memory: 7,
        ..Surroundings::default()
    };
    assert_eq!(Surroundings::read(|_| None, 7), nothing);
}

#[test]
fn the_report_is_a_line() {
    let raised = |before, now| Raised { before, now };
    let report = Report {
        kernel: "6.1.0".to_owned(),
        open_files: raised(1024, 4096),
        locked_memory: raised(1, 1),
        somaxconn: Some(128),
    };
    assert_eq!(
        report.lines(),
        ["Linux 6.1.0, io_uring ready; open files 4096 (raised from 1024)"]
    );
    assert!(report.backlog_warning(1024).is_some());
    assert!(
        Report {
            somaxconn: None,
            ..report
        }
        .backlog_warning(1024)
        .is_none()
    );
}

// ---- on this machine

const ANSWER: &str = "preflight says: ";

/// Whatever the machine, there is an answer. The tests below run this one in processes of theirs.
#[test]
fn this_machine_gets_an_answer() {
    let answer = match run() {
        Ok(report) => format!(
            "ready, {} bytes locked. {}",
            report.locked_memory.now,
            report.lines().join(" ")
        ),
        Err(refusal) => refusal.to_string().replace('\n', " "),
    };
    assert!(!answer.is_empty());
    println!("{ANSWER}{answer}");
}

/// Runs the test above in a process that `prepare` has restricted, and returns what it printed.
fn answer_under(prepare: fn() -> io::Result<()>) -> String {
    let this = std::env::current_exe().expect("a test runs from a file");
    let name = std::any::type_name_of_val(&this_machine_gets_an_answer);
    let (_, name) = name.split_once("::").expect("a path begins with its crate");
    let mut command = Command::new(this);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    restrict(&mut command, prepare);
    let output = command
        .output()
        .expect("the test's own program can be run again");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = said
        .lines()
        .find_map(|line| Some(line.split_once(ANSWER)?.1.to_owned()));
    answer.unwrap_or_else(|| panic!("no answer in {said}"))
}

#[expect(unsafe_code, reason = "what runs between fork and exec is restricted")]
fn restrict(command: &mut Command, prepare: fn() -> io::Result<()>) {
    // SAFETY: `prepare` makes system calls and nothing else.
    unsafe { command.pre_exec(prepare) };
}

fn check(answer: libc::c_long) -> io::Result<()> {
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has `io_uring_setup` fail with EPERM from here on, as container runtimes do.
#[expect(unsafe_code, reason = "prctl(2) takes a pointer to the filter")]
fn refuse_io_uring() -> io::Result<()> {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER_WITH: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD_NUMBER, 0, 0, 0),
        step(IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        step(
            ANSWER_WITH,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        step(ANSWER_WITH, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the filter, which lives on this stack during the calls.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
        let mode = libc::SECCOMP_MODE_FILTER;
        check(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter, 0, 0).into())
    }
}

/// Takes away locked memory, and root's right to take it back.
#[expect(unsafe_code, reason = "prctl(2) and setrlimit(2)")]
fn lock_no_memory() -> io::Result<()> {
    const CAP_SYS_RESOURCE: libc::c_int = 24;
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel reads one rlimit; the other call takes numbers only.
    unsafe {
        // Fails where there is no such right to lose.
        libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0);
        check(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none).into())
    }
}

#[test]
fn a_seccomp_filter_is_named() {
    let said = answer_under(refuse_io_uring);
    let off = said.contains("kernel.io_uring_disabled") || said.contains("built without");
    assert!(
        said.contains("seccomp filter refuses io_uring") || off,
        "{said}"
    );
    assert!(said.contains("remedy: "), "{said}");
}

#[test]
fn too_little_locked_memory_is_named() {
    let said = answer_under(lock_no_memory);
    let refused_before = said.contains("remedy: ") && !said.starts_with("ready");
    assert!(refused_before, "{said}");
    let machine_has_io_uring = matches!(uring::try_ring(), Outcome::Ready);
    assert!(
        said.contains("RLIMIT_MEMLOCK") || !machine_has_io_uring,
        "{said}"
    );
}
