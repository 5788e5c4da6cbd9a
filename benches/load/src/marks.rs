//! Numbers in messages, and who has got which: what is lost and what comes twice are told apart.

use std::collections::BTreeSet;

use memchr::memchr_iter;

/// In front of a message's number; nothing else of a message holds it.
pub(crate) const MARK: u8 = b'~';
/// Digits of a number.
const DIGITS: usize = 9;

/// Appends the mark and the number.
pub(crate) fn write(mut number: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.push(MARK);
    out.extend_from_slice(&digits);
}

/// What of a mark was cut off at the end of the last read.
#[derive(Debug, Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    /// Calls `each` with the numbers in what has come.
    pub(crate) fn read(&mut self, input: &[u8], mut each: impl FnMut(usize)) {
        if self.0.is_empty() {
            self.0 = numbers(input, &mut each).to_vec();
            return;
        }
        self.0.extend_from_slice(input);
        let joined = std::mem::take(&mut self.0);
        self.0 = numbers(&joined, &mut each).to_vec();
    }
}

/// The numbers in these bytes; returns a mark at their end that is not whole.
fn numbers<'a>(bytes: &'a [u8], each: &mut impl FnMut(usize)) -> &'a [u8] {
    for at in memchr_iter(MARK, bytes) {
        let Some(digits) = bytes.get(at + 1..=at + DIGITS) else {
            return &bytes[at..];
        };
        let number = digits.iter().try_fold(0, |sum: usize, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + usize::from(digit - b'0'))
        });
        each(number.unwrap_or(usize::MAX));
    }
    &[]
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// The next one.
    InOrder,
    /// After one that was sent later.
    Late,
    /// Once more, or never sent.
    Twice,
}

/// What one receiver has got of the messages 0, 1 and so on of its sender.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    next: usize,
    missing: BTreeSet<usize>,
}

impl Tally {
    /// A message came; `sent` were sent so far.
    pub(crate) fn came(&mut self, number: usize, sent: usize) -> Came {
        if number >= sent {
            return Came::Twice;
        }
        if number < self.next {
            return if self.missing.remove(&number) {
                Came::Late
            } else {
                Came::Twice
            };
        }
        self.missing.extend(self.next..number);
        self.next = number + 1;
        Came::InOrder
    }

    /// How many have not come of so many.
    pub(crate) fn lost(&self, sent: usize) -> usize {
        sent - self.next + self.missing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_whole_however_the_bytes_are_cut() {
        let mut bytes = b"<m>".to_vec();
        write(12, &mut bytes);
        bytes.extend_from_slice(b"</m><m>");
        write(345, &mut bytes);
        bytes.extend_from_slice(b"</m>");
        for cut in 0..bytes.len() {
            let (mut tail, mut found) = (Tail::default(), Vec::new());
            tail.read(&bytes[..cut], |number| found.push(number));
            tail.read(&bytes[cut..], |number| found.push(number));
            assert_eq!(found, [12, 345], "cut at {cut}");
        }
    }

    #[test]
    fn lost_late_and_doubled_messages_are_told_apart() {
        let mut tally = Tally::default();
        let came = [0, 2, 2, 1, 1, 5, 9].map(|number| tally.came(number, 6));
        use Came::{InOrder, Late, Twice};
        assert_eq!(came, [InOrder, InOrder, Twice, Late, Twice, InOrder, Twice]);
        assert_eq!(tally.lost(6), 2, "3 and 4");
        assert_eq!(tally.lost(8), 4, "6 and 7 as well");
    }
}
