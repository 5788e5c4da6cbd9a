//! Counts against a model, from several threads, and at the bound.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

fn limits(connections_max: Option<u32>, accept_rate: Option<u32>) -> PerAddress {
    PerAddress {
        connections_max,
        accept_rate,
    }
}

fn table(connections_max: Option<u32>, accept_rate: Option<u32>) -> Arc<AddressLimits> {
    AddressLimits::new(limits(connections_max, accept_rate), RandomState::new())
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address in a test")
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(number).into()
}

#[test]
fn a_client_is_an_ipv4_address_or_a_64() {
    let same = [
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"),
    ];
    let different = [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8:0:1::1"),
        ("192.0.2.1", "0:0:192:0:2:1::"),
        ("0.0.0.1", "::1"),
    ];
    for (a, b) in same {
        assert_eq!(Client::from(ip(a)), Client::from(ip(b)));
    }
    for (a, b) in different {
        assert_ne!(Client::from(ip(a)), Client::from(ip(b)));
    }
}

#[test]
fn connections_count_while_they_are_held() {
    let table = table(Some(2), None);
    let first = table.admit(ip("192.0.2.1"), 0).expect("the first");
    let second = table.admit(ip("192.0.2.1"), 0).expect("the second");
    assert_eq!(
        table.admit(ip("192.0.2.1"), 0).err(),
        Some(Refusal::TooMany)
    );
    let other = table.admit(ip("192.0.2.2"), 0).expect("another client");
    drop(first);
    let third = table
        .admit(ip("192.0.2.1"), 0)
        .expect("there is room again");
    assert_eq!(table.len(), 2);
    drop((second, third, other));
    assert!(table.is_empty());
}

#[test]
fn the_rate_is_kept_without_connections() {
    let table = table(None, Some(3));
    for _ in 0..3 {
        drop(table.admit(v4(1), 0).expect("a second's worth"));
    }
    for _ in 0..100 {
        assert_eq!(table.admit(v4(1), 0).err(), Some(Refusal::TooFast));
    }
    drop(table.admit(v4(2), 0).expect("another client"));
    drop(table.admit(v4(1), 334).expect("refused ones cost nothing"));
    assert_eq!(table.admit(v4(1), 334).err(), Some(Refusal::TooFast));
}

/// One part only, to reach the bound with few addresses: the others stay empty.
fn one_part(rate: u32, addresses: u32) -> (Part, PerAddress) {
    let table = HashMap::with_hasher(RandomState::new());
    let mut part = Part {
        table,
        idle: 0,
        sweep_at: SWEEP_MIN,
    };
    let limits = limits(None, Some(rate));
    for number in 0..addresses {
        let client = Client::from(v4(number));
        part.admit(client, &limits, addresses as usize, 0)
            .expect("there is room");
    }
    (part, limits)
}

#[test]
fn full_buckets_go_first() {
    let (mut part, limits) = one_part(1, 1000);
    for number in 0..500 {
        part.release(Client::from(v4(number)), false);
    }
    // A second later their buckets are full: as good as never seen.
    assert_eq!(
        part.admit(Client::from(v4(5000)), &limits, 1000, 1000),
        Ok(())
    );
    assert_eq!((part.table.len(), part.idle), (501, 0));
}

#[test]
fn then_debts_are_forgiven_and_then_newcomers_refused() {
    let (mut part, limits) = one_part(1, 1000);
    for number in 0..500 {
        part.release(Client::from(v4(number)), false);
    }
    let (known, new) = (Client::from(v4(1)), Client::from(v4(5000)));
    assert_eq!(part.admit(known, &limits, 1000, 0), Err(Refusal::TooFast));
    assert_eq!(part.admit(new, &limits, 1000, 0), Ok(()));
    assert_eq!((part.table.len(), part.idle), (501, 0));
    assert_eq!(
        part.admit(known, &limits, 1000, 0),
        Ok(()),
        "it was forgotten"
    );

    let (mut part, limits) = one_part(10, 1000);
    assert_eq!(
        part.admit(new, &limits, 1000, 1000),
        Err(Refusal::TableFull)
    );
    let known = Client::from(v4(7));
    assert_eq!(
        part.admit(known, &limits, 1000, 1000),
        Ok(()),
        "known clients are counted on"
    );
    part.release(known, false);
    part.release(known, false);
    assert_eq!(part.admit(new, &limits, 1000, 1000), Ok(()));
}

