//! Names of users that have no account (RFC 4505; XEP-0175).

/// Random bytes in a name: enough that nobody meets or guesses another's.
pub const ANONYMOUS_RANDOM_BYTES: usize = 16;

/// Lower-case letters and digits that Nodeprep leaves alone (RFC 4648 section 6).
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The localpart of a new anonymous user: 26 characters, from `random` alone, so that names tell
/// nothing about who comes when.
pub fn anonymous_user(random: [u8; ANONYMOUS_RANDOM_BYTES]) -> String {
    let bits = u128::from_be_bytes(random);
    (0..26)
        .map(|place: u32| {
            // 26 characters have room for 130 bits: the first takes the highest three only.
            let index = (bits >> (125 - 5 * place)) & 31;
            BASE32
                .get(index as usize)
                .map_or('a', |letter| char::from(*letter))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::Jid;

    #[test]
    fn names_are_prepared_localparts() {
        assert_eq!(anonymous_user([0; 16]), "a".repeat(26));
        assert_eq!(anonymous_user([255; 16]), format!("h{}", "7".repeat(25)));
        let mut last_bit = [0; 16];
        last_bit[15] = 1;
        assert_eq!(anonymous_user(last_bit), format!("{}b", "a".repeat(25)));
        let name = anonymous_user(*b"0123456789abcdef");
        let jid: Jid = format!("{name}@example.org").parse().expect("an address");
        assert_eq!(jid.node(), Some(name.as_str()));
    }
}
