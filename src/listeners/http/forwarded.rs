//! RFC 7239: for whom a trusted proxy forwards a request.
//!
//! `X-Forwarded-For` goes before `Forwarded`. The right-most address that is not itself one of the
//! trusted proxies is the client; what stands left of it is the client's own claim.

use std::net::IpAddr;
use std::net::SocketAddr;

use hyper::HeaderMap;
use hyper::header::FORWARDED;

use crate::config::Cidr;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The client that the headers of a trusted proxy name.
pub fn client(headers: &HeaderMap, trusted: &[Cidr]) -> Option<IpAddr> {
    let x_forwarded = hops(headers, X_FORWARDED_FOR);
    let from_right = |hops: &[&str], read: fn(&str) -> Option<IpAddr>| {
        for hop in hops.iter().rev() {
            // Behind what cannot be read nothing can be believed.
            let address = read(hop)?;
            if !trusted.iter().any(|network| network.contains(address)) {
                return Some(address);
            }
        }
        None
    };
    if x_forwarded.is_empty() {
        from_right(&hops(headers, FORWARDED.as_str()), element)
    } else {
        from_right(&x_forwarded, address)
    }
}

/// A trusted proxy says that the client speaks TLS with it. Good for links, never for permissions.
pub fn is_secured(headers: &HeaderMap) -> bool {
    let protocol = headers.get("x-forwarded-proto");
    protocol.is_some_and(|protocol| protocol == "https")
}

fn hops<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    let texts = values.map(|value| value.to_str().unwrap_or_default());
    texts
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .collect()
}

/// `for=192.0.2.1`, `for="[2001:db8::1]:4711"` among other pairs.
fn element(text: &str) -> Option<IpAddr> {
    let mut pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(value.trim().trim_matches('"'))
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let bare = bare.unwrap_or(text).parse().ok();
    bare.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(headers: &[(&str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = name.parse::<hyper::header::HeaderName>().expect("a name");
            map.append(name, value.parse().expect("a value"));
        }
        let trusted = [Cidr::parse("10.0.0.0/8").expect("a network")];
        client(&map, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_right_most_that_is_not_trusted() {
        let x = "X-Forwarded-For";
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);
        let table: &[Row<'_>] = &[
            (&[], None),
            (&[(x, "192.0.2.1")], Some("192.0.2.1")),
            (&[(x, "127.0.0.1, 192.0.2.1, 10.0.0.3")], Some("192.0.2.1")),
            (&[(x, "192.0.2.1"), (x, "10.0.0.9")], Some("192.0.2.1")),
            (&[(x, "10.0.0.1")], None),
            (&[(x, "192.0.2.1, nonsense")], None),
            (&[(x, "192.0.2.1:99")], Some("192.0.2.1")),
            (&[(x, "[2001:db8::1]:99")], Some("2001:db8::1")),
            (&[(x, "2001:db8::1")], Some("2001:db8::1")),
            (
                &[("Forwarded", "for=192.0.2.60;proto=http, For=10.1.1.1")],
                Some("192.0.2.60"),
            ),
            (
                &[("Forwarded", "by=x;for=\"[2001:db8::7]:47\"")],
                Some("2001:db8::7"),
            ),
            (&[("Forwarded", "for=_hidden")], None),
            (
                &[("Forwarded", "for=1.2.3.4"), (x, "192.0.2.1")],
                Some("192.0.2.1"),
            ),
        ];
        for (headers, expected) in table {
            assert_eq!(named(headers).as_deref(), *expected, "{headers:?}");
        }
    }
}
