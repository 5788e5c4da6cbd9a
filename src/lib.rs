//! meerkat: an XMPP server for Linux.
#![deny(unsafe_code)]
