//! A stack whose memory is written before it is used, so that entering a row is a store and a
//! comparison: a vector would call its allocator in the middle of the scanner's loop, and that costs
//! the registers of the loop.

use std::ops::Deref;
use std::ops::DerefMut;

/// Rows beyond those are got one by one where the limits allow more than the table has.
const GROWTH_MIN: usize = 16;

/// Of a kind that is cheap to copy. Keeps its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows<T> {
    memory: Vec<T>,
    len: usize,
}

impl<T: Copy + Default> Rows<T> {
    /// Has memory for so many.
    pub(super) fn with_room(rows: usize) -> Self {
        Self {
            memory: vec![T::default(); rows],
            len: 0,
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, row: T) {
        if self.is_full() {
            self.grow();
        }
        if let Some(place) = self.memory.get_mut(self.len) {
            *place = row;
            self.len += 1;
        }
    }

    /// The next row needs more memory.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.len >= self.memory.len()
    }

    #[cold]
    #[inline(never)]
    pub(super) fn grow(&mut self) {
        let rows = self.memory.len() + self.memory.len().max(GROWTH_MIN);
        self.memory.resize(rows, T::default());
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        self.len = last;
        self.memory.get(last).copied()
    }

    #[inline(always)]
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline(always)]
    pub(super) fn last(&self) -> Option<&T> {
        self.memory.get(self.len.checked_sub(1)?)
    }
}

impl<T> Deref for Rows<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.memory.get(..self.len).unwrap_or_default()
    }
}

impl<T> DerefMut for Rows<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.memory.get_mut(..self.len).unwrap_or_default()
    }
}

impl<T: PartialEq> PartialEq for Rows<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Rows<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_and_go() {
        let mut rows = Rows::with_room(1);
        for row in 0..100 {
            rows.push(row);
            assert_eq!((rows.last(), rows.len()), (Some(&row), row + 1));
        }
        assert_eq!(rows.pop(), Some(99));
        rows.truncate(98);
        rows.truncate(99);
        assert_eq!(
            rows.iter().copied().collect::<Vec<_>>(),
            (0..98).collect::<Vec<_>>()
        );
        rows.clear();
        assert!(rows.is_empty() && rows.pop().is_none() && rows.last().is_none());
        // What memory holds behind them does not count.
        assert_eq!(rows, Rows::default());
    }
}
