//! Sizes, documentation, and that every file is compiled.

use crate::source::Fault;
use crate::source::File;
use crate::source::Tree;
use crate::source::find_all;
use crate::source::item_end;
use crate::source::words;

/// Lines of a file, its tests not counted, at which it has to be split.
const FILE_LINES_MAX: usize = 800;

/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Files of src/modules that carry features and are none.
const NOT_A_FEATURE: &[&str] = &[
    "mod.rs",
    "tests.rs",
    "pipeline.rs",
    "handover.rs",
    "parcel.rs",
    "answer.rs",
    "bounce.rs",
    "context.rs",
    "happening.rs",
];

/// Names of files and folders that say nothing.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "manager", "misc", "core",
];

pub(crate) fn file_length(tree: &Tree) -> Vec<Fault> {
    let long = tree.rust().filter_map(|file| {
        let lines = file.text.lines().count() - file.test_lines;
        let what = format!("{lines} lines without tests, {FILE_LINES_MAX} are too many");
        let remedy = "make it a folder of the same name, one concern a file";
        (lines >= FILE_LINES_MAX).then(|| file.fault(0, what, remedy))
    });
    long.collect()
}

pub(crate) fn function_length(tree: &Tree) -> Vec<Fault> {
    tree.src().flat_map(long_functions).collect()
}

fn long_functions(file: &File) -> Vec<Fault> {
    let code = &file.product;
    let found = words(code)
        .filter(|(_, word)| *word == "fn")
        .filter_map(|(offset, _)| {
            // `fn(u8) -> u8` is a type.
            let (_, name) = words(code[offset + 2..].split('(').next()?).next()?;
            let lines = code[offset..item_end(code, offset)].lines().count();
            let what = format!("fn {name} has {lines} lines, {FUNCTION_LINES_MAX} are the most");
            let remedy = "let it decide, and move what it computes into functions of its own";
            (lines > FUNCTION_LINES_MAX).then(|| file.fault(offset, what, remedy))
        });
    found.collect()
}

pub(crate) fn module_doc(tree: &Tree) -> Vec<Fault> {
    let missing = tree.rust().filter(|file| !file.text.starts_with("//!"));
    let fault = |file: &File| {
        let remedy = "begin the file with `//!`: what it is for, and why it is as it is";
        file.fault(0, "no module documentation", remedy)
    };
    missing.map(fault).collect()
}

/// The first line of a feature names its document.
pub(crate) fn feature_names_its_document(tree: &Tree) -> Vec<Fault> {
    let features = tree.src().filter(|file| {
        let name = file.path.rsplit('/').next().unwrap_or("");
        let is_folder = file.path.matches('/').count() > 2;
        let is_own = if is_folder {
            name == "mod.rs"
        } else {
            !NOT_A_FEATURE.contains(&name)
        };
        file.layer() == "modules" && is_own && !file.is_test
    });
    let nameless = features.filter(|file| {
        let first = file.text.lines().next().unwrap_or("");
        let named = first.contains("XEP-") || first.contains("RFC ");
        !named || !first.contains(|c: char| c.is_ascii_digit())
    });
    let fault = |file: &File| {
        let remedy = "`//! XEP-0199: XMPP Ping. ...` or `//! RFC 6121, section 8: ...`";
        file.fault(0, "the first line names no XEP or RFC", remedy)
    };
    nameless.map(fault).collect()
}

/// Every file of src/ is compiled.
pub(crate) fn reachability(tree: &Tree) -> Vec<Fault> {
    let mut reached = tree.reachable("src/lib.rs");
    reached.extend(tree.reachable("src/main.rs"));
    let lost = tree.src().filter(|file| !reached.contains_key(&file.path));
    let remedy = "declare it with `mod` in the module above, or delete it";
    lost.map(|file| file.fault(0, "no `mod` line leads here", remedy))
        .collect()
}

pub(crate) fn names(tree: &Tree) -> Vec<Fault> {
    let remedy = "name it for what it is about";
    let mut faults = Vec::new();
    for file in tree.src() {
        let parts = file.path.trim_end_matches(".rs").split('/').skip(1);
        for part in parts.filter(|part| EMPTY_NAMES.contains(part)) {
            faults.push(file.fault(0, format!("`{part}` says nothing"), remedy));
        }
        let getters = find_all(&file.product, "fn").filter(|offset| {
            let (_, name) = words(&file.product[offset + 2..]).next().unwrap_or((0, ""));
            // The standard library's own pair of names for containers.
            name.starts_with("get_") && name != "get_mut"
        });
        let remedy = "a function that returns a thing is called like the thing";
        faults.extend(getters.map(|offset| file.fault(offset, "a name with `get_`", remedy)));
    }
    faults
}

/// Every fuzz target is built by the fuzz crate, and replayed with every test run.
pub(crate) fn fuzz_targets(tree: &Tree) -> Vec<Fault> {
    const FOLDER: &str = "tests/fuzz/fuzz_targets/";
    let lists = [
        (
            "tests/fuzz/Cargo.toml",
            "add a [[bin]] to tests/fuzz/Cargo.toml",
        ),
        (
            "tests/fuzz_replay.rs",
            "add a line to `targets!` in tests/fuzz_replay.rs",
        ),
    ];
    let mut faults = Vec::new();
    for (list, remedy) in lists {
        let listed = tree.files.get(list).map_or("", |file| file.text.as_str());
        for file in tree.rust().filter(|file| file.path.starts_with(FOLDER)) {
            let name = file.path.trim_start_matches("tests/fuzz/");
            if !listed.contains(name) {
                faults.push(file.fault(0, format!("{name} is not in {list}"), remedy));
            }
        }
        for (at, _) in listed.match_indices("fuzz_targets/") {
            let name = listed[at..].split('"').next().unwrap_or("");
            if !tree.files.contains_key(&format!("tests/fuzz/{name}")) {
                let what = format!("{name} does not exist");
                faults.push(tree.files[list].fault(at, what, "write it, or take it off the list"));
            }
        }
    }
    faults
}
