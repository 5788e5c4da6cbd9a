//! The order of targets, by the tables of RFC 2782 and RFC 8305.

use super::*;

fn target(name: &str, priority: u16, weight: u16) -> (Rank, Target) {
    let rank = Rank { priority, weight };
    let target = Target {
        host: name.into(),
        port: 5269,
        direct_tls: false,
    };
    (rank, target)
}

fn names(targets: &[Target]) -> String {
    targets.iter().map(|target| &*target.host).collect()
}

#[test]
fn priorities_go_before_weights() {
    let all = || {
        vec![
            target("d", 20, 65535),
            target("b", 10, 60),
            target("a", 10, 0),
            target("c", 10, 40),
        ]
    };
    assert_eq!(names(&in_order(all(), |_| 0)), "acbd");
    assert_eq!(names(&in_order(all(), |below| below - 1)), "bcad");
    assert_eq!(names(&in_order(all(), |below| below / 3)), "cbad");
    assert!(in_order(Vec::new(), |_| 0).is_empty());
}

#[test]
fn many_records_are_cut_to_the_best() {
    let all = (0..40).map(|n| target("x", 40 - n, 1)).collect();
    assert_eq!(in_order(all, |_| 0).len(), TARGETS_MAX);
}

#[test]
fn families_take_turns() {
    let parse = |text: &str| {
        text.split(' ')
            .map(|a| a.parse().expect("an address"))
            .collect::<Vec<IpAddr>>()
    };
    let six = parse("2001:db8::1 2001:db8::2 2001:db8::3");
    let four = parse("192.0.2.1");
    let expected = parse("2001:db8::1 192.0.2.1 2001:db8::2 2001:db8::3");
    assert_eq!(in_turn(&[six, four]), expected);
    assert!(in_turn(&[]).is_empty());
}
