//! Which handler of an http listener a request is for: the first line is the target, each other one a
//! Host header. Whatever they say, who is asked serves that host, and without exactly one host nobody is.
#![no_main]

use hyper::header::HOST;
use hyper::header::HeaderValue;
use libfuzzer_sys::fuzz_target;
use meerkat::config;
use meerkat::config::ListenerKind;
use meerkat::listeners::http::sites::Handler;
use meerkat::listeners::http::sites::NoSite;
use meerkat::listeners::http::sites::Sites;
use meerkat::listeners::http::sites::host;

const FILE: &str = "
general = {hosts = ['localhost'], default_server_domain = 'localhost'}
auth.internal = {}
[[listen.http]]
port = 0
handlers.mongoose_websocket_handler = [{host = '_', path = '/ws'}, {host = 'a.example', path = '/ws'}]
handlers.mongoose_bosh_handler = [{host = '_', path = '/http-bind'}, {host = '_', path = '/any/[...]'}]
handlers.mongoose_prometheus_handler = [{host = 'localhost', path = '/metrics'}]
handlers.mongoose_admin_api = [{host = '_', path = '/api'}]
";

/// Nothing is read from the disk.
struct NoFiles;

impl config::Files for NoFiles {
    fn read(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn sites() -> Sites {
    let config = config::decode(FILE, "fuzz", &NoFiles).expect("a valid file");
    let Some(ListenerKind::Http(http)) = config.listeners.first().map(|one| &one.kind) else {
        panic!("an http listener");
    };
    Sites::new(http, |_, place| place as u16)
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Ok(target) = lines.next().unwrap_or_default().try_into() else {
        return;
    };
    let uri: hyper::Uri = target;
    let mut request = hyper::Request::new(());
    *request.uri_mut() = uri;
    for line in lines {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            return;
        };
        request.headers_mut().append(HOST, value);
    }
    let parts = request.into_parts().0;
    let sites = sites();
    let (name, found) = (host(&parts), sites.find(&parts));
    let hosts = parts.headers.get_all(HOST).iter().count();
    if hosts > 1 || name.is_none() {
        assert_eq!(found, Err(NoSite::BadHost));
        return;
    }
    let name = name.unwrap_or_default();
    let path = parts.uri.path();
    match found {
        Ok(Handler::WebSocket(place)) => {
            assert_eq!(path, "/ws");
            assert_eq!(*place == 1, name == "a.example", "the most specific host");
        }
        Ok(Handler::Bosh(place)) => assert!((path == "/http-bind" && *place == 0) || *place == 1),
        Ok(Handler::Metrics) => assert_eq!((path, &*name), ("/metrics", "localhost")),
        Ok(_) => assert!(path == "/api" || path.starts_with("/api/")),
        Err(NoSite::NotFound) => assert!(path != "/ws" && path != "/http-bind" && path != "/api"),
        Err(NoSite::BadHost) => panic!("one host was named"),
    }
});