#[test]
fn a_flood_of_addresses_takes_bounded_room() {
    let table = AddressLimits::with_room_for(64 * 100, limits(None, Some(1)), RandomState::new());
    for number in 0..200_000 {
        let counted = table.admit(v4(number), u64::from(number) / 1000);
        assert!(counted.is_ok() && table.parts.len() == PARTS);
    }
    assert!(table.len() <= 64 * 100, "{} held", table.len());
    let capacity: usize = table
        .parts
        .iter()
        .map(|part| lock(part).table.capacity())
        .sum();
    assert!(capacity <= 64 * 256, "room for {capacity}");
}

#[test]
fn exact_from_several_threads() {
    const MAX: u32 = 5;
    let table = table(Some(MAX), Some(1_000_000));
    let open: [AtomicU32; 3] = Default::default();
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (table, open) = (&table, &open);
            scope.spawn(move || {
                let mut held = Vec::new();
                for turn in 0..20_000usize {
                    let which = (turn * 7 + thread) % open.len();
                    if let Ok(counted) = table.admit(v4(which as u32), 0) {
                        let now = open[which].fetch_add(1, Ordering::SeqCst) + 1;
                        assert!(now <= MAX, "{now} open");
                        held.push((which, counted));
                    }
                    if held.len() > turn % 6 {
                        let (which, counted) = held.remove(0);
                        open[which].fetch_sub(1, Ordering::SeqCst);
                        drop(counted);
                    }
                }
                for (which, _) in &held {
                    open[*which].fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    let left: u32 = table
        .parts
        .iter()
        .map(|part| {
            lock(part)
                .table
                .values()
                .map(|usage| usage.open)
                .sum::<u32>()
        })
        .sum();
    assert_eq!(left, 0);
}

#[test]
fn labels_are_metric_labels() {
    for refusal in [Refusal::TooMany, Refusal::TooFast, Refusal::TableFull] {
        assert!(
            refusal
                .label()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Admit(u32),
    Close(prop::sample::Index),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u32).prop_map(Step::Admit),
        2 => any::<prop::sample::Index>().prop_map(Step::Close),
        1 => (0..700u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_model(max in 1..5u32, rate in 1..8u32, steps in prop::collection::vec(any_step(), 0..200)) {
        let table = table(Some(max), Some(rate));
        let mut now_ms = 0;
        let mut held: Vec<(u32, Counted)> = Vec::new();
        let mut buckets: BTreeMap<u32, TokenBucket> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Pass(ms) => now_ms += ms,
                Step::Close(which) => {
                    if !held.is_empty() {
                        drop(held.swap_remove(which.index(held.len())));
                    }
                }
                Step::Admit(client) => {
                    let open = held.iter().filter(|(holder, _)| *holder == client).count();
                    let bucket = buckets.entry(client).or_insert_with(|| TokenBucket::new(rate.into(), now_ms));
                    let wanted = if open >= max as usize {
                        Err(Refusal::TooMany)
                    } else if bucket.available(now_ms) == 0 {
                        Err(Refusal::TooFast)
                    } else {
                        bucket.take(now_ms, 1);
                        Ok(())
                    };
                    let got = table.admit(v4(client), now_ms);
                    prop_assert_eq!(got.as_ref().map(|_| ()).map_err(|refusal| *refusal), wanted);
                    held.extend(got.ok().map(|counted| (client, counted)));
                }
            }
        }
    }
}
