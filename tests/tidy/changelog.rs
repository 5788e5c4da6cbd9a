//! The form of the changelog: versions, newest first, with sections of a fixed set and entries.

use crate::source::Fault;
use crate::source::Tree;

const SECTIONS: &[&str] = &[
    "Added",
    "Changed",
    "Deprecated",
    "Removed",
    "Fixed",
    "Security",
    "Performance",
];

pub(crate) fn changelog(tree: &Tree) -> Vec<Fault> {
    let places = ["CHANGELOG.md", "docs/CHANGELOG.md"];
    let files = places.iter().filter_map(|path| tree.files.get(*path));
    files
        .flat_map(|file| faults_of(&file.path, &file.text))
        .collect()
}

fn faults_of(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |line: usize, what: String, remedy| {
        faults.push(Fault {
            path: path.to_owned(),
            line,
            what,
            remedy,
        });
    };
    if !text.starts_with("# Changelog\n") {
        fault(1, "no title".to_owned(), "begin with `# Changelog`");
    }
    let (mut version, mut section) = (false, None);
    for (line, content) in (1..).zip(text.lines()) {
        if let Some(heading) = content.strip_prefix("## ") {
            (version, section) = (true, None);
            if !is_version(heading) {
                let remedy = "`## Unreleased` or `## 0.2.0 - 2026-12-24`";
                fault(
                    line,
                    format!("the heading {heading:?} is no version"),
                    remedy,
                );
            }
        } else if let Some(heading) = content.strip_prefix("### ") {
            section = version.then_some(heading);
            if !SECTIONS.contains(&heading) || !version {
                let remedy = "below a version: Added, Changed, Deprecated, Removed, Fixed, \
                              Security or Performance";
                fault(line, format!("the section {heading:?}"), remedy);
            }
        } else if content.starts_with("- ") && section.is_none() {
            fault(
                line,
                "an entry outside a section".to_owned(),
                "put it below a `###` heading",
            );
        }
    }
    faults
}

fn is_version(heading: &str) -> bool {
    let heading = heading.replace(['[', ']'], "");
    if heading == "Unreleased" {
        return true;
    }
    let Some((version, date)) = heading.split_once(" - ") else {
        return false;
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let numbers =
        |text: &str, separator| text.split(separator).filter(|part| is_number(part)).count();
    numbers(version, '.') == 3 && numbers(date, '-') == 3
}
