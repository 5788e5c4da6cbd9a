//! Modules of MongooseIM, 6.3 to 6.8, that this version does not have: their names and keys, so
//! that a misspelt one is found and every other is named as what it is.

use super::BACKEND;
use super::IQDISC;
use crate::config::option::Kind;
use crate::config::option::Opt;
use crate::config::option::Repeats;
use crate::config::option::tables;

const BOOL: Kind = Kind::Bool;
const INT: Kind = Kind::NATURAL;
const LIMIT: Kind = Kind::NATURAL_OR_INFINITY;
const NAME: Kind = Kind::Name;
const NAMES: Kind = Kind::NAMES;
const TEXT: Kind = Kind::Text;
const TABLE: Kind = Kind::UNREAD;
const TABLES: Kind = Kind::List(&Kind::UNREAD, Repeats::Allowed);

pub(super) const MODULES: &[Opt] = tables! {
    "mod_adhoc", "Ad-hoc commands (XEP-0050)." { "report_commands_node": BOOL, "iqdisc": IQDISC }
    "mod_amp", "Advanced message processing (XEP-0079)." {}
    "mod_auth_token", "Tokens for X-OAUTH." {
        "backend": BACKEND, "validity_period": TABLE, "iqdisc": IQDISC,
    }
    "mod_bind2", "Bind 2 (XEP-0386)." {}
    "mod_blocklist", "Users who may not log in." { "backend": BACKEND }
    "mod_broadcast", "Messages to all users of a domain." { "backend": BACKEND, "lease_time": INT }
    "mod_cache_users", "A cache of which users exist." {
        "strategy": Kind::OneOf(&["fifo", "lru"]), "time_to_live": LIMIT, "number_of_segments": INT,
        "module": NAME,
    }
    "mod_csi", "Client state indication (XEP-0352)." { "buffer_max": LIMIT }
    "mod_domain_isolation", "No stanzas between the domains of this server." {
        "extra_domains": NAMES,
    }
    "mod_event_pusher", "Events to other systems." {
        "http": TABLE, "push": TABLE, "rabbit": TABLE, "sns": TABLE,
    }
    "mod_extdisco", "External service discovery (XEP-0215)." {
        "iqdisc": IQDISC, "service": TABLES,
    }
    "mod_external_filter", "Messages asked about elsewhere." { "pool_tag": NAME }
    "mod_fast_auth_token", "Fast authentication (XEP-0484)." {
        "backend": BACKEND, "validity_period": TABLE,
    }
    "mod_global_distrib", "Several clusters of one domain." {
        "global_host": NAME, "local_host": NAME, "message_ttl": INT,
        "hosts_refresh_interval": INT, "connections": TABLE, "redis": TABLE, "cache": TABLE,
        "bounce": TABLE,
    }
    "mod_http_upload", "HTTP file upload (XEP-0363)." {
        "iqdisc": IQDISC, "host": NAME, "backend": BACKEND, "expiration_time": INT,
        "token_bytes": INT, "max_file_size": LIMIT, "s3": TABLE,
    }
    "mod_inbox", "List of conversations." {
        "backend": NAME, "async_writer": TABLE, "reset_markers": NAMES, "groupchat": NAMES,
        "boxes": NAMES, "bin_ttl": INT, "bin_clean_after": INT, "delete_domain_limit": LIMIT,
        "aff_changes": BOOL, "remove_on_kicked": BOOL, "iqdisc": IQDISC, "max_result_limit": LIMIT,
    }
    "mod_jingle_sip", "Calls to SIP, of 6.3." {
        "proxy_host": NAME, "proxy_port": Kind::PORT, "listen_port": Kind::PORT, "local_host": NAME,
        "sdp_origin": NAME, "transport": NAME, "username_to_phone": TABLES, "backend": BACKEND,
    }
    "mod_keystore", "Keys of other modules." { "ram_key_size": INT, "keys": TABLES }
    "mod_mam", "Message archive (XEP-0313)." {
        "backend": Kind::OneOf(&["rdbms", "cassandra", "elasticsearch"]),
        "no_stanzaid_element": BOOL, "is_archivable_message": NAME, "send_message": NAME,
        "archive_chat_markers": BOOL, "message_retraction": BOOL, "user_prefs_store": NAME,
        "full_text_search": BOOL, "cache_users": BOOL, "cache": TABLE, "async_writer": TABLE,
        "default_result_limit": INT, "max_result_limit": INT, "enforce_simple_queries": BOOL,
        "delete_domain_limit": LIMIT, "db_jid_format": NAME, "db_message_format": NAME,
        "extra_fin_element": NAME, "extra_lookup_params": NAME, "pm": TABLE, "muc": TABLE,
    }
    "mod_muc", "Multi-user chat (XEP-0045)." {
        "backend": BACKEND, "online_backend": BACKEND, "host": NAME, "access": NAME,
        "access_create": NAME, "access_admin": NAME, "access_persistent": NAME,
        "history_size": INT, "room_shaper": NAME, "max_room_id": LIMIT, "max_room_name": LIMIT,
        "max_room_desc": LIMIT, "min_message_interval": INT, "min_presence_interval": INT,
        "max_users": INT, "max_users_admin_threshold": INT, "user_message_shaper": NAME,
        "user_presence_shaper": NAME, "max_user_conferences": INT, "http_auth_pool": NAME,
        "load_permanent_rooms_at_startup": BOOL, "hibernate_timeout": LIMIT,
        "hibernated_room_check_interval": LIMIT, "hibernated_room_timeout": LIMIT,
        "default_room": TABLE,
    }
    "mod_muc_light", "Rooms without presence." {
        "backend": BACKEND, "cache_affs": TABLE, "host": NAME, "equal_occupants": BOOL,
        "legacy_mode": BOOL, "rooms_per_user": LIMIT, "blocking": BOOL, "all_can_configure": BOOL,
        "all_can_invite": BOOL, "max_occupants": LIMIT, "rooms_per_page": LIMIT,
        "rooms_in_rosters": BOOL, "allow_multiple_owners": BOOL, "config_schema": TABLES,
        "promote_on_last_owner_leave": BOOL,
    }
    "mod_muc_log", "Rooms written to files, of 6.3." {
        "outdir": TEXT, "access_log": NAME, "dirtype": NAME, "dirname": NAME, "file_format": NAME,
        "css_file": Kind::Either(&[Kind::Bool, Kind::Text]), "timezone": NAME, "top_link": TABLE,
        "spam_prevention": BOOL,
    }
    "mod_offline_chatmarkers", "Chat markers for users who are offline." {
        "backend": BACKEND, "store_groupchat_messages": BOOL,
    }
    "mod_offline_stub", "Offline messages dropped without a bounce." {}
    "mod_privacy", "Privacy lists (XEP-0016)." { "backend": BACKEND }
    "mod_pubsub", "Publish and subscribe (XEP-0060)." {
        "max_items_per_node": LIMIT, "iqdisc": IQDISC, "host": NAME, "backend": BACKEND, "access_createnode": NAME,
        "max_items_node": INT, "max_subscriptions_node": INT, "nodetree": NAME,
        "ignore_pep_from_offline": BOOL, "last_item_cache": Kind::Either(&[Kind::Bool, Kind::Name]),
        "plugins": NAMES, "pep_mapping": TABLES, "default_node_config": TABLE,
        "item_publisher": BOOL, "sync_broadcast": BOOL, "wpool": TABLE,
    }
    "mod_pubsub_old", "Publish and subscribe (XEP-0060), the older implementation." {
        "iqdisc": IQDISC, "host": NAME, "backend": BACKEND, "access_createnode": NAME,
        "max_items_node": INT, "max_subscriptions_node": INT, "nodetree": NAME,
        "ignore_pep_from_offline": BOOL, "last_item_cache": Kind::Either(&[Kind::Bool, Kind::Name]),
        "plugins": NAMES, "pep_mapping": TABLES, "default_node_config": TABLE,
        "item_publisher": BOOL, "sync_broadcast": BOOL, "wpool": TABLE,
    }
    "mod_push_service_mongoosepush", "Push notifications through MongoosePush." {
        "pool_name": NAME, "api_version": NAME, "max_http_connections": INT,
    }
    "mod_sasl2", "Extensible SASL profile (XEP-0388)." {}
    "mod_shared_roster_ldap", "Contact lists from a directory." {
        "pool_tag": NAME, "base": TEXT, "deref": NAME, "groupattr": NAME, "groupdesc": NAME,
        "userdesc": NAME, "useruid": NAME, "memberattr": NAME, "memberattr_format": NAME,
        "memberattr_format_re": TEXT, "auth_check": BOOL, "user_cache_validity": INT,
        "group_cache_validity": INT, "user_cache_size": INT, "group_cache_size": INT,
        "rfilter": TEXT, "gfilter": TEXT, "ufilter": TEXT, "filter": TEXT,
    }
    "mod_sic", "Server IP check (XEP-0279)." { "iqdisc": IQDISC }
    "mod_smart_markers", "Chat markers kept for later." {
        "keep_private": BOOL, "backend": BACKEND, "async_writer": TABLE, "iqdisc": IQDISC,
    }
    "mod_stanzaid", "Stanza ids (XEP-0359)." {}
    "mod_stream_management", "Stream management (XEP-0198)." {
        "backend": BACKEND, "buffer": BOOL, "buffer_max": LIMIT, "ack": BOOL, "ack_freq": INT,
        "resume_timeout": INT, "stale_h": TABLE,
    }
};
