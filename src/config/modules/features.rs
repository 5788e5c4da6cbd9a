//! `[modules.mod_*]` of what this version has, apart from registration and discovery: names and
//! defaults are MongooseIM's, from 6.3 to 6.8.

use super::BACKEND;
use super::IqDiscipline;
use crate::config::option::Kind;
use crate::config::option::Repeats;
use crate::config::option::Unwritten;
use crate::config::option::choices;
use crate::config::option::options;
use crate::config::values::Bound;

options! {
    /// `[modules.mod_blocking]`.
    Blocking {
        /// Database of MongooseIM; here there is one store.
        backend: Option<String> = BACKEND, Unwritten::Unset("the server's store");
    }
}

choices! {
    /// A version of entity capabilities.
    CapsVersion {
        /// XEP-0115.
        #[default]
        V1 = "v1",
        /// XEP-0390.
        V2 = "v2",
    }
}

options! {
    /// `[modules.mod_caps]`.
    Caps {
        /// Versions that the server announces for itself: "v1" is XEP-0115, "v2" XEP-0390.
        versions: Option<Vec<CapsVersion>> =
            Kind::List(&Kind::OneOf(CapsVersion::WORDS), Repeats::RefusedNorEmpty),
            Unwritten::Unset("those that this version has");
        /// How long MongooseIM waits for what a client can do.
        iq_response_timeout: Option<u32> = Kind::MILLIS_FROM_1, Unwritten::Unset("nobody is asked");
        /// Database of MongooseIM; here there is one store.
        backend: Option<String> = BACKEND, Unwritten::Unset("the server's store");
        /// Clients whose capabilities MongooseIM before 6.8 remembers.
        cache_size: Option<u64> = Kind::POSITIVE, Unwritten::Unset("nothing is remembered");
        /// For how many seconds it does.
        cache_life_time: Option<u64> = Kind::POSITIVE, Unwritten::Unset("nothing is remembered");
    }
}

options! {
    /// `[modules.mod_carboncopy]`.
    Carbons {
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
    }
}

options! {
    /// `[modules.mod_last]`.
    Last {
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
        /// Database of MongooseIM; here there is one store.
        backend: Option<String> = BACKEND, Unwritten::Unset("the server's store");
    }
}

options! {
    /// `[modules.mod_offline]`.
    Offline {
        /// Rule of `[access]` whose value is the number of messages that are kept for a user.
        access_max_user_messages: String = Kind::Name, Unwritten::Text("max_user_offline_messages");
        /// Database of MongooseIM; here there is one store.
        backend: Option<String> = BACKEND, Unwritten::Unset("the server's store");
        /// Whether messages of type groupchat are kept.
        store_groupchat_messages: bool = Kind::Bool, Unwritten::Bool(false);
    }
}

choices! {
    /// What happens to a client that does not answer the server's ping.
    PingTimeout {
        /// Nothing.
        #[default]
        None = "none",
        /// Its connection ends.
        Kill = "kill",
    }
}

options! {
    /// `[modules.mod_ping]`.
    Ping {
        /// Whether the server asks clients that have been silent.
        send_pings: bool = Kind::Bool, Unwritten::Bool(false);
        /// Seconds of silence before it does.
        ping_interval: u32 = Kind::SECONDS_FROM_1, Unwritten::Int(60);
        /// What happens to a client that does not answer.
        timeout_action: PingTimeout = Kind::OneOf(PingTimeout::WORDS), Unwritten::Text("none");
        /// Seconds for the answer.
        ping_req_timeout: u32 = Kind::SECONDS_FROM_1, Unwritten::Int(32);
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
    }
}

options! {
    /// `[modules.mod_presence]`.
    Presence {}
}

options! {
    /// `[modules.mod_private]`.
    Private {
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
        /// Database of MongooseIM; here there is one store.
        backend: Option<String> = BACKEND, Unwritten::Unset("the server's store");
    }
}

options! {
    /// `[modules.mod_roster]`.
    Roster {
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
        /// Whether a client may ask for what has changed since a version (RFC 6121 section 2.6).
        versioning: bool = Kind::Bool, Unwritten::Bool(false);
        /// Whether MongooseIM keeps the version in its database.
        store_current_id: bool = Kind::Bool, Unwritten::Bool(false);
        /// Database of MongooseIM; here there is one store.
        backend: Option<String> = BACKEND, Unwritten::Unset("the server's store");
    }
}

options! {
    /// `[modules.mod_time]`.
    Time {
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
    }
}

options! {
    /// `[modules.mod_vcard]`.
    Vcard {
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
        /// Domain where users can be searched for (XEP-0055).
        host: String = Kind::Name, Unwritten::Text("vjud.@HOST@");
        /// Whether users can be searched for.
        search: bool = Kind::Bool, Unwritten::Bool(true);
        /// Database of MongooseIM; here there is one store.
        backend: Option<String> = BACKEND, Unwritten::Unset("the server's store");
        /// Most users that a search finds.
        matches: Bound<u64> = Kind::NATURAL_OR_INFINITY, Unwritten::Int(30);
        /// vCards from a directory.
        ldap: () = Kind::UNREAD, Unwritten::Unset("");
    }
}

options! {
    /// `[modules.mod_version]`.
    Version {
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
        /// Whether the operating system is told as well.
        os_info: bool = Kind::Bool, Unwritten::Bool(false);
    }
}
